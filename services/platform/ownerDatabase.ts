/**
 * The database for commands that change it themselves: the one at `DATABASE_URL`, that of the running platform, or the
 * embedded one, started for the length of the command.
 * @module
 */
import { pools } from "@argusiq/layers/database/connect.ts"
import * as EmbeddedPostgres from "@argusiq/layers/database/EmbeddedPostgres.ts"
import { readConnection } from "@argusiq/layers/database/embedded/cluster.ts"
import { Config, Effect, Layer, Option, Redacted } from "effect"
import { join } from "node:path"
import { dataDirectory, isHeld, takeDataDirectory } from "./DataDirectory.ts"
import { Refusal } from "./errors.ts"

/** All as the owner: these commands need no other role. Connections open when first used. */
const ownerPools = (url: Redacted.Redacted) => {
  const pool = { url, maxConnections: 2, statementTimeout: 0 }
  return pools({ owner: pool, pipeline: pool, app: pool })
}

const embeddedUrl = (directory: string) =>
  Effect.try({
    try: () => readConnection(directory),
    catch: (cause) => new Refusal({ message: String(cause) })
  }).pipe(
    Effect.flatMap((connection) =>
      connection === undefined
        ? Effect.fail(new Refusal({ message: `${directory} holds no database yet.` }))
        : Effect.succeed(
            Redacted.make(
              `postgresql://argusiq_owner:${connection.passwords.argusiq_owner}@127.0.0.1:${connection.port}/${EmbeddedPostgres.databaseName}`
            )
          )
    )
  )

export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const external = yield* Config.option(Config.Redacted("DATABASE_URL"))
    if (Option.isSome(external)) return ownerPools(external.value)
    const directory = yield* dataDirectory
    const postgres = join(directory, "postgres")
    if (yield* isHeld(directory)) return ownerPools(yield* embeddedUrl(postgres))
    return Layer.unwrap(
      Effect.map(EmbeddedPostgres.EmbeddedPostgres, (server) => ownerPools(server.url("argusiq_owner")))
    ).pipe(
      Layer.provide(EmbeddedPostgres.layer({ directory: postgres })),
      Layer.provide(Layer.effectDiscard(takeDataDirectory(directory)))
    )
  })
)
