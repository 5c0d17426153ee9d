import { type TenantId } from "@argusiq/domain/ids.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { sqlState } from "../../../layers/database/errors.ts"
import { asUser, inTenant } from "../../../layers/database/inTenant.ts"
import { makeAhead, framesTable, partitionAt, rawTable } from "../../../layers/database/partitions.ts"
import { AppSql, OwnerSql, PipelineSql } from "../../../layers/database/Sql.ts"
import { testDatabase } from "../../support/postgres.ts"
import { insertFrames, insertRaw } from "./telemetryRows.ts"

const now = Date.now()
const userId = randomUUID()
const makeTenant = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const pipeline = yield* PipelineSql
  const tenant = randomUUID() as TenantId
  const [type, device] = [randomUUID(), randomUUID()]
  yield* sql`insert into organizations (id, name, slug) values (${tenant}, 'T', ${tenant})`
  yield* sql`insert into users (id, email, name) values (${userId}, 'a@b.c', 'A') on conflict do nothing`
  yield* sql`insert into memberships (id, tenant_id, user_id, role) values (${randomUUID()}, ${tenant}, ${userId}, 'admin')`
  yield* sql`insert into invitations (tenant_id, user_id, password_hash) values (${tenant}, ${userId}, 'x')`
  yield* sql`insert into sessions (id, tenant_id, user_id, expires_at) values (${randomUUID()}, ${tenant}, ${userId}, now())`
  yield* sql`insert into device_types (id, tenant_id, name) values (${type}, ${tenant}, 'thermometer')`
  const config = {
    extractionRules: { t: { unit: "Cel" }, p: { unit: "bar" } },
    transformationRules: [
      { kind: "unit", metricKey: "p", to: "kPa" },
      { kind: "unit", metricKey: "p", to: "Pa" }
    ]
  }
  yield* sql`insert into device_type_versions (id, tenant_id, device_type_id, number, state, effective_at, config)
    values (${randomUUID()}, ${tenant}, ${type}, 1, 'published', now(), ${JSON.stringify(config)}::text::jsonb)`
  yield* sql`insert into devices (id, tenant_id, name, device_type_id) values (${device}, ${tenant}, 'D', ${type})`
  yield* sql`insert into device_api_keys (id, tenant_id, device_id, key_prefix, key_hash)
    values (${randomUUID()}, ${tenant}, ${device}, 'k', ${randomUUID()})`
  yield* pipeline`insert into device_status (device_id, tenant_id) values (${device}, ${tenant})`
  yield* pipeline`insert into entity_latest (entity_id, entity_type, tenant_id, metrics, updated_at)
    values (${device}, 'device', ${tenant}, '{}', now())`
  yield* pipeline`insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at)
    values (${randomUUID()}, ${tenant}, 'x', 'device', ${device}, 'info', now())`
  yield* insertFrames(pipeline, [now, 0], {
    tenantId: tenant,
    entityId: device,
    metrics: { t: 21.5, p: 3, on: true, state: "idle", place: { lat: 1 }, list: [1, 2] },
    quality: { t: "uncertain" }
  })
  yield* insertRaw(pipeline, [now, 0], { tenantId: tenant })
  for (const owner of [tenant, null]) {
    yield* pipeline`insert into dead_letters (id, tenant_id, "group", stage, reason, message, topic, partition, "offset",
        headers, size, attempts, failed_at, received_at)
      values (${randomUUID()}, ${owner}::uuid, 'g', 's', 'r', '', 't', 0, 0, '{}', 0, 1, now(), now())`
  }
  const asset = yield* makeAsset(tenant, device)
  yield* makeActivity(tenant, asset)
  return { tenant, device, type, asset }
})

