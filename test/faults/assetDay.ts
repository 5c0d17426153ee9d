/**
 * A day of assets: their devices' messages, and a configuration that changes three times on the way. All of it follows from a
 * seed, but for ids, and is known beforehand, so that what should come of it can be said without any of the services.
 * @module
 */
import { AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import type { BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect, Schema } from "effect"
import { randomUUID } from "node:crypto"
import { insertDevice, insertDeviceType, insertOrganization, publishVersion } from "../layers/profiles/registry.ts"
import { randomFrom } from "../support/random.ts"

export const SECOND = 1_000_000
const HOUR = 3_600 * SECOND

export interface DayPlan {
  readonly seed: number
  readonly devices: number
  readonly assets: number
  readonly parents: number
  readonly hours: number
  /** Between two readings of a device, on average. */
  readonly everySeconds: number
}

const machine = {
  metricDefinitions: ["temp", "load", "power"].map((key) => ({ key, displayName: key, dataType: "numeric" })),
  transformationEngine: { mappings: { temp: "$.temp_1" }, derived: { power: "load * 2 + temp" } },
  aggregationRules: { load: { windowSeconds: 300, fn: "avg" } },
  validationRules: { temp: { min: -20, max: 130, maxRatePerSecond: 20 } },
  healthAlgorithm: {
    algorithm: "weighted_average",
    metrics: [
      { metricKey: "temp", weight: 2, direction: "lower_better", min: 20, max: 110 },
      { metricKey: "load", weight: 1, direction: "band", min: 0, max: 100, band: [20, 80] }
    ]
  }
}
const machineLater = {
  ...machine,
  transformationEngine: { mappings: { temp: "$.temp_1" }, derived: { power: "load * 3 - temp" } },
  aggregationRules: { load: { windowSeconds: 600, fn: "max" } },
  healthAlgorithm: {
    algorithm: "weighted_deductions",
    rules: [
      { when: "temp > 75", deduction: 40, reason: "hot" },
      { when: "load > 60", deduction: 25, reason: "busy" }
    ]
  }
}
const line = {
  metricDefinitions: ["temp", "load"].map((key) => ({ key, displayName: key, dataType: "numeric" })),
  rollup: { metrics: { temp: "avg", load: "sum" }, health: "worst" }
}

const encodeConfig = Schema.encodeUnknownSync(AssetTypeConfig)
const decodeConfig = Schema.decodeUnknownSync(AssetTypeConfig)
const isoOf = (at: Instant) => new Date(at / 1_000).toISOString()

export interface SavedRule {
  readonly id: string
  /** As it was saved first. */
  readonly config: object
  readonly isEdited: boolean
}

/** Registers it, and gives its messages in the order in which they were received. The day ended a few minutes ago. */
export const makeDay = Effect.fnUntraced(function* (plan: DayPlan) {
  const sql = yield* OwnerSql
  const random = randomFrom(plan.seed)
  const end = Math.floor(Date.now() / 1_000) * SECOND - 600 * SECOND
  const start = end - plan.hours * HOUR
  const at = (share: number) => start + Math.round(plan.hours * 3_600 * share) * SECOND
  const before = start - HOUR

  const tenantId = yield* insertOrganization()
  const deviceTypeId = yield* insertDeviceType(tenantId)
  const numeric = (path: string) => ({ path, type: "numeric" })
  const config = { processingMode: "endpoint", extractionRules: { temp_1: numeric("$.t"), load: numeric("$.l") } }
  yield* publishVersion({ tenantId, deviceTypeId, number: 1, effectiveAt: before / 1_000, config })
  const devices: Array<string> = []
  for (let index = 0; index < plan.devices; index++) devices.push(yield* insertDevice({ tenantId, deviceTypeId }))

  const insertType = Effect.fnUntraced(function* (versions: ReadonlyArray<readonly [config: object, since: Instant]>) {
    const id = randomUUID()
    yield* sql`insert into asset_types (id, tenant_id, name, published_version)
      values (${id}, ${tenantId}, ${id}, ${versions.length})`
    for (const [index, [one, since]] of versions.entries()) {
      const whole = sql.json(encodeConfig(decodeConfig(one)))
      yield* sql`insert into asset_type_versions
          (id, tenant_id, asset_type_id, number, state, effective_at, config, resolved)
        values (${randomUUID()}, ${tenantId}, ${id}, ${index + 1}, 'published', ${isoOf(since)}::timestamptz, ${whole}, ${whole})`
    }
    return id
  })
  // The first change: another version of the type.
  const machineType = yield* insertType([
    [machine, before],
    [machineLater, at(0.6)]
  ])
  const lineType = yield* insertType([[line, before]])
  const insertAsset = Effect.fnUntraced(function* (typeId: string, parentId?: string) {
    const id = randomUUID()
    yield* sql`insert into assets (id, tenant_id, name, asset_type_id, parent_id)
      values (${id}, ${tenantId}, ${id}, ${typeId}, ${parentId ?? null})`
    return id
  })
  const parents: Array<string> = []
  for (let index = 0; index < plan.parents; index++) parents.push(yield* insertAsset(lineType))
  const assets: Array<string> = []
  const link = (deviceId: string, assetId: string, role: string, from: Instant, until: Instant | null) =>
    sql`insert into entity_edges (id, tenant_id, source_entity_type, source_entity_id, target_entity_type, target_entity_id,
        relationship_type, valid_from, valid_until, metadata)
      values (${randomUUID()}, ${tenantId}, 'device', ${deviceId}, 'asset', ${assetId}, 'MONITORED_BY',
        ${isoOf(from)}::timestamptz, ${until === null ? null : isoOf(until)}::timestamptz, ${sql.json({ role })})`
  for (let index = 0; index < plan.assets; index++) {
    const parent = index % 3 === 2 || parents.length === 0 ? undefined : parents[index % parents.length]
    const assetId = yield* insertAsset(machineType, parent)
    assets.push(assetId)
    const own = devices[index % devices.length]!
    const other = devices[(index + 1) % devices.length]!
    // The second change: some assets' devices are exchanged.
    if (index % 7 === 3) {
      yield* link(own, assetId, "primary", before, at(0.45))
      yield* link(other, assetId, "primary", at(0.45), null)
    } else {
      yield* link(own, assetId, "primary", before, null)
      if (index % 5 === 0) yield* link(other, assetId, "backup", before, null)
    }
  }

  const rules: Array<SavedRule> = []
  const saveRule = Effect.fnUntraced(function* (
    entityType: "asset" | "device",
    scope: object,
    rule: object,
    later?: readonly [config: object, since: Instant]
  ) {
    const id = randomUUID()
    const whole = (one: object) => ({
      name: "a rule",
      entityType,
      scope,
      severity: "high",
      cooldownSeconds: 60,
      ...one
    })
    yield* sql`insert into threshold_rules (id, tenant_id, name) values (${id}, ${tenantId}, ${id})`
    const versions = [[rule, before] as const, ...(later === undefined ? [] : [later])]
    for (const [index, [one, since]] of versions.entries()) {
      yield* sql`insert into threshold_rule_versions (rule_id, tenant_id, number, effective_at, config)
        values (${id}, ${tenantId}, ${index + 1}, ${isoOf(since)}::timestamptz, ${sql.json(whole(one))})`
    }
    rules.push({ id, config: whole(rule), isEdited: later !== undefined })
  })
  const machines = { kind: "type", id: machineType }
  const lines = { kind: "type", id: lineType }
  const all = { kind: "all" }
  // The third change: a rule is edited.
  const hot = (value: number) => ({ metricKey: "temp", condition: { operator: ">", value }, hysteresis: 3 })
  yield* saveRule("asset", machines, hot(80), [hot(70), at(0.3)])
  yield* saveRule("asset", machines, {
    metricKey: "health_score",
    condition: { operator: "below", warning: 60, critical: 40, durationSeconds: 60 }
  })
  yield* saveRule("asset", machines, { metricKey: "load", condition: { operator: "noData", noDataSeconds: 240 } })
  yield* saveRule("asset", machines, { condition: { operator: "expression", expression: "temp > 65 and power > 150" } })
  yield* saveRule("asset", lines, {
    metricKey: "temp",
    condition: { operator: ">", value: 60, durationSeconds: 30 },
    hysteresis: 2
  })
  yield* saveRule("device", all, {
    metricKey: "temp_1",
    condition: { operator: "rising", perSecond: 0.3, overSeconds: 60 }
  })
  yield* saveRule("device", all, { metricKey: "temp_1", condition: { operator: "noData", noDataSeconds: 180 } })
  yield* saveRule("device", all, {
    metricKey: "load",
    condition: { operator: "outside", value: [10, 90], durationSeconds: 45 }
  })

  // Nobody could send while the platform was away.
  const outage = { from: at(0.7), to: at(0.7) + 600 * SECOND }
  yield* sql`insert into ingest_gaps ("from", "to") values (${isoOf(outage.from)}::timestamptz, ${isoOf(outage.to)}::timestamptz)`
  yield* sql`update ingest_heartbeat set accepted_until = now() + interval '1 day'`

  const records: Array<{ readonly receivedAt: Instant; readonly record: BusRecord }> = []
  let doubles = 0
  for (const [index, deviceId] of devices.entries()) {
    let ts = start + index * 1_000
    let temp = 40 + random() * 30
    let load = 50
    for (let count = 0; ts < end; count++) {
      ts += Math.round(plan.everySeconds * (0.5 + random()) * SECOND)
      if (random() < 0.004) ts += Math.round(random() * 900 * SECOND)
      temp = Math.min(105, Math.max(5, temp + (random() - 0.5) * 9))
      load = Math.min(100, Math.max(0, load + (random() - 0.5) * 16))
      const t = random() < 0.01 ? 200 * random() : temp
      const receivedAt = ts + Math.round(random() * 25 * SECOND)
      if (ts >= end || (receivedAt >= outage.from && receivedAt < outage.to)) continue
      const messageId = uuidV5(deviceId, String(count))
      // Some readings hold one metric only.
      const part = random()
      const payload = { ts: ts / 1_000, ...(part > 0.1 && { t }), ...((part < 0.05 || part > 0.15) && { l: load }) }
      const record: BusRecord = {
        topic: Topics.raw,
        key: deviceId,
        value: Buffer.from(JSON.stringify(payload)),
        headers: {
          "message-id": messageId,
          "tenant-id": tenantId,
          "device-id": deviceId,
          "received-at": String(receivedAt),
          source: "mqtt",
          "content-type": "application/json"
        }
      }
      records.push({ receivedAt, record })
      if (random() < 0.03) {
        doubles += 1
        const again = receivedAt + Math.round(random() * 3 * SECOND)
        records.push({ receivedAt: again, record })
      }
    }
  }
  const sent = records.toSorted((left, right) => left.receivedAt - right.receivedAt).map(({ record }) => record)
  return { tenantId, deviceTypeId, devices, assets, parents, machineType, rules, start, end, before, sent, doubles }
})
export type Day = Effect.Success<ReturnType<typeof makeDay>>

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`

const queries = {
  frames: `select jsonb_build_array(entity_id, ${micros("ts")}, config_version, metrics, quality, metadata, late)::text as line
    from telemetry_frames where entity_type = 'asset'`,
  latest: `select jsonb_build_array(entity_id, key, value,
      coalesce((older ->> key)::bigint, ${micros("newest_ts")}), quality -> key)::text as line
    from entity_latest cross join lateral jsonb_each(metrics) where entity_type = 'asset'`,
  health: `select jsonb_build_array(asset_id, health_score, ${micros("health_score_updated_at")}, health_score_computed_by,
      ${micros("last_telemetry_at")})::text as line from asset_status`,
  alarms: `select jsonb_build_array(rule_id, rule_version, entity_id, ${micros("started_at")}, ${micros("ended_at")}, end_reason,
      severity, value, threshold, cause_reading_id, settled)::text as line from alarms where state <> 'retracted'`
} as const

export type Told = Readonly<Record<keyof typeof queries, ReadonlyArray<string>>>

/** All that assets and rules have come to, line by line in an order of its own. */
export const toldOf = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const told: Record<string, ReadonlyArray<string>> = {}
  for (const [name, query] of Object.entries(queries)) {
    told[name] = (yield* sql.unsafe<{ line: string }>(query)).map(({ line }) => line).toSorted()
  }
  return told as Told
})

/** What is in one and not in the other, a few of each kind; empty: they are the same. */
export const differencesOf = (left: Told, right: Told): ReadonlyArray<string> =>
  (Object.keys(queries) as ReadonlyArray<keyof Told>).flatMap((name) => {
    const ofLeft = new Set(left[name])
    const ofRight = new Set(right[name])
    const missing = left[name].filter((line_) => !ofRight.has(line_))
    const added = right[name].filter((line_) => !ofLeft.has(line_))
    if (missing.length + added.length === 0) return []
    return [
      `${name}: ${missing.length} only left, ${added.length} only right of ${left[name].length} and ${right[name].length}`,
      ...missing.slice(0, 3).map((line_) => `  left  ${line_}`),
      ...added.slice(0, 3).map((line_) => `  right ${line_}`)
    ]
  })

/** Everything that is made of readings is gone; the readings of devices stay. */
export const wipe = Effect.gen(function* () {
  const sql = yield* OwnerSql
  yield* sql`delete from telemetry_frames where entity_type = 'asset'`
  yield* sql`delete from entity_latest where entity_type = 'asset'`
  yield* sql`delete from asset_status`
  yield* sql`delete from alarms`
  yield* sql`delete from fold_states`
})
