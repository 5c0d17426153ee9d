/**
 * Publishes and says so, in a process that its parent then kills: `node publishAndWait.ts <where> <topics and partitions as JSON> <records
 * as JSON, values as text>`. Where: the directory of an embedded log, or `kafka:` with brokers, a slash and a prefix.
 */
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import * as KafkaBus from "@argusiq/layers/bus/kafka/KafkaBus.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { Effect, type Layer } from "effect"

const [where = "", setup = "{}", records = "[]"] = process.argv.slice(2)

const kafka = /^kafka:([^/]*)\/(.*)$/.exec(where)
const options = JSON.parse(setup)
const layer: Layer.Layer<Bus, unknown> =
  kafka === null
    ? LocalBus.layer({ directory: where, ...options })
    : KafkaBus.layer({ brokers: (kafka[1] as string).split(","), prefix: kafka[2] as string, ...options })

await Effect.gen(function* () {
  const bus = yield* Bus
  yield* bus.publish(
    (JSON.parse(records) as Array<{ topic: string; key: string; headers: Record<string, string>; text: string }>).map(
      ({ text, ...record }) => ({ ...record, value: new TextEncoder().encode(text) })
    )
  )
  console.log("published")
  yield* Effect.never
}).pipe(Effect.provide(layer), Effect.scoped, Effect.runPromise)
