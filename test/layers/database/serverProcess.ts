/** A platform in miniature, to be killed: starts the embedded PostgreSQL of argv[2], says so, and waits. */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import * as EmbeddedPostgres from "../../../layers/database/EmbeddedPostgres.ts"

const program = Effect.gen(function* () {
  const server = yield* EmbeddedPostgres.EmbeddedPostgres
  console.log(`ready ${yield* server.pid}`)
  return yield* Effect.never
}).pipe(Effect.provide(EmbeddedPostgres.layer({ directory: process.argv[2] ?? "" })))

NodeRuntime.runMain(program)
