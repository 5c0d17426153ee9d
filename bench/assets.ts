/**
 * What assets cost per reading of a device: mapping, fold and what is published, and storing it with the states; CPU
 * microseconds in Node and in PostgreSQL, by size of batch. 2,000 devices of three metrics and as many assets, with two derived
 * metrics and health, at 5,000 readings per second of event time. A fresh embedded PostgreSQL of its own. Prints a table.
 *
 * `node bench/assets.ts [WARM-UP] [MEASURED] [SIZES…]`: seconds of event time (30, 30) and sizes of batches (20 100 500).
 * @module
 */
import { assetHealth, SaveInterval } from "@argusiq/asset-health/AssetHealth.ts"
import { assetMapping } from "@argusiq/asset-health/AssetMapping.ts"
import { AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import { EMBEDDED_PARTITIONS, Topics } from "@argusiq/domain/topics.ts"
import { Bus, type BusRecord, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { murmur2 } from "@argusiq/layers/bus/murmur2.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as AssetCache from "@argusiq/layers/profiles/AssetCache.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { Effect, Layer, Schema, Stream } from "effect"
import { randomUUID } from "node:crypto"
import { freshDatabase, inTransaction, prepareTables, serverMicros } from "./database.ts"
import { normalizedMessage } from "./messages.ts"

const DEVICES = 2_000
const PER_SECOND = 5_000
const [WARM_UP = 30, MEASURED = 30, ...SIZES] = process.argv.slice(2).map(Number)
const tenantId = randomUUID()
const deviceTypeId = randomUUID()
const deviceIds = Array.from({ length: DEVICES }, () => randomUUID())
const assetIds = Array.from({ length: DEVICES }, () => randomUUID())

const config = {
  metricDefinitions: ["temperature", "voltage", "current"].map((key) => ({
    key,
    displayName: key,
    dataType: "numeric"
  })),
  transformationEngine: {
    mappings: { temperature: "temp_1" },
    derived: { power: "voltage * current", load: "power / 500" }
  },
  aggregationRules: { temperature: { windowSeconds: 900, fn: "avg" } },
  validationRules: { temperature: { min: -40, max: 150 } },
  healthAlgorithm: {
    algorithm: "weighted_average",
    metrics: [
      { metricKey: "temperature", weight: 2, direction: "lower_better", min: 20, max: 120 },
      { metricKey: "load", weight: 1, direction: "lower_better", min: 0, max: 2 }
    ]
  }
}

const insertAssets = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const type = randomUUID()
  const whole = sql.json(Schema.encodeUnknownSync(AssetTypeConfig)(Schema.decodeUnknownSync(AssetTypeConfig)(config)))
  yield* sql`insert into asset_types (id, tenant_id, name, published_version) values (${type}, ${tenantId}, 'motor', 1)`
  yield* sql`insert into asset_type_versions (id, tenant_id, asset_type_id, number, state, effective_at, config, resolved)
    values (${randomUUID()}, ${tenantId}, ${type}, 1, 'published', now() - interval '1 day', ${whole}, ${whole})`
  yield* sql`insert into assets (id, tenant_id, name, asset_type_id)
    select id, ${tenantId}, id::text, ${type} from unnest(${assetIds}::uuid[]) id`
  yield* sql`insert into entity_edges (id, tenant_id, source_entity_type, source_entity_id, target_entity_type,
      target_entity_id, relationship_type, valid_from, metadata)
    select gen_random_uuid(), ${tenantId}, 'device', device, 'asset', asset, 'MONITORED_BY', now() - interval '1 day',
      '{"role": "primary"}'
    from unnest(${deviceIds}::uuid[], ${assetIds}::uuid[]) linked (device, asset)`
})

const start = (Date.now() - 3_600_000) * 1_000
let sent = 0

const nextRecord = (): BusRecord => {
  const ts = start + Math.round((sent / PER_SECOND) * 1e6)
  const deviceId = deviceIds[sent % DEVICES]!
  const metrics = { temp_1: 20 + (sent % 90), voltage: 230 + (sent % 7), current: 2 + (sent % 11) / 10 }
  sent++
  const message = normalizedMessage({ tenantId, deviceId, deviceTypeId, ts, metrics })
  return {
    topic: Topics.normalized,
    key: deviceId,
    value: Buffer.from(JSON.stringify(message)),
    headers: {
      "message-id": message.messageId,
      "tenant-id": tenantId,
      "device-id": deviceId,
      "received-at": String(ts),
      source: "mqtt"
    }
  }
}

