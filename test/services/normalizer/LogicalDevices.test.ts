import { assert, layer } from "@effect/vitest"
import { type NormalizedMessage } from "@argusiq/domain/readings.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { normalizer } from "@argusiq/normalizer/Normalizer.ts"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { insertChild, insertEndpoint, insertGateway, type TestDevice } from "../../layers/profiles/registry.ts"
import { testDatabase } from "../../support/postgres.ts"
import { rawRecord, recordsOf, testBus } from "../dispatcher/topics.ts"

const running = Layer.effectDiscard(Effect.flatMap(normalizer, (consumer) => Effect.forkScoped(runConsumer(consumer))))
const world = running.pipe(
  Layer.provideMerge(Layer.mergeAll(ProfileCache.layer({ size: 1_000 }), AliasStore.layer, Sandbox.layer, testBus)),
  Layer.provideMerge(testDatabase)
)

interface Entry {
  readonly index: number
  readonly deviceId: string
  readonly deviceTypeId: string
  readonly typeVersion?: number
  readonly port?: string
  readonly deviceTimestamp?: number
  readonly payload: unknown
}

const logical = (
  device: TestDevice,
  entries: ReadonlyArray<Entry> | string,
  headers: Readonly<Record<string, string>> = {}
): BusRecord => ({
  ...rawRecord({
    ...device,
    payload:
      typeof entries === "string"
        ? entries
        : JSON.stringify({ correlationId: "c", entries: entries.map((entry) => ({ typeVersion: 1, ...entry })) }),
    headers
  }),
  topic: Topics.logicalDevices
})

/** What came of the records of one device: messages and dead letters, once a last record behind them is through. */
const outcomeOf = Effect.fnUntraced(function* (records: ReadonlyArray<BusRecord>) {
  const bus = yield* Bus
  const { headers, key } = records[0]!
  const marker = { ...records[0]!, value: Buffer.from("the end"), headers: { ...headers, "message-id": randomUUID() } }
  yield* bus.publish([...records, marker])
  const until = Date.now() + 30_000
  while (true) {
    const letters = (yield* recordsOf(deadLetterTopic(Topics.logicalDevices))).filter((record) => record.key === key)
    const passed = letters.find((letter) => letter.headers["message-id"] === marker.headers["message-id"])?.headers
    const isDone = (yield* bus.lag("argusiq.normalizer")).some(
      ({ offset, partition, topic }) =>
        topic === Topics.logicalDevices &&
        partition === Number(passed?.["dlq-partition"]) &&
        offset > BigInt(passed?.["dlq-offset"] ?? 0)
    )
    if (isDone) {
      const published = (yield* recordsOf(Topics.normalized)).filter((record) => record.key === key)
      return {
        messages: published.map(({ value }) => JSON.parse(Buffer.from(value).toString()) as NormalizedMessage),
        headers: published.map((record) => record.headers),
        letters: letters.filter(({ value }) => Buffer.from(value).toString() !== "the end")
      }
    }
    if (Date.now() > until) assert.fail("the records were not processed")
    yield* Effect.sleep(20)
  }
})

const childConfig = {
  processingMode: "endpoint",
  extractionRules: { rssi: { path: "$.rssi", type: "numeric", required: true }, name: { path: "$.name", type: "text" } }
}

