/**
 * A bus of its own for a test, and what stands in its topics.
 * @module
 */
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { assert } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

const local = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "argusiq-test-bus-"))),
      (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
    ),
    (directory) => LocalBus.layer({ directory })
  )
).pipe(Layer.orDie)

/** In a fresh directory, removed afterwards. What is handed over with a record has to be what its value is the JSON of. */
export const testBus = Layer.effect(
  Bus,
  Effect.map(Bus, (bus) => ({
    ...bus,
    publish: (records: ReadonlyArray<BusRecord>) => {
      for (const { json, value } of records)
        if (json !== undefined) assert.deepStrictEqual(json, JSON.parse(new TextDecoder().decode(value)))
      return bus.publish(records)
    }
  }))
).pipe(Layer.provideMerge(local))

export const recordsOf = Effect.fnUntraced(function* (topic: string) {
  const bus = yield* Bus
  const partitions = Array.from({ length: bus.partitions }, (_, partition) => ({ topic, partition }))
  const records = yield* Effect.forEach(partitions, (at) =>
    Effect.flatMap(bus.range(at), ({ end, start }) => Stream.runCollect(bus.read(at, start, end)))
  )
  return records.flat()
})

/** The topic's records once there are so many. */
export const awaitRecords = Effect.fnUntraced(function* (topic: string, count: number) {
  const until = Date.now() + 30_000
  while (true) {
    const records = yield* recordsOf(topic)
    if (records.length >= count) return records
    if (Date.now() > until) assert.fail(`${topic}: ${records.length} of ${count} records after 30 s`)
    yield* Effect.sleep(20)
  }
})

/** As the bridge publishes it. `receivedAt` in epoch microseconds. */
export const rawRecord = (options: {
  readonly deviceId: string
  readonly tenantId: string
  readonly receivedAt?: number
  readonly payload?: string | Uint8Array
  readonly headers?: Readonly<Record<string, string>>
}): BusRecord => ({
  topic: "telemetry.raw.v1",
  key: options.deviceId,
  value: Buffer.from(options.payload ?? '{"temperature":21.5}'),
  headers: {
    "message-id": randomUUID(),
    "tenant-id": options.tenantId,
    "device-id": options.deviceId,
    "received-at": String(options.receivedAt ?? Date.now() * 1_000),
    source: "mqtt",
    "content-type": "application/json",
    "mqtt-topic": `devices/${options.deviceId}/telemetry`,
    ...options.headers
  }
})
