/**
 * What a message's trace costs as the tables grow: a fresh embedded PostgreSQL with frames over eight weeks, traces of messages
 * of all ages.
 *
 *   node bench/message-trace.ts [--frames 10000000]
 *
 * Prints a table.
 * @module
 */
import type { TenantId } from "@argusiq/domain/ids.ts"
import { uuidV7 } from "@argusiq/domain/uuid.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { framesTable, makePartition, rawTable } from "@argusiq/layers/database/partitions.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { MessageTraces } from "@argusiq/layers/trace/MessageTraces.ts"
import { Effect, Layer } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { freshDatabase } from "./database.ts"

const { values: options } = parseArgs({ options: { frames: { type: "string", default: "10000000" } } })
const frames = Number(options.frames)
const WEEKS = 8
const DEVICES = 1_000
const TRACED = 50
const week = 7 * 86_400_000
const tenantId = randomUUID()
const start = Date.now() - WEEKS * week
const stepMicros = Math.floor((WEEKS * week * 1_000) / frames)

const bench = Effect.gen(function* () {
  yield* Migrate.up()
  const sql = yield* OwnerSql
  const type = randomUUID()
  yield* sql`insert into organizations (id, name, slug) values (${tenantId}, 'Bench', 'bench')`
  yield* sql`insert into device_types (id, tenant_id, name, published_version) values (${type}, ${tenantId}, 'Bench', 1)`
  yield* sql`insert into device_type_versions (id, tenant_id, device_type_id, number, state, effective_at, config)
    values (${randomUUID()}, ${tenantId}, ${type}, 1, 'published', 'epoch', '{"processingMode": "endpoint"}')`
  yield* sql`insert into devices (id, tenant_id, name, device_type_id)
    select md5('device ' || n)::uuid, ${tenantId}, n::text, ${type} from generate_series(0, ${DEVICES - 1}::int) n`
  for (let at = start; at <= Date.now(); at += week / 2) yield* makePartition(sql, framesTable, at)
  for (let at = start; at <= Date.now(); at += rawTable.span) yield* makePartition(sql, rawTable, at)
  const from = new Date(start)
  const began = performance.now()
  const most = 500_000
  for (let first = 0; first < frames; first += most) {
    yield* sql`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
        source_device_id, config_version, metrics)
      select ${tenantId}, 'device', md5('device ' || n % ${DEVICES}::int)::uuid, at, md5('reading ' || n)::uuid, md5('message ' || n)::uuid,
        at + interval '1 second', md5('device ' || n % ${DEVICES}::int)::uuid, 1, '{"temperature": 21.5, "pressure": 3}'
      from generate_series(${first}::int, ${Math.min(frames, first + most) - 1}::int) n
      cross join lateral (select ${from}::timestamptz + n * ${stepMicros}::float8 * interval '1 microsecond' as at) instant`
  }
  yield* sql`analyze telemetry_frames`
  console.log(`${frames} frames over ${WEEKS} weeks, made in ${((performance.now() - began) / 1_000).toFixed(0)} s`)

  const ids: Array<string> = []
  for (let index = 0; index < TRACED; index++) {
    const receivedAt = start * 1_000 + Math.floor(((index + 0.5) / TRACED) * frames) * stepMicros
    const id = uuidV7(receivedAt, randomBytes(10))
    const at = new Date(Math.floor(receivedAt / 1_000))
    const device = Math.floor(Math.random() * DEVICES)
    yield* sql`insert into telemetry_raw (message_id, tenant_id, device_id, received_at, payload, size, content_type,
        ingestion_source, topic, partition, "offset")
      values (${id}, ${tenantId}, md5('device ' || ${device}::int)::uuid, ${at}, '', 0, 'application/json', 'mqtt',
        'telemetry.raw.v1', 0, 0)`
    yield* sql`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
        source_device_id, config_version, metrics)
      values (${tenantId}, 'device', md5('device ' || ${device}::int)::uuid, ${at}, ${randomUUID()}, ${id}, ${at},
        md5('device ' || ${device}::int)::uuid, 1, '{"temperature": 21.5}')`
    ids.push(id)
  }
  const traces = yield* MessageTraces
  const millis: Array<number> = []
  for (const id of ids) {
    const began = performance.now()
    const trace = yield* traces.trace({ tenantId: tenantId as TenantId, isPlatformAdmin: false }, id)
    if (trace.readingCount !== 1) throw new Error(`${id}: ${trace.readingCount} readings`)
    millis.push(performance.now() - began)
  }
  const sorted = millis.toSorted((a, b) => a - b)
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!.toFixed(0)
  console.log(
    `${TRACED} traces: median ${at(0.5)} ms, p95 ${at(0.95)} ms, the first ${millis[0]!.toFixed(0)} ms, most ${at(1)} ms`
  )
})

const directory = mkdtempSync(join(tmpdir(), "argusiq-bench-trace-"))
const world = MessageTraces.layer.pipe(
  Layer.provideMerge(LocalBus.layer({ directory, minFreeBytes: 1 })),
  Layer.provideMerge(freshDatabase("trace"))
)
await Effect.runPromise(Effect.scoped(Effect.provide(bench, world)))
rmSync(directory, { recursive: true, force: true })
