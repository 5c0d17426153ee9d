/**
 * A process whose chunker is killed when it reaches a place for the n-th time. It ends by itself with 3 when it does not.
 * Arguments: the log's directory, the URL of the database, the place, and n.
 */
import { chunker } from "@argusiq/chunker/Chunker.ts"
import { Failpoints } from "@argusiq/chunker/Failpoints.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { pools } from "@argusiq/layers/database/connect.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { Effect, Layer, Redacted } from "effect"

const [directory, url, place, times] = process.argv.slice(2) as [string, string, string, string]
const pool = { url: Redacted.make(url), maxConnections: 4, statementTimeout: 0 }
const world = Layer.mergeAll(ProfileCache.layer({ size: 1_000 }), Chunks.layer, Transactions.layer).pipe(
  Layer.provideMerge(pools({ owner: pool, pipeline: pool, app: pool })),
  Layer.provideMerge(LocalBus.layer({ directory, minFreeBytes: 0 }))
)

let reached = 0
const die = (at: string) => {
  if (at === place && ++reached === Number(times)) process.kill(process.pid, "SIGKILL")
}

setTimeout(() => process.exit(3), 30_000)
await Effect.runPromise(
  Effect.flatMap(chunker, runConsumer).pipe(Effect.provide(world), Effect.provideService(Failpoints, die))
)