layer(world, { excludeTestServices: true })("the normalizer on logical devices", (it) => {
  it.effect(
    "gives one message with the readings of all children, by each one's type; a failing one is a dead letter by itself",
    () =>
      Effect.gen(function* () {
        const gateway = yield* insertGateway({ childConfig })
        const { childTypeId: deviceTypeId, deviceId: gatewayId, tenantId } = gateway
        const [a, b] = [yield* insertChild(gateway, "a"), yield* insertChild(gateway, "b")]
        const deviceTimestamp = 1_763_725_301_000_000
        const record = logical(
          gateway,
          [
            { index: 0, deviceId: a, deviceTypeId, deviceTimestamp, payload: { rssi: -65 } },
            { index: 1, deviceId: b, deviceTypeId, payload: { name: "no signal" } },
            { index: 2, deviceId: b, deviceTypeId, typeVersion: 9, payload: { rssi: -1 } },
            { index: 4, deviceId: b, deviceTypeId, payload: { rssi: -70, name: [7] } },
            { index: 5, deviceId: a, deviceTypeId, deviceTimestamp, payload: { rssi: -65 } }
          ],
          { "retry-group": "argusiq.normalizer" }
        )
        const { headers, letters, messages } = yield* outcomeOf([record, record])
        assert.lengthOf(messages, 2)
        assert.deepStrictEqual(messages[0], messages[1])
        const { "retry-group": _, ...envelope } = record.headers
        assert.deepStrictEqual(headers[0], envelope)
        const [message] = messages
        assert.deepInclude<object>(message!, {
          messageId: record.headers["message-id"],
          tenantId,
          deviceId: gatewayId,
          correlationId: "c"
        })
        const receivedAt = Number(record.headers["received-at"])
        assert.deepStrictEqual<unknown>(
          message!.readings.map(({ deviceId, metrics, sourceGatewayId, ts }) => ({
            deviceId,
            metrics,
            sourceGatewayId,
            ts
          })),
          [
            { deviceId: a, metrics: { rssi: -65 }, sourceGatewayId: gatewayId, ts: deviceTimestamp },
            { deviceId: b, metrics: { rssi: -70 }, sourceGatewayId: gatewayId, ts: receivedAt },
            { deviceId: a, metrics: { rssi: -65 }, sourceGatewayId: gatewayId, ts: deviceTimestamp }
          ]
        )
        assert.strictEqual(new Set(message!.readings.map(({ readingId }) => readingId)).size, 3)
        assert.deepStrictEqual(
          letters
            .slice(0, 2)
            .map(({ headers: letter, value }) => [letter["dlq-reason"], letter["dlq-entry"], [...value]]),
          [
            ["ExtractionFailed", "1", [...record.value]],
            ["UnknownProcessingMode", "2", [...record.value]]
          ]
        )
      })
  )

  it.effect("names a port's metrics by the port, and keeps it", () =>
    Effect.gen(function* () {
      const rtu = yield* insertEndpoint({
        ...childConfig,
        processingMode: "rtu_multiport",
        demuxStrategy: { portsPath: "$.ports" }
      })
      const { deviceId, deviceTypeId } = rtu
      const { messages } = yield* outcomeOf([
        logical(rtu, [
          { index: 0, deviceId, deviceTypeId, port: "1", payload: { rssi: 1 } },
          { index: 1, deviceId, deviceTypeId, port: "2", payload: { rssi: 2 } }
        ]),
        logical(rtu, [{ index: 0, deviceId, deviceTypeId, port: "1", payload: {} }])
      ])
      assert.deepStrictEqual<unknown>(
        messages.map(({ readings }) =>
          readings.map(({ metrics, port, sourceGatewayId }) => [port, metrics, sourceGatewayId])
        ),
        [
          [
            ["1", { "port1.rssi": 1 }, undefined],
            ["2", { "port2.rssi": 2 }, undefined]
          ]
        ]
      )
    })
  )

  it.effect("a retried entry gives the reading of that entry and no other, and nothing when it fails again", () =>
    Effect.gen(function* () {
      const gateway = yield* insertGateway({ childConfig })
      const deviceTypeId = gateway.childTypeId
      const deviceId = yield* insertChild(gateway, "a")
      const record = logical(gateway, [
        { index: 0, deviceId, deviceTypeId, payload: { rssi: 0 } },
        { index: 3, deviceId, deviceTypeId, payload: { rssi: 3 } },
        { index: 4, deviceId, deviceTypeId, payload: {} }
      ])
      const retry = (entry: string) => ({
        ...record,
        headers: { ...record.headers, "retry-entry": entry, "retry-of": randomUUID() }
      })
      const { letters, messages } = yield* outcomeOf([record, retry("3"), retry("4")])
      assert.deepStrictEqual(
        messages.map(({ readings }) => readings.map(({ metrics }) => metrics["rssi"])),
        [[0, 3], [3]]
      )
      assert.strictEqual(messages[1]!.readings[0]!.readingId, messages[0]!.readings[1]!.readingId)
      assert.deepStrictEqual(
        letters.map(({ headers }) => headers["dlq-entry"]),
        ["4", "4"]
      )
    })
  )

  it.effect("a retry that names an instant takes the versions of then, whatever the entries were stamped with", () =>
    Effect.gen(function* () {
      const gateway = yield* insertGateway({ childConfig })
      const deviceId = yield* insertChild(gateway, "a")
      const entry = { index: 0, deviceId, deviceTypeId: gateway.childTypeId, typeVersion: 9, payload: { rssi: 1 } }
      const record = logical(gateway, [entry], { "config-at": String(Date.now() * 1_000) })
      const { letters, messages } = yield* outcomeOf([record])
      assert.lengthOf(letters, 0)
      assert.strictEqual(messages[0]!.readings[0]!.typeVersion, 1)
    })
  )

  it.effect("a gateway's message goes on without a reading, so that it counts as heard", () =>
    Effect.gen(function* () {
      const gateway = yield* insertGateway({ childConfig })
      const deviceId = yield* insertChild(gateway, "a")
      const failing = { index: 0, deviceId, deviceTypeId: gateway.childTypeId, payload: {} }
      const { letters, messages } = yield* outcomeOf([logical(gateway, [failing]), logical(gateway, [])])
      assert.deepStrictEqual(
        messages.map(({ correlationId, readings }) => [correlationId, readings.length]),
        [
          ["c", 0],
          ["c", 0]
        ]
      )
      assert.lengthOf(letters, 1)
    })
  )
})
