/**
 * What a backtest costs: a rule over a million stored readings of ten metrics, of ten devices, in a fresh embedded PostgreSQL of
 * its own. Prints a table.
 *
 *   node bench/backtest.ts [--readings 1000000] [--devices 10]
 * @module
 */
import { Backtests } from "@argusiq/layers/alarms/Backtests.ts"
import { framesTable, makePartition } from "@argusiq/layers/database/partitions.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { parseArgs } from "node:util"
import { freshDatabase, serverMicros } from "./database.ts"

const { values: options } = parseArgs({
  options: { readings: { type: "string", default: "1000000" }, devices: { type: "string", default: "10" } }
})
const readings = Number(options.readings)
const devices = Number(options.devices)
const tenantId = randomUUID()
const DAY = 86_400_000
const to = Math.floor(Date.now() / DAY) * DAY
const stepMillis = 1_000
const from = to - (readings / devices) * stepMillis

const rules = {
  "value > threshold, hysteresis": { condition: { operator: ">", value: 99.8 }, hysteresis: 2 },
  "two thresholds for a minute": { warningThreshold: 90, criticalThreshold: 98, debounceSeconds: 60 },
  "rate of change": { condition: { operator: "rising", perSecond: 1.63, overSeconds: 60 } },
  silence: { condition: { noDataSeconds: 60 } },
  "expression, compiled": { metricKey: null, condition: { expression: "m0 > 95 and m1 < 5" } }
}

const bench = Effect.gen(function* () {
  yield* Migrate.up()
  const owner = yield* OwnerSql
  yield* owner`insert into organizations (id, name, slug) values (${tenantId}, 'Bench', 'bench')`
  for (let day = from; day < to + DAY; day += DAY) yield* Effect.ignore(makePartition(owner, framesTable, day))
  const typeId = randomUUID()
  yield* owner`insert into device_types (id, tenant_id, name) values (${typeId}, ${tenantId}, 'bench')`
  yield* owner`insert into devices (id, tenant_id, name, device_type_id)
    select gen_random_uuid(), ${tenantId}::uuid, number::text, ${typeId}::uuid from generate_series(1, ${devices}::int) number`
  yield* owner`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
      source_device_id, config_version, metrics)
    select ${tenantId}::uuid, 'device', device.id, at, gen_random_uuid(), gen_random_uuid(), at, device.id, 1,
      jsonb_build_object('m0', random() * 100, 'm1', random() * 100, 'm2', random() * 100, 'm3', random() * 100,
        'm4', random() * 100, 'm5', random() * 100, 'm6', random() * 100, 'm7', random() * 100, 'm8', random() * 100,
        'm9', random() * 100)
    from generate_series(${new Date(from)}::timestamptz, ${new Date(to - 1)}::timestamptz, interval '1 second') at,
      devices device`
  yield* owner`vacuum (analyze) telemetry_frames`
  const backtests = yield* Backtests
  const actor = { tenantId: tenantId as never, userId: undefined }
  const table: Array<object> = []
  for (const [name, rule] of Object.entries(rules)) {
    const request = {
      rule: { name, entityType: "device", metricKey: "m0", cooldownSeconds: 60, ...rule } as never,
      from: from * 1_000,
      to: to * 1_000
    }
    yield* backtests.run(actor as never, { ...request, to: (from + 3_600_000) * 1_000 })
    const node = process.cpuUsage()
    const server = yield* serverMicros
    const started = performance.now()
    const result = yield* backtests.run(actor as never, request).pipe(Effect.result)
    const seconds = (performance.now() - started) / 1_000
    const { system, user } = process.cpuUsage(node)
    const told = result._tag === "Success" ? result.success : undefined
    table.push({
      rule: name,
      readings: told?.readings ?? JSON.stringify(result),
      alarms: told?.alarms.length,
      seconds: Number(seconds.toFixed(2)),
      "node µs each": Number(((system + user) / readings).toFixed(2)),
      "pg µs each": Number((((yield* serverMicros) - server) / readings).toFixed(2)),
      "heap MB": Math.round(process.memoryUsage().heapUsed / 1e6)
    })
  }
  console.table(table)
})
await Effect.runPromise(
  Effect.scoped(
    Effect.provide(
      bench,
      Backtests.layer.pipe(Layer.provide(Sandbox.layer), Layer.provideMerge(freshDatabase("backtest")))
    )
  )
)