/** An asset with a row in every table that says something of it. */
const makeAsset = Effect.fnUntraced(function* (tenant: string, device: string) {
  const sql = yield* OwnerSql
  const pipeline = yield* PipelineSql
  const ids = Array.from({ length: 8 }, () => randomUUID())
  const [type, profile, space, asset, group, rule, alarm, event] = ids as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
    string
  ]
  yield* sql`insert into spaces (id, tenant_id, name, kind) values (${space}, ${tenant}, 'S', 'site')`
  yield* sql`insert into asset_types (id, tenant_id, name) values (${type}, ${tenant}, 'room')`
  const resolved = { metricDefinitions: [{ key: "warmth", unit: "Cel" }] }
  yield* sql`insert into asset_type_versions (id, tenant_id, asset_type_id, number, state, effective_at, config, resolved)
    values (${randomUUID()}, ${tenant}, ${type}, 1, 'published', now(), '{}', ${sql.json(resolved)})`
  yield* sql`insert into asset_profiles (id, tenant_id, name, asset_type_id) values (${profile}, ${tenant}, 'P', ${type})`
  yield* sql`insert into assets (id, tenant_id, name, asset_type_id, profile_id, space_id)
    values (${asset}, ${tenant}, 'A', ${type}, ${profile}, ${space})`
  yield* sql`insert into asset_groups (id, tenant_id, name) values (${group}, ${tenant}, 'G')`
  yield* sql`insert into asset_group_members (group_id, asset_id, tenant_id) values (${group}, ${asset}, ${tenant})`
  yield* sql`insert into documents (id, tenant_id, owner_type, owner_id, name, media_type, size, sha256, storage_key)
    values (${randomUUID()}, ${tenant}, 'asset', ${asset}, 'a.pdf', 'application/pdf', 1, '', ${randomUUID()})`
  yield* sql`insert into entity_edges (id, tenant_id, source_entity_type, source_entity_id, target_entity_type,
      target_entity_id, relationship_type, valid_from, metadata)
    values (${randomUUID()}, ${tenant}, 'device', ${device}, 'asset', ${asset}, 'MONITORED_BY', now(), '{"role": "primary"}')`
  yield* sql`insert into threshold_rules (id, tenant_id, name) values (${rule}, ${tenant}, 'R')`
  yield* sql`insert into threshold_rule_versions (rule_id, tenant_id, number, effective_at, config)
    values (${rule}, ${tenant}, 1, now(), '{}')`
  yield* pipeline`insert into asset_status (asset_id, tenant_id, health_score) values (${asset}, ${tenant}, 50)`
  yield* pipeline`insert into fold_states (kind, entity_id, tenant_id, partition, base, recent, base_time)
    values ('asset', ${asset}, ${tenant}, 0, '', '', now())`
  yield* pipeline`insert into alarms (id, tenant_id, rule_id, rule_version, entity_type, entity_id, state, severity, priority,
      started_at) values (${alarm}, ${tenant}, ${rule}, 1, 'asset', ${asset}, 'active', 'high', 2, now())`
  yield* pipeline`insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at)
    values (${event}, ${tenant}, 'x', 'asset', ${asset}, 'info', now())`
  yield* sql`insert into alarm_comments (id, tenant_id, alarm_id, body) values (${randomUUID()}, ${tenant}, ${alarm}, 'b')`
  yield* sql`insert into event_comments (id, tenant_id, event_id, body) values (${randomUUID()}, ${tenant}, ${event}, 'b')`
  return asset
})

/** An activity with a row in every table that says something of it. */
const makeActivity = Effect.fnUntraced(function* (tenant: string, asset: string) {
  const sql = yield* OwnerSql
  const pipeline = yield* PipelineSql
  const ids = Array.from({ length: 5 }, () => randomUUID())
  const [type, template, activity, event, notification] = ids as [string, string, string, string, string]
  yield* sql`insert into activity_types (id, tenant_id, name) values (${type}, ${tenant}, 'Repair')`
  yield* sql`insert into activity_templates (id, tenant_id, activity_type_id, name, trigger_event_type)
    values (${template}, ${tenant}, ${type}, 'T', 'MANUAL')`
  yield* sql`insert into schedules (id, tenant_id, template_id, name, every, unit, starts_on, local_time, time_zone)
    values (${randomUUID()}, ${tenant}, ${template}, 'S', 1, 'days', '2026-01-01', '08:00', 'UTC')`
  yield* pipeline`insert into activities (id, tenant_id, activity_type_id, target_type, target_id, name, priority)
    values (${activity}, ${tenant}, ${type}, 'asset', ${asset}, 'A', 1)`
  yield* pipeline`insert into activity_items (id, tenant_id, activity_id, position, item, required)
    values (${randomUUID()}, ${tenant}, ${activity}, 0, 'I', true)`
  yield* pipeline`insert into activity_events (event_id, template_id, tenant_id, activity_id, event_type, severity, occurred_at)
    values (${event}, ${template}, ${tenant}, ${activity}, 'x', 'info', now())`
  yield* pipeline`insert into notifications (id, tenant_id, source_id, channel, recipients, title, body, severity, state)
    values (${notification}, ${tenant}, ${event}, 'in_app', '{admin}', 'T', 'B', 'info', 'delivered')`
  yield* sql`insert into notification_reads (notification_id, user_id, tenant_id) values (${notification}, ${userId}, ${tenant})`
  yield* pipeline`insert into webhook_deliveries (id, tenant_id, event_id, event_type, url, body)
    values (${randomUUID()}, ${tenant}, ${event}, 'x', 'https://example.com', '{}')`
  yield* pipeline`insert into webhook_secrets (tenant_id, secret) values (${tenant}, 's')`
})

