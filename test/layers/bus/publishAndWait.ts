/**
 * Publishes on an embedded log and says so, in a process that its parent then kills: `node publishAndWait.ts <directory>
 * <topics as JSON> <records as JSON, values as text>`.
 */
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { layer } from "@argusiq/layers/bus/local/LocalBus.ts"
import { Effect } from "effect"

const [directory = "", topics = "[]", records = "[]"] = process.argv.slice(2)

await Effect.gen(function* () {
  const bus = yield* Bus
  yield* bus.publish(
    (JSON.parse(records) as Array<{ topic: string; key: string; headers: Record<string, string>; text: string }>).map(
      ({ text, ...record }) => ({ ...record, value: new TextEncoder().encode(text) })
    )
  )
  console.log("published")
  yield* Effect.never
}).pipe(Effect.provide(layer({ directory, topics: JSON.parse(topics) })), Effect.scoped, Effect.runPromise)
