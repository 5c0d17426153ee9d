/**
 * A process whose consumer publishes what it read and is killed before its rows are stored.
 * Arguments: the log's directory, the URL of the database, the group, and whether the offset moves with the rows.
 */
import { Topics } from "@argusiq/domain/topics.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { pools } from "@argusiq/layers/database/connect.ts"
import { allSafeguards, Safeguards } from "@argusiq/layers/Safeguards.ts"
import { Effect, Layer, Redacted } from "effect"
import { storing } from "./ConsumerWorld.ts"

const [directory, url, group, offsetWithRows] = process.argv.slice(2) as [string, string, string, string]
const pool = { url: Redacted.make(url), maxConnections: 4, statementTimeout: 0 }

const consumer = storing(group, ({ records }) =>
  Effect.succeed({
    publish: records.map((record) => ({ ...record, topic: Topics.endpoint })),
    deadLetters: [],
    store: Effect.sync(() => process.kill(process.pid, "SIGKILL"))
  })
)

await Effect.runPromise(
  runConsumer(consumer).pipe(
    Effect.provide(
      Layer.mergeAll(LocalBus.layer({ directory, minFreeBytes: 0 }), pools({ owner: pool, pipeline: pool, app: pool }))
    ),
    Effect.provideService(Safeguards, { ...allSafeguards, offsetWithRows: offsetWithRows === "true" })
  )
)
