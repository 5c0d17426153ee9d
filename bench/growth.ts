/**
 * What storing a reading costs while the tables grow: the store's own statement, measured in stretches where the number of
 * stored frames has reached each given size. In between, the server fills up by itself with frames of the same devices in
 * the order of time. A fresh embedded PostgreSQL of its own; 50 million frames take 30 GB of disk.
 *
 *   node bench/growth.ts [--sizes 1000000,5000000,10000000,20000000,50000000] [--devices 10000] [--stretch 100000]
 *
 * Prints a table. Processor time is what to read: other work on the machine moves it less than the rate.
 * @module
 */
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { framesTable, makePartition, partitionAt } from "@argusiq/layers/database/partitions.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { parseArgs } from "node:util"
import { freshDatabase, inTransaction, storeReadings, storingCost } from "./database.ts"
import { normalizedMessage, tenMetrics } from "./messages.ts"

const { values: options } = parseArgs({
  options: {
    sizes: { type: "string", default: "1000000,5000000,10000000,20000000,50000000" },
    devices: { type: "string", default: "10000" },
    stretch: { type: "string", default: "100000" }
  }
})
const sizes = options.sizes.split(",").map(Number)
/** Frames stored by the store's statement before each size, a fifth of them to warm up. */
const stretch = Number(options.stretch)
const BATCH = 500
const FILL = 200_000
const tenantId = randomUUID()
const deviceTypeId = randomUUID()
const deviceIds = Array.from({ length: Number(options.devices) }, () => randomUUID())
/** All in one partition: the hardest case for its index. */
const start = partitionAt(framesTable, Date.now()).from * 1_000
const STEP_MICROS = 10_000

const samples = Array.from({ length: 100 }, (_, index) => JSON.stringify(tenMetrics(index)))

const messageOf = (index: number) =>
  normalizedMessage({
    tenantId,
    deviceId: deviceIds[index % deviceIds.length],
    deviceTypeId,
    ts: start + index * STEP_MICROS,
    metrics: tenMetrics(index)
  })

const bench = Effect.gen(function* () {
  yield* Migrate.up()
  const owner = yield* OwnerSql
  const pipeline = yield* PipelineSql
  yield* owner`insert into organizations (id, name, slug) values (${tenantId}, 'Bench', 'bench')`
  yield* makePartition(owner, framesTable, start / 1_000)
  const noMarks = new Date(start / 1_000)
  yield* owner`update rollup_progress set rolled_before = ${noMarks}, marked_before = ${noMarks}`

  /** Frames `from` up to `to`, as the server makes them. */
  const fill = (from: number, to: number) =>
    inTransaction(
      Effect.asVoid(
        pipeline`with given as materialized (select ${deviceIds}::text[]::uuid[] as ids, ${samples}::text[]::jsonb[] as samples)
          insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
            source_device_id, config_version, metrics)
          select ${tenantId}::uuid, 'device', entity, ts, gen_random_uuid(), gen_random_uuid(), ts, entity, 1, metrics
          from (
            select ids[index % ${deviceIds.length}::int + 1] as entity, samples[index % 100 + 1] as metrics,
              timestamptz 'epoch' + (${start}::float8 + index * ${STEP_MICROS}::float8) * interval '1 microsecond' as ts
            from given, generate_series(${from}::int, ${to - 1}::int) index
          ) made`
      )
    )

  console.log(`${`${deviceIds.length} devices`.padEnd(20)} frames/s  node µs   pg µs     both   GB in all`)
  let stored = 0
  for (const size of sizes) {
    const before = size - stretch
    const chunks = Array.from({ length: Math.ceil((before - stored) / FILL) }, (_, chunk) => stored + chunk * FILL)
    yield* Effect.forEach(chunks, (from) => fill(from, Math.min(before, from + FILL)), {
      concurrency: 2,
      discard: true
    })
    const batches = Array.from({ length: Math.ceil(stretch / BATCH) }, (_, batch) =>
      Array.from({ length: Math.min(BATCH, stretch - batch * BATCH) }, (__, index) =>
        messageOf(before + batch * BATCH + index)
      )
    )
    const { nodeMicrosEach, perSecond, serverMicrosEach } = yield* storingCost(batches, storeReadings)
    stored = size
    const [row] = yield* owner<{ bytes: number }>`select sum(pg_total_relation_size(inhrelid))::float8 as bytes
      from pg_inherits where inhparent = 'telemetry_frames'::regclass`
    const columns = [perSecond.toFixed(0), nodeMicrosEach.toFixed(1), serverMicrosEach.toFixed(1)]
    columns.push((nodeMicrosEach + serverMicrosEach).toFixed(1), ((row?.bytes ?? 0) / 1e9).toFixed(1))
    console.log(String(size).padEnd(20) + columns.map((column) => column.padStart(9)).join(""))
  }
})
await Effect.runPromise(
  Effect.scoped(Effect.provide(bench, TelemetryStore.layer.pipe(Layer.provideMerge(freshDatabase("growth")))))
)
