import { assert, describe, it, layer } from "@effect/vitest"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { CurrentActor } from "../../layers/database/CurrentActor.ts"
import { sqlState } from "../../layers/database/errors.ts"
import { inTenant } from "../../layers/database/inTenant.ts"
import { AppSql, OwnerSql, PipelineSql } from "../../layers/database/Sql.ts"
import { testDatabase } from "../support/postgres.ts"

const measured = "what devices measured, and what follows from it alone"
const progress = "how far the platform has come with its own work"
const ownRecord = "its rows say themselves who did it and when, and are not removed"

/** The tables whose changes are not written to the audit log, and why. */
const unaudited: Readonly<Record<string, string>> = {
  alarm_comments: ownRecord,
  alarms: measured,
  asset_status: measured,
  activity_events: "which events an activity stands for follows from the events and the templates",
  audit_log: "is the log",
  certificate_bundles: "holds for minutes what the entry of its certificate tells of",
  change_sequence: progress,
  consumer_offsets: `${progress}; what an operator does to them is noted by the API`,
  dead_letter_levels: progress,
  dead_letters: `${measured}; a row says who had it retried`,
  device_aliases: measured,
  device_connections: measured,
  device_status: measured,
  entity_latest: measured,
  event_comments: ownRecord,
  fold_states: measured,
  ingest_gaps: progress,
  ingest_heartbeat: progress,
  notification_reads: "who has read what changes nothing",
  notifications: measured,
  refresh_tokens: "sessions: signing in and out is noted as it happens",
  sessions: "signing in and out is noted as it happens",
  rollup_dirty: progress,
  rollup_progress: progress,
  schema_migrations: "changed by releases, which are known by their version",
  system_events: `${measured}; a row says who acknowledged it`,
  telemetry_rollups: measured,
  telemetry_chunks: measured,
  telemetry_frames: measured,
  telemetry_raw: measured,
  telemetry_transactions: measured,
  webhook_deliveries: measured
}

const uuids = (count: number) => Array.from({ length: count }, () => randomUUID())

const makeTenant = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const tenant = randomUUID() as TenantId
  yield* sql`insert into organizations (id, name, slug) values (${tenant}, 'T', ${tenant})`
  return tenant
})

const makeDevice = Effect.fnUntraced(function* (tenant: string) {
  const sql = yield* OwnerSql
  const [type, device] = uuids(2) as [string, string]
  yield* sql`insert into device_types (id, tenant_id, name) values (${type}, ${tenant}, ${type})`
  yield* sql`insert into devices (id, tenant_id, name, device_type_id, custom_attributes)
    values (${device}, ${tenant}, 'D', ${type}, '{"room": {"floor": 1, "door": "a"}}')`
  return { device, type }
})

interface Entry {
  readonly action: string
  readonly entity_type: string
  readonly entity_id: string
  readonly before: object | null
  readonly after: object | null
}
const entriesOf = (tenant: string) =>
  Effect.flatMap(
    OwnerSql,
    (sql) => sql<Entry>`select action, entity_type, entity_id, before, after from audit_log
      where tenant_id = ${tenant} order by occurred_at, entity_type`
  )

