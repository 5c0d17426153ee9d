/**
 * How old readings were when their asset's health was committed, breaches when their event was, and events when their
 * activity was. A reading's own time is the moment of sending it.
 * @module
 */
import { type Superuser } from "../test/support/superuser.ts"
import { type AssetTypeIds } from "./alarmsWorld.ts"
import { type Percentiles } from "./percentiles.ts"

export interface Ages {
  readonly what: string
  readonly rows: number
  readonly millis: Percentiles & { readonly max: number }
}

const epoch = (column: string) => `extract(epoch from ${column})::float8`
const committed = (row: string) => epoch(`pg_xact_commit_timestamp(${row}.xmin)`)

const agesOf = async (sql: Superuser, what: string, rows: string): Promise<Ages> => {
  const [found] = await sql.query<{ rows: number; max: number; shares: ReadonlyArray<number> }>(
    `select count(*)::float8 as rows, coalesce(max(age) * 1e3, 0) as max,
      coalesce(percentile_cont(array[0.5, 0.95, 0.99]) within group (order by age), '{0,0,0}') as shares from (${rows}) aged`
  )
  const [p50 = 0, p95 = 0, p99 = 0] = (found?.shares ?? []).map((seconds) => seconds * 1e3)
  return { what, rows: found?.rows ?? 0, millis: { p50, p95, p99, max: found?.max ?? 0 } }
}

/** Of what was sent in a half-open span of time, epoch microseconds. */
export const readAges = async (
  sql: Superuser,
  types: AssetTypeIds,
  fromMicros: number,
  toMicros: number
): Promise<ReadonlyArray<Ages>> => {
  const within = (column: string) =>
    `${column} >= to_timestamp(${fromMicros}::float8 / 1e6) and ${column} < to_timestamp(${toMicros}::float8 / 1e6)`
  const frames = (more: string) => `select ${committed("frame")} - ${epoch("frame.ts")} as age
    from telemetry_frames frame where ${within("frame.ts")} and ${more}`
  const ofType = (id: string) =>
    frames(`entity_type = 'asset' and not late and entity_id in (select id from assets where asset_type_id = '${id}')`)
  const breaches = (entityType: string) => `select ${committed("noted")} - ${epoch("event.occurred_at")} as age
    from system_events event join bench_events noted on noted.event_id = event.id
    where event.entity_type = '${entityType}' and ${within("event.occurred_at")}`
  return [
    await agesOf(sql, "reading → device's row", frames("entity_type = 'device'")),
    await agesOf(sql, "reading → asset's health", ofType(types.machine)),
    await agesOf(sql, "reading → parent's health", ofType(types.line)),
    await agesOf(sql, "breach → event, device rules", breaches("device")),
    await agesOf(sql, "breach → event, asset rules", breaches("asset")),
    await agesOf(
      sql,
      "event → activity",
      `select ${committed("made")} - ${committed("noted")} as age from bench_activities made
      join bench_events noted using (event_id) join system_events event on event.id = event_id
      where ${within("event.occurred_at")}`
    )
  ]
}

/** How old readings of assets were when their health was committed, by the time at which they were sent. */
export const readAgesInTime = (
  sql: Superuser,
  { machine }: AssetTypeIds,
  fromMicros: number,
  toMicros: number,
  stepSeconds: number
) =>
  sql.query<{ second: number; rows: number; p50: number; p95: number; max: number }>(
    `select floor((sent - ${fromMicros} / 1e6) / ${stepSeconds})::int * ${stepSeconds} as second, count(*)::int as rows,
      round(percentile_cont(0.5) within group (order by age))::int as p50,
      round(percentile_cont(0.95) within group (order by age))::int as p95, round(max(age))::int as max
    from (
      select ${epoch("frame.ts")} as sent, (${committed("frame")} - ${epoch("frame.ts")}) * 1e3 as age
      from telemetry_frames frame join assets asset on asset.id = frame.entity_id
      where frame.entity_type = 'asset' and not late and asset.asset_type_id = '${machine}'
        and frame.ts >= to_timestamp(${fromMicros}::float8 / 1e6) and frame.ts < to_timestamp(${toMicros}::float8 / 1e6)
    ) aged group by 1 order by 1`
  )

/** Alarms by the name of their rule. */
export const readAlarms = async (sql: Superuser, fromMicros: number, toMicros: number) => {
  const rows = await sql.query<{ name: string; alarms: number; cleared: number }>(
    `select rule.name, count(*)::int as alarms, count(*) filter (where alarm.state = 'cleared')::int as cleared
    from alarms alarm join threshold_rules rule on rule.id = alarm.rule_id
    where alarm.started_at >= to_timestamp(${fromMicros}::float8 / 1e6)
      and alarm.started_at < to_timestamp(${toMicros}::float8 / 1e6) group by 1`
  )
  return new Map(rows.map(({ name, ...counts }) => [name, counts]))
}

const consumerLine = /^argusiq_consumer_(lag_records|batch_size_sum|batch_size_count)\{([^}]*)\} (\S+)/
const label = (labels: string, name: string) => new RegExp(`${name}="([^"]*)"`).exec(labels)?.[1] ?? ""

export interface GroupFigures {
  readonly group: string
  /** Records that it has not processed, as it counted them within the last second. */
  lag: number
  records: number
  batches: number
}

export const readGroups = async (url: string): Promise<ReadonlyArray<GroupFigures>> => {
  const text = await (await fetch(`${url}/metrics`)).text()
  const groups = new Map<string, GroupFigures>()
  for (const line of text.split("\n")) {
    const [, what, labels, value] = consumerLine.exec(line) ?? []
    if (labels === undefined) continue
    const group = label(labels, "group")
    const figures = groups.get(group) ?? { group, lag: 0, records: 0, batches: 0 }
    groups.set(group, figures)
    if (what === "lag_records") figures.lag += Number(value)
    else if (what === "batch_size_sum") figures.records += Number(value)
    else figures.batches += Number(value)
  }
  return [...groups.values()]
}
