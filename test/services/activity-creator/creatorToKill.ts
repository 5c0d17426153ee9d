/**
 * A process whose activity creator is killed when it reaches a place for the n-th time. It ends by itself with 3 when it
 * does not. Arguments: the log's directory, the URL of the database, the place, and n.
 */
import { activityCreator } from "@argusiq/activity-creator/ActivityCreator.ts"
import { Failpoints } from "@argusiq/activity-creator/Failpoints.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { pools } from "@argusiq/layers/database/connect.ts"
import { Effect, Layer, Redacted } from "effect"

const [directory, url, place, times] = process.argv.slice(2) as [string, string, string, string]
const pool = { url: Redacted.make(url), maxConnections: 4, statementTimeout: 0 }
const world = pools({ owner: pool, pipeline: pool, app: pool }).pipe(
  Layer.provideMerge(LocalBus.layer({ directory, minFreeBytes: 0 }))
)

let reached = 0
const die = (at: string) => {
  if (at === place && ++reached === Number(times)) process.kill(process.pid, "SIGKILL")
}

setTimeout(() => process.exit(3), 30_000)
await Effect.runPromise(
  Effect.flatMap(activityCreator, runConsumer).pipe(Effect.provide(world), Effect.provideService(Failpoints, die))
)