layer(testDatabase, { excludeTestServices: true })("the audit log", (it) => {
  it.effect("every table is either audited or not for a reason that is written down", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const tables = yield* sql<{ name: string; audited: number }>`
        select relname::text as name, (
          select count(*)::int from pg_trigger where tgrelid = pg_class.oid
            and tgfoid in ('audit_rows'::regproc, 'audit_change'::regproc)) as audited
        from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1`
      for (const { audited, name } of tables) {
        const reason = unaudited[name]
        assert.strictEqual(
          audited,
          reason === undefined ? 3 : 0,
          reason === undefined
            ? `${name} is neither audited nor on the list above. Write "call audit('${name}', '<what a row is>');" into ` +
                "the migration that makes it (migrations/0015_audit.sql tells the parameters), or put it on the list with a reason."
            : `${name} is audited and on the list of those that are not: take it off.`
        )
      }
      const known = tables.map(({ name }) => name)
      assert.deepStrictEqual(
        Object.keys(unaudited).filter((name) => !known.includes(name)),
        [],
        "tables on the list that do not exist"
      )
    })
  )

  it.effect("of a change only what changed is kept, within objects too, and of none nothing", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const tenant = yield* makeTenant
      const { device, type } = yield* makeDevice(tenant)
      yield* sql`update devices set name = 'E', custom_attributes = '{"room": {"floor": 2, "door": "a"}, "x": [1]}',
        version = version + 1, updated_at = now() where id = ${device}`
      yield* sql`update devices set version = version + 1, updated_at = now(), name = name where id = ${device}`
      yield* sql`delete from devices where id = ${device}`
      const entries = (yield* entriesOf(tenant)).filter(({ entity_type }) => entity_type === "device")
      assert.deepStrictEqual(
        entries.map(({ action, entity_id }) => [action, entity_id]),
        ["created", "changed", "removed"].map((action) => [action, device])
      )
      assert.strictEqual(entries[0]!.before, null)
      assert.include(entries[0]!.after, { id: device, name: "D", device_type_id: type })
      assert.deepStrictEqual(entries[1]!.before, { name: "D", custom_attributes: { room: { floor: 1 } } })
      assert.deepStrictEqual(entries[1]!.after, {
        name: "E",
        custom_attributes: { room: { floor: 2 }, x: [1] }
      })
      assert.include(entries[2]!.before, { name: "E" })
      assert.strictEqual(entries[2]!.after, null)
    })
  )

  it.effect("no secret gets into the log, whether it is a column or lies in a document", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const tenant = yield* makeTenant
      const { device } = yield* makeDevice(tenant)
      const user = randomUUID()
      const secret = "hush-" + randomUUID()
      yield* sql`insert into users (id, email, name, password_hash) values (${user}, ${user}, 'U', ${secret})`
      yield* sql`update users set password_hash = ${`${secret}2`} where id = ${user}`
      yield* sql`insert into device_api_keys (id, tenant_id, device_id, key_prefix, key_hash)
        values (${randomUUID()}, ${tenant}, ${device}, 'visible', ${secret})`
      yield* sql`insert into webhook_secrets (tenant_id, secret) values (${tenant}, ${secret})`
      yield* sql`update webhook_secrets set previous = secret, secret = ${`${secret}3`} where tenant_id = ${tenant}`
      const settings = { mail: { smtpPassword: secret, headers: [{ authorization: secret }] }, tokens: [secret] }
      yield* sql`update organizations set settings = ${JSON.stringify(settings)}::text::jsonb where id = ${tenant}`
      const [found] = yield* sql<{ n: number }>`
        select count(*)::int as n from audit_log where audit_log::text like ${`%${secret.slice(0, 20)}%`}`
      assert.strictEqual(found?.n, 0)
      const changes = yield* sql<{ before: object; after: object }>`
        select before, after from audit_log where entity_type = 'user' and action = 'changed' and entity_id = ${user}`
      assert.deepStrictEqual(changes, [{ before: { password_hash: "(secret)" }, after: { password_hash: "(secret)" } }])
      const [masked] = yield* sql<{ after: object }>`
        select after from audit_log where entity_type = 'organization' and action = 'changed' and entity_id = ${tenant}`
      assert.deepStrictEqual(masked?.after, {
        settings: { mail: { smtpPassword: "(secret)", headers: [{ authorization: "(secret)" }] }, tokens: "(secret)" }
      })
      assert.include(JSON.stringify(yield* entriesOf(tenant)), "visible")
    })
  )

  it.effect(
    "a change says who made it, for which request and from where, and goes with it when it is rolled back",
    () =>
      Effect.gen(function* () {
        const app = yield* AppSql
        const owner = yield* OwnerSql
        const tenant = yield* makeTenant
        const user = randomUUID()
        const actor = { kind: "user", id: user, requestId: "r-1", address: "192.0.2.1" } as const
        const rename = (name: string) => app`update organizations set name = ${name} where id = ${tenant}`
        yield* inTenant(tenant)(rename("by a user")).pipe(Effect.provideService(CurrentActor, actor))
        yield* inTenant(tenant)(rename("by nobody"))
        yield* inTenant(tenant)(Effect.andThen(rename("never"), Effect.fail("no"))).pipe(Effect.flip)
        const entries = yield* owner`select actor_kind, actor_id, request_id, address, after from audit_log
        where tenant_id = ${tenant} and action = 'changed' order by occurred_at`
        assert.deepStrictEqual(entries, [
          { actor_kind: "user", actor_id: user, request_id: "r-1", address: "192.0.2.1", after: { name: "by a user" } },
          { actor_kind: "system", actor_id: null, request_id: null, address: null, after: { name: "by nobody" } }
        ])
      })
  )

  it.effect("nobody changes or removes an entry, nor forges a change; a tenant sees its own entries only", () =>
    Effect.gen(function* () {
      const [owner, app, pipeline] = [yield* OwnerSql, yield* AppSql, yield* PipelineSql]
      const [one, two] = [yield* makeTenant, yield* makeTenant]
      for (const statement of ["update audit_log set action = 'x'", "delete from audit_log", "truncate audit_log"]) {
        for (const sql of [owner, pipeline]) {
          assert.strictEqual(sqlState(yield* Effect.flip(sql.unsafe(statement))), "42501", statement)
        }
        assert.strictEqual(sqlState(yield* Effect.flip(inTenant(one)(app.unsafe(statement)))), "42501", statement)
      }
      const forged = "insert into audit_log (actor_kind, action, entity_type) values ('user', 'created', 'x')"
      assert.strictEqual(sqlState(yield* Effect.flip(inTenant(one)(app.unsafe(forged)))), "42501")
      const note = [
        { action: "removed", entityType: "device", actorKind: "user", occurredAt: new Date(), tenantId: two }
      ]
      yield* app`select audit_note(${JSON.stringify(note)}::text::jsonb)`
      assert.strictEqual((yield* entriesOf(two)).length, 1)
      const seen = yield* inTenant(one)(app<{ tenant_id: string }>`select distinct tenant_id from audit_log`)
      assert.deepStrictEqual(seen, [{ tenant_id: one }])
      assert.deepStrictEqual(yield* app`select 1 from audit_log`, [])
    })
  )

  it.effect("what the pipeline writes all the time, and what services make by themselves, makes no entries", () =>
    Effect.gen(function* () {
      const [owner, pipeline, app] = [yield* OwnerSql, yield* PipelineSql, yield* AppSql]
      const tenant = yield* makeTenant
      const { device } = yield* makeDevice(tenant)
      const [key, type, template, activity, schedule] = uuids(5) as [string, string, string, string, string]
      yield* owner`insert into device_api_keys (id, tenant_id, device_id, key_prefix, key_hash)
        values (${key}, ${tenant}, ${device}, 'k', ${key})`
      yield* owner`insert into activity_types (id, tenant_id, name) values (${type}, ${tenant}, 'Repair')`
      yield* owner`insert into activity_templates (id, tenant_id, activity_type_id, name, trigger_event_type)
        values (${template}, ${tenant}, ${type}, 'T', 'MANUAL')`
      yield* owner`insert into schedules (id, tenant_id, template_id, name, every, unit, starts_on, local_time, time_zone)
        values (${schedule}, ${tenant}, ${template}, 'S', 1, 'days', '2026-01-01', '08:00', 'UTC')`
      const before = (yield* entriesOf(tenant)).length
      yield* pipeline`update device_api_keys set last_used_at = now()`
      yield* pipeline`update schedules set next_due_at = now(), last_due_at = now()`
      yield* pipeline`insert into activities (id, tenant_id, activity_type_id, name, priority)
        values (${activity}, ${tenant}, ${type}, 'A', 1)`
      yield* pipeline`update activities set priority = 2 where id = ${activity}`
      assert.strictEqual((yield* entriesOf(tenant)).length, before)
      const person = { kind: "user", id: randomUUID() } as const
      yield* inTenant(tenant)(app`update activities set priority = 3 where id = ${activity}`).pipe(
        Effect.provideService(CurrentActor, person)
      )
      const [last] = (yield* entriesOf(tenant)).slice(before)
      assert.include(last, { action: "changed", entity_type: "activity", entity_id: activity })
    })
  )
})

describe("the list of tables that are not audited", () => {
  it("gives each a reason", () => {
    for (const [table, reason] of Object.entries(unaudited)) assert.isAbove(reason.length, 5, table)
  })
})
