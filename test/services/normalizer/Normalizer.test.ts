import { assert, layer } from "@effect/vitest"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { normalizer } from "@argusiq/normalizer/Normalizer.ts"
import { Effect, Layer, Metric } from "effect"
import { insertEndpoint, publishVersion, type TestDevice } from "../../layers/profiles/registry.ts"
import { testDatabase } from "../../support/postgres.ts"
import { awaitRecords, rawRecord, recordsOf, testBus } from "../dispatcher/topics.ts"

const running = Layer.effectDiscard(Effect.flatMap(normalizer, (consumer) => Effect.forkScoped(runConsumer(consumer))))

const world = running.pipe(
  Layer.provideMerge(Layer.mergeAll(ProfileCache.layer({ size: 1_000 }), AliasStore.layer, Sandbox.layer, testBus)),
  Layer.provideMerge(testDatabase)
)

const dispatched = (device: TestDevice, payload: string | Uint8Array, version = 1) => ({
  ...rawRecord({
    ...device,
    payload,
    headers: {
      "device-type-id": device.deviceTypeId,
      "type-version": String(version),
      "retry-group": "argusiq.normalizer"
    }
  }),
  topic: Topics.endpoint
})

const config = {
  processingMode: "endpoint",
  extractionRules: {
    temperature: { path: "$.t", type: "numeric", required: true },
    humidity: { path: "$.h", type: "numeric" }
  }
}

layer(world, { excludeTestServices: true })("the normalizer", (it) => {
  it.effect("publishes readings under the same key, keeps the envelope, and dead-letters what is poison", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const owner = yield* OwnerSql
      const device = yield* insertEndpoint(config)
      const { deviceTypeId, tenantId } = device
      const good = dispatched(device, '{"t":21.5,"h":"wet"}')
      const sent = [
        dispatched(device, '{"t":1}'),
        dispatched(device, "{"),
        dispatched(device, '{"h":1}'),
        dispatched(device, '{"t":1}', 7),
        good
      ]
      yield* bus.publish(sent)
      const letters = yield* awaitRecords(deadLetterTopic(Topics.endpoint), 3)
      assert.deepStrictEqual(
        letters.map(({ headers }) => headers["dlq-reason"]),
        ["Undecodable", "ExtractionFailed", "UnknownProcessingMode"]
      )
      assert.deepStrictEqual([...letters[0]!.value], [...sent[1]!.value])
      const [, record] = yield* awaitRecords(Topics.normalized, 2)
      const { "retry-group": _, ...envelope } = good.headers
      assert.strictEqual(record!.key, device.deviceId)
      assert.deepStrictEqual(record!.headers, { ...envelope, "readings-of": "sender" })
      const message = JSON.parse(Buffer.from(record!.value).toString())
      assert.deepInclude(message, { messageId: good.headers["message-id"], tenantId, deviceId: device.deviceId })
      assert.deepInclude(message.readings[0], { metrics: { temperature: 21.5 }, typeVersion: 1, deviceTypeId })
      const skipped = (yield* Metric.snapshot).find(({ id }) => id === "argusiq_skipped_metrics_total")
      assert.isAtLeast(Number((skipped?.state as { count?: number | bigint } | undefined)?.count ?? 0), 1)

      // A version that came to be without the cache having heard of it is asked for before its messages are refused.
      yield* owner`alter table device_type_versions disable trigger device_type_versions_inserted`
      yield* publishVersion({ tenantId, deviceTypeId, number: 2, effectiveAt: Date.now(), config })
      yield* owner`alter table device_type_versions enable trigger device_type_versions_inserted`
      yield* bus.publish([dispatched(device, '{"t":2}', 2)])
      yield* awaitRecords(Topics.normalized, 3)
      assert.lengthOf(yield* recordsOf(deadLetterTopic(Topics.endpoint)), 3)
    })
  )

  it.effect("reads what a Sparkplug device says by its births, also those of batches before", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const device = yield* insertEndpoint({ processingMode: "endpoint", protocolAdapter: "sparkplug_b" })
      const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex")
      const say = (text: string) => bus.publish([dispatched(device, hex(text))])
      const normalizedOf = Effect.map(recordsOf(Topics.normalized), (records) =>
        records
          .filter(({ key }) => key === device.deviceId)
          .flatMap(({ value }) =>
            JSON.parse(Buffer.from(value).toString()).readings.map((one: never) => one["metrics"])
          )
      )
      const become = Effect.fnUntraced(function* (...metrics: ReadonlyArray<object>) {
        const until = Date.now() + 30_000
        while ((yield* normalizedOf).length < metrics.length && Date.now() < until) yield* Effect.sleep(20)
        assert.deepStrictEqual(yield* normalizedOf, [...metrics])
      })
      yield* say("120f 0a04 74656d70 1001 2009 65 0000a041 1800")
      yield* become({ temp: 20 })
      yield* say("1207 1001 65 0000ac41 1801")
      yield* become({ temp: 20 }, { temp: 21.5 })
      const letters = (yield* recordsOf(deadLetterTopic(Topics.endpoint))).filter(({ key }) => key === device.deviceId)
      assert.deepStrictEqual(letters, [])
    })
  )

  it.effect(
    "evaluates expressions in process and in the sandbox; one that fails or takes too long hurts only its message",
    () =>
      Effect.gen(function* () {
        const bus = yield* Bus
        const before = (yield* recordsOf(Topics.normalized)).length
        const lettersBefore = (yield* recordsOf(deadLetterTopic(Topics.endpoint))).length
        const device = yield* insertEndpoint({
          processingMode: "endpoint",
          extractionRules: {
            a: { path: "$.a", type: "numeric" },
            text: { path: "$.text", type: "text" }
          },
          transformationRules: [
            { kind: "expression", metricKey: "double", expression: "a * 2" },
            { kind: "expression", metricKey: "matched", expression: "$exists($match(text, /^(x+)+$/))" },
            { kind: "expression", metricKey: "label", expression: "$join([text, $string(double)], ':')" }
          ]
        })
        const isOurs = ({ key }: { readonly key: string | null }) => key === device.deviceId
        yield* bus.publish([
          dispatched(device, '{"a":1,"text":"x"}'),
          dispatched(device, JSON.stringify({ a: 2, text: `${"x".repeat(60)}y` })),
          dispatched(device, '{"a":3,"text":"y"}'),
          dispatched(device, '{"a":4}')
        ])
        const records = (yield* awaitRecords(Topics.normalized, before + 3)).filter(isOurs)
        const letters = (yield* awaitRecords(deadLetterTopic(Topics.endpoint), lettersBefore + 1)).filter(isOurs)
        assert.deepStrictEqual(
          records.map(({ value }) => JSON.parse(Buffer.from(value).toString()).readings[0].metrics),
          [
            { a: 1, text: "x", double: 2, matched: true, label: "x:2" },
            { a: 3, text: "y", double: 6, matched: false, label: "y:6" },
            { a: 4, double: 8, matched: false, label: "8" }
          ]
        )
        assert.deepStrictEqual(
          letters.map(({ headers }) => [headers["dlq-reason"], headers["dlq-path"]]),
          [["ExpressionTimeout", "$.transformationRules[1].expression"]]
        )
      })
  )
})