const offsets = new Map<string, bigint>()
const stored = (record: BusRecord): StoredRecord => {
  const partition = (murmur2(Buffer.from(record.key)) & 0x7fffffff) % EMBEDDED_PARTITIONS
  const at = `${record.topic}/${partition}`
  const offset = offsets.get(at) ?? 0n
  offsets.set(at, offset + 1n)
  return { ...record, partition, offset, appendedAt: 0 }
}

const batchOf = (records: ReadonlyArray<StoredRecord>) => {
  const [{ partition, topic }] = records as [StoredRecord]
  const next = records.at(-1)!.offset + 1n
  return { topic, partition, records, next, end: next }
}

const cpu = () => {
  const { system, user } = process.cpuUsage()
  return user + system
}

const bench = Effect.gen(function* () {
  yield* prepareTables(tenantId)
  yield* insertAssets
  const mapping = yield* assetMapping
  const health = yield* Effect.provideService(assetHealth, SaveInterval, 0)
  const spent = { mapping: 0, fold: 0, store: 0, save: 0 }
  const timed = <A, E, R>(part: keyof typeof spent, effect: Effect.Effect<A, E, R>) =>
    Effect.suspend(() => {
      const before = cpu()
      return Effect.map(effect, (value) => {
        spent[part] += cpu() - before
        return value
      })
    })

  /** A batch of device readings, and then the asset readings of each partition as they have come together in batches of a size. */
  const waiting = Array.from({ length: EMBEDDED_PARTITIONS }, (): Array<StoredRecord> => [])
  const run = Effect.fnUntraced(function* (readings: number, size: number) {
    for (let done = 0; done < readings; done += size) {
      const records = Array.from({ length: size }, nextRecord).map(stored)
      const mapped = yield* timed("mapping", mapping.process(batchOf(records), 0, 1n))
      for (const record of mapped.publish.map(stored)) waiting[record.partition]!.push(record)
      for (const [partition, some] of waiting.entries()) {
        if (some.length < size) continue
        waiting[partition] = []
        const outcome = yield* timed("fold", health.process(batchOf(some), 0, 1n))
        yield* timed("store", inTransaction(outcome.store ?? Effect.void))
        outcome.stored?.()
      }
    }
  })
  const save = Effect.gen(function* () {
    for (let partition = 0; partition < EMBEDDED_PARTITIONS; partition++) {
      const at = { topic: Topics.assetReadings, partition }
      const outcome = yield* timed("save", health.tick!(at, 0, 1n))
      yield* timed("save", inTransaction(outcome.store ?? Effect.void))
      outcome.stored?.()
    }
  })
  // All partitions have read up to here, so that the states' bases move.
  const sql = yield* OwnerSql
  const letTimePass = sql`
    insert into consumer_offsets ("group", topic, partition, partition_time)
    select "group", topic, partition, ${new Date(Date.now() + 86_400_000)} from generate_series(0, ${EMBEDDED_PARTITIONS - 1}) partition,
      (values ('argusiq.asset-health.mapping', ${Topics.normalized}), ('argusiq.asset-health', ${Topics.assetReadings})) t ("group", topic)
    on conflict do nothing`
  yield* letTimePass
  yield* run(PER_SECOND * WARM_UP, 500)
  console.log("CPU µs per reading  node: mapping     fold  storing   saving      all   pg: all")
  for (const size of SIZES.length > 0 ? SIZES : [20, 100, 500]) {
    for (const part of Object.keys(spent) as ReadonlyArray<keyof typeof spent>) spent[part] = 0
    const readings = PER_SECOND * MEASURED
    const server = yield* serverMicros
    yield* run(readings, size)
    yield* save // once in half a minute
    const ofServer = ((yield* serverMicros) - server) / readings
    const each = Object.values(spent).map((micros) => micros / readings)
    const columns = [...each, each.reduce((sum, micros) => sum + micros, 0), ofServer]
    console.log(
      `batches of ${String(size).padEnd(14)} ${columns.map((micros) => micros.toFixed(1).padStart(8)).join(" ")}`
    )
  }
})

const bus = Layer.succeed(
  Bus,
  // An empty log: nothing else of it is used.
  Bus.of({
    logId: "bench",
    partitions: EMBEDDED_PARTITIONS,
    read: () => Stream.empty,
    range: () => Effect.succeed({ start: 0n, end: 0n })
  } as unknown as Bus["Service"])
)

await Effect.runPromise(
  bench.pipe(
    Effect.provide(
      Layer.mergeAll(AssetCache.layer({ size: 10_000 }), Sandbox.layer, bus).pipe(
        Layer.provideMerge(freshDatabase("assets"))
      )
    ),
    Effect.scoped
  )
)
