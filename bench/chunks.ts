/**
 * What chunked messages cost: the memory of open groups, the time to load them at an assignment, and how long after its last
 * chunk a message of 2,000 beacons in 67 chunks is stored when 20 gateways send at the same time. A fresh PostgreSQL and log of
 * its own, the services from dispatcher to writer in this process. Prints tables. Run with --expose-gc.
 * @module
 */
import { chunker } from "@argusiq/chunker/Chunker.ts"
import { collectBatch } from "@argusiq/chunker/collectBatch.ts"
import { type ReadChunk } from "@argusiq/chunker/readChunk.ts"
import { WaitingGroups } from "@argusiq/chunker/WaitingGroups.ts"
import { demux } from "@argusiq/demux/Demux.ts"
import { dispatcher } from "@argusiq/dispatcher/Dispatcher.ts"
import { digestOf } from "@argusiq/domain/chunks.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { type Consumer, runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { normalizer } from "@argusiq/normalizer/Normalizer.ts"
import { writer } from "@argusiq/telemetry-writer/TelemetryWriter.ts"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { table } from "../services/platform/table.ts"
import { freshDirectory } from "../test/layers/bus/ConsumerWorld.ts"
import { insertGateways } from "../test/services/chunker/messages.ts"
import { type TestDevice } from "../test/layers/profiles/registry.ts"
import { freshDatabase } from "./database.ts"

const MEBIBYTE = 1_048_576
const OPEN_GROUPS = 10_000
const CHUNKS = 67
const BEACONS = 2_000
const GATEWAYS = 20
/** Of the rounds, between the beginnings of the gateways. */
const APART_MILLIS = [500, 200, 200, 100, 0, 0]
/** Between the chunks of a gateway. */
const PAUSE_MILLIS = 20

