import { Schema } from "effect"

/** The embedded PostgreSQL cannot run: `message` says why and what to do, `directory` is where its data lies. */
export class PostgresStartError extends Schema.TaggedError<PostgresStartError>()("PostgresStartError", {
  message: Schema.String,
  directory: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {}
