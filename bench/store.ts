/**
 * What storing costs: frames per second, and CPU microseconds per frame in Node and in PostgreSQL, by size of batch and by
 * what the batch holds. A fresh embedded PostgreSQL of its own, four connections at a time. Prints a table.
 * @module
 */
import { uuidV7 } from "@argusiq/domain/uuid.ts"
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { type RawMessage, TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Effect, Layer } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import { batchesOf, freshDatabase, inTransaction, prepareTables, storeReadings, storingCost } from "./database.ts"
import { normalizedMessage, tenMetrics } from "./messages.ts"

const DEVICES = 10_000
const tenantId = randomUUID()
const deviceTypeId = randomUUID()
const deviceIds = Array.from({ length: DEVICES }, () => randomUUID())
const payload = Buffer.from(JSON.stringify({ timestamp: "2026-01-29T10:00:00Z", metrics: tenMetrics(0) }))
let clock = Date.now() * 1_000

const newId = () => {
  clock += 100
  return uuidV7(clock, randomBytes(10))
}

/** `devices`: how many different devices a batch holds. */
const messageOf = (index: number, devices: number) => {
  clock += 100
  return normalizedMessage({
    tenantId,
    deviceId: deviceIds[index % devices],
    deviceTypeId,
    ts: clock,
    metrics: tenMetrics(index)
  })
}

const CHILDREN = 50

/** Of one of 100 gateways, with a reading of two metrics for each of its children. */
const gatewayMessageOf = (index: number): NormalizedMessage => {
  const gateway = index % 100
  const message = messageOf(gateway, 100)
  const readings = Array.from({ length: CHILDREN }, (_, child) => ({
    ...message.readings[0],
    readingId: randomUUID(),
    deviceId: deviceIds[100 + gateway * CHILDREN + child]!,
    sourceGatewayId: message.deviceId,
    metrics: { rssi: -40 - (index % 50), battery: 85 }
  }))
  return { ...message, correlationId: message.messageId, readings } as unknown as NormalizedMessage // branded ids, as above
}

const rawOf = (index: number): RawMessage => ({
  messageId: newId(),
  tenantId,
  deviceId: deviceIds[index % DEVICES]!,
  receivedAt: clock,
  payload,
  size: payload.byteLength,
  contentType: "application/json",
  source: "mqtt",
  mqttTopic: `devices/${deviceIds[index % DEVICES]}/telemetry`,
  clientId: "bench",
  topic: "telemetry.raw.v1",
  partition: index % 12,
  offset: BigInt(index),
  error: null,
  errorReason: null
})

const measure = Effect.fnUntraced(function* <A, E, R>(
  name: string,
  batches: ReadonlyArray<ReadonlyArray<A>>,
  store: (batch: ReadonlyArray<A>) => Effect.Effect<void, E, R>,
  rows = 1 // that each item becomes
) {
  const cost = yield* storingCost(batches, store)
  const perSecond = cost.perSecond * rows
  const nodeMicrosEach = cost.nodeMicrosEach / rows
  const serverMicrosEach = cost.serverMicrosEach / rows
  console.log(
    `${name.padEnd(44)} ${perSecond.toFixed(0).padStart(9)} ${nodeMicrosEach.toFixed(1).padStart(8)} ` +
      `${serverMicrosEach.toFixed(1).padStart(8)} ${(nodeMicrosEach + serverMicrosEach).toFixed(1).padStart(8)}`
  )
})

const bench = Effect.gen(function* () {
  yield* prepareTables(tenantId)
  const store = yield* TelemetryStore
  console.log(`${" ".repeat(44)}  frames/s  node µs   pg µs     both`)
  for (const size of [20, 100, 500, 2_000]) {
    const batches = batchesOf(20_000, size, (index) => messageOf(index, DEVICES))
    yield* measure(`readings, batches of ${size}, each its device`, batches, storeReadings)
  }
  const repeated = batchesOf(20_000, 500, (index) => messageOf(index, 50))
  yield* measure("readings, batches of 500, ten of each device", repeated, storeReadings)
  yield* measure("readings, batches of 500, redelivered", repeated, storeReadings)
  for (const size of [5, 20, 100]) {
    const batches = batchesOf(1_000, size, gatewayMessageOf)
    yield* measure(`gateways of ${CHILDREN} children, batches of ${size}`, batches, storeReadings, CHILDREN)
  }
  for (const size of [20, 500]) {
    const batches = batchesOf(20_000, size, rawOf)
    yield* measure(`audit copy, batches of ${size}`, batches, (batch) => inTransaction(store.storeRaw(batch)))
  }
})

await Effect.runPromise(
  bench.pipe(Effect.provide(Layer.provideMerge(TelemetryStore.layer, freshDatabase("store"))), Effect.scoped)
)