const heapBytes = () => {
  globalThis.gc?.()
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

/** Groups as the chunker keeps them, each with so many of its chunks. */
const openGroups = (present: number): WaitingGroups => {
  const waiting = new WaitingGroups([])
  const tenantId = randomUUID()
  for (let index = 0; index < OPEN_GROUPS; index++) {
    const gatewayId = randomUUID()
    const correlationId = `msg-${index}-${gatewayId}`
    const reads = Array.from({ length: present }, (_, place): ReadChunk => {
      const value = Buffer.from(`${gatewayId} ${place}`)
      const record = {
        topic: Topics.gatewayChunked,
        partition: 0,
        offset: 0n,
        key: gatewayId,
        value,
        headers: {},
        appendedAt: 0
      }
      const head = { correlationId, sequence: place + 1, total: CHUNKS }
      const chunk = { ...head, digest: digestOf(value), bytes: 3_000, receivedAt: index }
      return { record, tenantId, gatewayId, chunk, timeoutSeconds: 60 }
    })
    for (const group of collectBatch(reads, waiting, new Map(), 0).groups) waiting.put(group)
  }
  return waiting
}

const memory = () => {
  const rows = [1, 33, 66].map((present) => {
    const before = heapBytes()
    const waiting = openGroups(present)
    const megabytes = (heapBytes() - before) / MEBIBYTE
    return [`${waiting.openCount} groups, ${present} of ${CHUNKS} chunks each`, `${megabytes.toFixed(1)} MiB`]
  })
  console.log(`\n${table(["open", "heap"], rows)}`)
}

const fork = <E, R>(consumer: Effect.Effect<Consumer, E, R>) =>
  Effect.flatMap(consumer, (one) => Effect.forkScoped(runConsumer(one)))

/** One gateway's message as the bridge publishes its chunks. */
const messageOf = ({ deviceId, tenantId }: TestDevice, round: number): ReadonlyArray<() => BusRecord> =>
  Array.from({ length: CHUNKS }, (_, index) => () => {
    const from = Math.floor((index * BEACONS) / CHUNKS)
    const to = Math.floor(((index + 1) * BEACONS) / CHUNKS)
    const devices = Array.from({ length: to - from }, (_, place) => ({
      beaconId: `beacon-${from + place}`,
      rssi: -40 - ((from + place + round) % 50),
      battery: 50 + ((from + round) % 50)
    }))
    const now = Date.now()
    const payload = {
      correlationId: `msg-${round}`,
      seq: index + 1,
      total: CHUNKS,
      timestamp: now + round,
      data: { devices }
    }
    return {
      topic: Topics.raw,
      key: deviceId,
      value: Buffer.from(JSON.stringify(payload)),
      headers: {
        "message-id": randomUUID(),
        "tenant-id": tenantId,
        "device-id": deviceId,
        "received-at": String(now * 1_000),
        source: "mqtt",
        "content-type": "application/json"
      }
    }
  })

/**
 * How long after its last chunk each gateway's message was stored, in milliseconds. The gateways begin one after the other,
 * `apartMillis` between them.
 */
const roundOf = Effect.fnUntraced(function* (gateways: ReadonlyArray<TestDevice>, round: number, apartMillis: number) {
  const bus = yield* Bus
  const sql = yield* OwnerSql
  const lastAt = new Map<string, number>()
  const took = new Map<string, number>()
  const send = Effect.fnUntraced(function* (gateway: TestDevice, place: number) {
    yield* Effect.sleep(place * apartMillis)
    for (const chunk of messageOf(gateway, round)) {
      yield* bus.publish([chunk()])
      lastAt.set(gateway.deviceId, performance.now())
      yield* Effect.sleep(PAUSE_MILLIS)
    }
  })
  const watch = Effect.gen(function* () {
    while (took.size < gateways.length) {
      // `completed` is written with the readings, in their transaction
      const rows = yield* sql<{ gateway: string }>`select gateway_device_id as gateway from telemetry_transactions
        where correlation_id = ${`msg-${round}`} and status = 'completed'`
      const now = performance.now()
      for (const { gateway } of rows) if (!took.has(gateway)) took.set(gateway, now - lastAt.get(gateway)!)
      yield* Effect.sleep(10)
    }
  })
  yield* Effect.all([watch, Effect.forEach(gateways, send, { concurrency: "unbounded", discard: true })], {
    concurrency: 2
  })
  return [...took.values()].map(Math.round).toSorted((one, other) => one - other)
})

const latency = Effect.gen(function* () {
  yield* Migrate.up()
  const gateways = yield* insertGateways(Array.from({ length: GATEWAYS }, () => randomUUID()))
  yield* Effect.all([fork(dispatcher), fork(chunker), fork(demux), fork(normalizer), fork(writer)])
  const rows: Array<ReadonlyArray<string>> = []
  const sql = yield* OwnerSql
  for (let round = 0; round < APART_MILLIS.length; round++) {
    const apart = APART_MILLIS[round]!
    const took = yield* roundOf(gateways, round, apart)
    const what =
      round === 0 ? "its children are created" : apart === 0 ? "all end at once" : `they end ${apart} ms apart`
    rows.push([what, ...[took[0]!, took[took.length >> 1]!, took.at(-1)!].map((millis) => `${millis} ms`)])
  }
  const [stored] = yield* sql<{ frames: number }>`select count(*)::int as frames from telemetry_frames`
  console.log(`\n${table([`${GATEWAYS} gateways`, "fastest", "median", "slowest"], rows)}`)
  console.log(`${stored!.frames} readings of ${GATEWAYS * BEACONS * APART_MILLIS.length} stored`)
})

const world = Layer.mergeAll(
  ProfileCache.layer({ size: 100_000 }),
  Chunks.layer,
  Transactions.layer,
  GatewayChildren.layer,
  AliasStore.layer,
  Sandbox.layer,
  TelemetryStore.layer
).pipe(
  Layer.provideMerge(
    Layer.unwrap(Effect.map(freshDirectory, (directory) => LocalBus.layer({ directory, minFreeBytes: 0 })))
  ),
  Layer.provideMerge(freshDatabase("chunks"))
)

memory()
await Effect.runPromise(Effect.scoped(latency).pipe(Effect.provide(world)))