const tenantTables = [
  "organizations",
  "memberships",
  "invitations",
  "sessions",
  "device_types",
  "device_type_versions",
  "devices",
  "device_status",
  "device_api_keys",
  "telemetry_raw",
  "telemetry_frames",
  "entity_latest",
  "telemetry_history",
  "dead_letters",
  "system_events",
  "spaces",
  "asset_types",
  "asset_type_versions",
  "asset_profiles",
  "assets",
  "asset_status",
  "asset_groups",
  "asset_group_members",
  "documents",
  "entity_edges",
  "threshold_rules",
  "threshold_rule_versions",
  "alarms",
  "alarm_comments",
  "event_comments",
  "activity_types",
  "activity_templates",
  "schedules",
  "activities",
  "activity_items",
  "activity_events",
  "notifications",
  "notification_reads",
  "webhook_deliveries",
  "webhook_secrets",
  "audit_log"
]

const count = (table: string) =>
  Effect.flatMap(AppSql, (sql) =>
    Effect.map(sql.unsafe<{ n: number }>(`select count(*)::int as n from ${table}`), (rows) => rows[0]?.n)
  )

const row = (metric_key: string, rest: object) => ({
  metric_key,
  value: null,
  value_text: null,
  value_json: null,
  unit: null,
  quality: "good",
  ...rest
})

