/**
 * What writing the audit log costs: the same statements with its triggers and without, on a fresh embedded PostgreSQL.
 *
 *   node bench/audit.ts [--devices 10000]
 *
 * Prints a table.
 * @module
 */
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { parseArgs } from "node:util"
import { freshDatabase } from "./database.ts"

const { values: options } = parseArgs({ options: { devices: { type: "string", default: "10000" } } })
const devices = Number(options.devices)
const ROUNDS = 7

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >> 1]!

const bench = Effect.gen(function* () {
  yield* Migrate.up()
  const sql = yield* OwnerSql
  const pipeline = yield* PipelineSql
  const [tenant, type] = [randomUUID(), randomUUID()]
  yield* sql`insert into organizations (id, name, slug) values (${tenant}, 'Bench', 'bench')`
  yield* sql`insert into device_types (id, tenant_id, name) values (${type}, ${tenant}, 'Bench')`
  const tables = ["devices", "device_api_keys"]
  const triggers = Effect.fnUntraced(function* (state: "enable" | "disable") {
    for (const table of tables) {
      for (const what of ["insert", "update", "delete"]) {
        yield* sql.unsafe(`alter table ${table} ${state} trigger audit_${what}`)
      }
    }
  })
  const attributes = '{"room": {"floor": 3, "door": "12"}, "installed": "2026-01-31", "tags": ["a", "b", "c"]}'
  const insert = sql`insert into devices (id, tenant_id, name, device_type_id, custom_attributes)
    select gen_random_uuid(), ${tenant}, 'Device ' || n, ${type}, ${attributes}::text::jsonb from generate_series(1, ${devices}::int) n`
  const keys = sql`insert into device_api_keys (id, tenant_id, device_id, key_prefix, key_hash)
    select gen_random_uuid(), tenant_id, id, 'k', id::text from devices`
  const rename = sql`update devices set name = name || '!', version = version + 1`
  const used = pipeline`update device_api_keys set last_used_at = now()`
  const remove = sql`delete from devices`
  const steps = [
    ["add devices", insert],
    ["add a key to each", keys],
    ["use of a key (nothing to write down)", used],
    ["rename each", rename],
    ["remove devices and keys", remove]
  ] as const
  const cost = new Map<string, { readonly enable: Array<number>; readonly disable: Array<number> }>()
  for (let round = 0; round < ROUNDS; round++) {
    for (const state of ["disable", "enable"] as const) {
      yield* triggers(state)
      for (const [name, statement] of steps) {
        const began = performance.now()
        yield* statement
        const of = cost.get(name) ?? { enable: [], disable: [] }
        of[state].push(((performance.now() - began) * 1_000) / devices)
        cost.set(name, of)
      }
      yield* sql`vacuum analyze devices`
      yield* sql`vacuum analyze device_api_keys`
    }
  }
  const [size] = yield* sql<{ bytes: number; rows: number }>`
    select pg_total_relation_size('audit_log_outside')::float8 as bytes, count(*)::float8 as rows from audit_log`
  console.log(`${devices} rows a statement, median of ${ROUNDS}, µs a row`.padEnd(52) + "without     with")
  for (const [name, { disable, enable }] of cost) {
    console.log(`${name.padEnd(50)} ${median(disable).toFixed(1).padStart(8)} ${median(enable).toFixed(1).padStart(8)}`)
  }
  console.log(`bytes an entry, indexes included: ${((size?.bytes ?? 0) / (size?.rows ?? 1)).toFixed(0)}`)
})

await Effect.runPromise(Effect.scoped(Effect.provide(bench, freshDatabase("audit"))))