layer(testDatabase, { excludeTestServices: true })("isolation of tenants", (it) => {
  const partitionNow = Effect.gen(function* () {
    const sql = yield* OwnerSql
    yield* makeAhead(sql, framesTable, now)
    yield* makeAhead(sql, rawTable, now)
  })

  it.effect("the application sees no row without a tenant, and only its tenant's with one", () =>
    Effect.gen(function* () {
      yield* partitionNow
      const one = yield* makeTenant
      const two = yield* makeTenant
      for (const table of tenantTables) {
        assert.strictEqual(yield* count(table), 0, `${table} without a tenant`)
        const sql = yield* AppSql
        const column = table === "organizations" ? "id" : "tenant_id"
        for (const { tenant } of [one, two]) {
          const tenants = yield* sql
            .unsafe<{ tenant: string }>(`select distinct ${column} as tenant from ${table}`)
            .pipe(inTenant(tenant))
          assert.deepStrictEqual(tenants, [{ tenant }], table)
        }
        assert.strictEqual(yield* count(table), 0, `${table} after a tenant's transaction, on the same connections`)
      }
      assert.isAbove((yield* count("telemetry_frames").pipe(inTenant(one.tenant))) ?? 0, 0)
    })
  )

  it.effect("the application cannot write for another tenant, nor reach another's rows by their id", () =>
    Effect.gen(function* () {
      const sql = yield* AppSql
      const [one, two] = [yield* makeTenant, yield* makeTenant]
      const insert = sql`insert into devices (id, tenant_id, name, device_type_id)
        values (${randomUUID()}, ${two.tenant}, 'D', ${two.type})`
      assert.strictEqual(sqlState(yield* Effect.flip(inTenant(one.tenant)(insert))), "42501")
      assert.strictEqual(sqlState(yield* Effect.flip(insert)), "42501")
      const move = sql`update devices set tenant_id = ${two.tenant} where id = ${one.device}`
      assert.include(["42501", "23503"], sqlState(yield* Effect.flip(inTenant(one.tenant)(move))))
      const changed = sql`update devices set name = 'mine' where id = ${two.device} returning id`
      assert.deepStrictEqual(yield* inTenant(one.tenant)(changed), [])
      const removed = sql`delete from device_api_keys where device_id = ${two.device} returning id`
      assert.deepStrictEqual(yield* inTenant(one.tenant)(removed), [])
    })
  )

  it.effect("the application reaches no partition, no table of the pipeline and no function but its own", () =>
    Effect.gen(function* () {
      const sql = yield* AppSql
      yield* partitionNow
      const { tenant } = yield* makeTenant
      const forbidden = [
        "select 1 from telemetry_frames_outside",
        "select 1 from telemetry_raw_outside",
        "select 1 from audit_log_outside",
        `select 1 from ${partitionAt(framesTable, now).name}`,
        `select 1 from ${partitionAt(rawTable, now).name}`,
        "select 1 from consumer_offsets",
        "select 1 from schema_migrations",
        "call isolate('devices')",
        "insert into telemetry_frames select * from telemetry_frames",
        "delete from telemetry_raw",
        "select 1 from fold_states",
        "update webhook_deliveries set url = 'https://example.com/mine'",
        "delete from notifications",
        "delete from activity_events",
        "delete from entity_edges",
        "delete from threshold_rule_versions",
        "update alarms set severity = 'info'",
        "update asset_status set health_score = 100",
        "update change_sequence set number = 0",
        "create table mine ()",
        "alter table devices disable row level security",
        "set role argusiq_owner",
        "set session authorization argusiq_owner"
      ]
      for (const statement of forbidden) {
        const error = yield* Effect.flip(inTenant(tenant)(sql.unsafe(statement)))
        assert.strictEqual(sqlState(error), "42501", statement)
      }
    })
  )

  it.effect("no role but a superuser passes by row-level security, and the application owns nothing", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const roles = yield* sql`select rolname::text as role from pg_roles
        where rolname like 'argusiq%' and (rolsuper or rolbypassrls or rolcreaterole or rolreplication)`
      assert.deepStrictEqual(roles, [])
      const owned = yield* sql`select relname::text from pg_class where relowner = 'argusiq_app'::regrole
        union all select proname::text from pg_proc where proowner = 'argusiq_app'::regrole`
      assert.deepStrictEqual(owned, [])
      const unforced = yield* sql`select relname::text as table from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
          and not (relrowsecurity and relforcerowsecurity) order by 1`
      assert.deepStrictEqual(
        unforced.map(({ table }) => table),
        [
          "change_sequence",
          "consumer_offsets",
          "external_identities",
          "ingest_gaps",
          "ingest_heartbeat",
          "refresh_tokens",
          "rollup_progress",
          "schema_migrations",
          "users"
        ]
      )
      const isPublic = yield* sql`select proname::text from pg_proc
        where pronamespace = 'public'::regnamespace and has_function_privilege('public', oid, 'execute')`
      assert.deepStrictEqual(isPublic, [])
    })
  )

  it.effect("a user's memberships are seen before a tenant is chosen, and nobody else's", () =>
    Effect.gen(function* () {
      yield* makeTenant
      assert.isAbove((yield* count("memberships").pipe(asUser(userId))) ?? 0, 0)
      assert.strictEqual(yield* count("memberships").pipe(asUser(randomUUID())), 0)
      assert.strictEqual(yield* count("devices").pipe(asUser(userId)), 0)
    })
  )

  it.effect("a tenant's transaction rolls back whole, joins its own kind and refuses another tenant inside", () =>
    Effect.gen(function* () {
      const sql = yield* AppSql
      const [one, two] = [yield* makeTenant, yield* makeTenant]
      const rename = sql`update organizations set name = 'changed' where id = ${one.tenant}`
      yield* inTenant(one.tenant)(Effect.andThen(inTenant(one.tenant)(rename), Effect.fail("no" as const))).pipe(
        Effect.flip
      )
      const names = yield* inTenant(one.tenant)(sql`select name from organizations`)
      assert.deepStrictEqual(names, [{ name: "T" }])
      const exit = yield* Effect.exit(inTenant(one.tenant)(inTenant(two.tenant)(rename)))
      assert.strictEqual(exit._tag, "Failure")
    })
  )

  it.effect("the pipeline writes for all tenants, but cannot change the audit copy or the configuration", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      yield* makeTenant
      yield* makeTenant
      const tenants = yield* sql<{ n: number }>`select count(distinct tenant_id)::int as n from telemetry_frames`
      assert.isAtLeast(tenants[0]?.n ?? 0, 2)
      for (const statement of [
        "update telemetry_raw set size = 0",
        "delete from telemetry_raw",
        "delete from devices",
        "update device_types set name = 'x'",
        "update assets set name = 'x'",
        "update entity_edges set valid_until = now()",
        "insert into threshold_rules (id) values (null)",
        "select password_hash from users",
        "select password_hash from invitations",
        "select user_id from sessions",
        "update sessions set ended_at = null",
        "update device_api_keys set revoked_at = now()"
      ]) {
        assert.strictEqual(sqlState(yield* Effect.flip(sql.unsafe(statement))), "42501", statement)
      }
      yield* sql`update device_api_keys set last_used_at = now()`
    })
  )

  it.effect("not even the owner changes the audit copy", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      for (const statement of [
        "update telemetry_raw set size = 0",
        "delete from telemetry_raw",
        "truncate telemetry_raw"
      ]) {
        assert.strictEqual(sqlState(yield* Effect.flip(sql.unsafe(statement))), "42501", statement)
      }
    })
  )

  it.effect("the history has a row per metric with its type of value, quality and unit after conversion", () =>
    Effect.gen(function* () {
      const sql = yield* AppSql
      const { device, tenant } = yield* makeTenant
      const rows = yield* sql`select metric_key, value, value_text, value_json, unit, quality from telemetry_history
        where entity_id = ${device} and "timestamp" = ${new Date(now)} order by metric_key collate "C"`.pipe(
        inTenant(tenant)
      )
      assert.deepStrictEqual(rows, [
        row("list", { value_json: [1, 2] }),
        row("on", { value: 1, value_text: "true" }),
        row("p", { value: 3, unit: "Pa" }),
        row("place", { value_json: { lat: 1 } }),
        row("state", { value_text: "idle" }),
        row("t", { value: 21.5, unit: "Cel", quality: "uncertain" })
      ])
    })
  )

  it.effect(
    "the history of an asset has the units that its type defines, also where no device and no message is its source",
    () =>
      Effect.gen(function* () {
        const sql = yield* AppSql
        const { asset, tenant } = yield* makeTenant
        yield* (yield* PipelineSql)`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, received_at,
          config_version, metrics)
        values (${tenant}, 'asset', ${asset}, now(), ${randomUUID()}, now(), 1, '{"warmth": 4, "other": 1}')`
        const rows = yield* sql`select metric_key, value, unit, source_device_id from telemetry_history
        where entity_id = ${asset} order by metric_key`.pipe(inTenant(tenant))
        assert.deepStrictEqual(rows, [
          { metric_key: "other", value: 1, unit: null, source_device_id: null },
          { metric_key: "warmth", value: 4, unit: "Cel", source_device_id: null }
        ])
      })
  )

  it.effect("caches are told of what they hold, and not of a statement that changed nothing or of a key's use", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const { device } = yield* makeTenant
      const number = Effect.map(
        sql<{ n: number }>`select number::int as n from change_sequence where scope = 'profiles'`,
        (rows) => rows[0]?.n ?? -1
      )
      const moves = (statement: string) =>
        Effect.gen(function* () {
          const before = yield* number
          yield* sql.unsafe(statement)
          return (yield* number) - before
        })
      assert.strictEqual(yield* moves(`update devices set name = 'x' where id = '${randomUUID()}'`), 0)
      assert.strictEqual(yield* moves(`update device_api_keys set last_used_at = now()`), 0)
      assert.strictEqual(yield* moves(`update devices set status = 'decommissioned' where id = '${device}'`), 1)
      assert.strictEqual(yield* moves(`update device_api_keys set revoked_at = now() where device_id = '${device}'`), 1)
      assert.strictEqual(yield* moves(`delete from device_api_keys where device_id = '${device}'`), 1)
    })
  )
})
