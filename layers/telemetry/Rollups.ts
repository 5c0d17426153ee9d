/**
 * Keeps `telemetry_rollups`: what was measured by hour and by day (UTC), for every entity and metric, kept for good.
 *
 * Hours that have passed are rolled up together (`advance`): from then on whoever stores a frame of such an hour leaves a
 * mark in `rollup_dirty`, in the same transaction. `refresh` computes the marked hours, and the days they are in, anew
 * from the frames and deletes the marks that it had read before. Until then readers compute a marked hour from frames, so
 * nothing depends on how often this runs. Where retention cuts frames away (`freezeBefore`), the rollups stay as they
 * are: what arrives for that time afterwards takes no part in them.
 *
 * Any of these may be killed at any point and run again, and several at a time do no harm: they take turns at the row of
 * `rollup_progress`.
 * @module
 */
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { type SqlError } from "effect/sql/SqlError"
import { exclusively, framesTable, partitionAt } from "../database/partitions.ts"
import { dayPartial, hourPartial } from "./rollupStatements.ts"

const hour = 3_600_000
/** An hour stays open for its stragglers, so that most of it is rolled up once. */
const settle = 10 * 60_000
/** Hours of entities that one transaction computes: at a reading per second, a few seconds of work. */
const hoursAtOnce = 200

const takeTurns = "select 1 from rollup_progress for update"

interface Progress {
  readonly marked: number // epoch milliseconds, as the others
  readonly rolled: number
}
const progressColumns = `(extract(epoch from marked_before) * 1000)::float8 as marked,
  (extract(epoch from rolled_before) * 1000)::float8 as rolled`

const instant = (millis: number) => `timestamptz '${new Date(millis).toISOString()}'`
const floor = (millis: number, width: number) => Math.floor(millis / width) * width

/**
 * Takes over the hours that ended at least ten minutes before `now` (epoch milliseconds). They are marked for `refresh`.
 */
export const advance = Effect.fn("Rollups.advance")(function* (sql: SqlClient.SqlClient, now: number) {
  const target = floor(now - settle, hour)
  const [progress] = yield* sql.unsafe<Progress>(`
    update rollup_progress set marked_before = greatest(marked_before, ${instant(target)}) returning ${progressColumns}`)
  if (progress === undefined || progress.rolled >= progress.marked) return
  // Whoever stores without marks has begun before: their frames are seen once they are done. Those who begin after this see
  // that they have to mark.
  yield* exclusively(sql, sql.unsafe("lock table only telemetry_frames in share mode"))
  for (let from = progress.rolled; from < progress.marked;) {
    const to = Math.min(partitionAt(framesTable, from).to, progress.marked)
    yield* sql.withTransaction(
      Effect.andThen(
        sql.unsafe(takeTurns),
        sql.unsafe(`
          with marked as (${markHours(from, to)})
          update rollup_progress set rolled_before = greatest(rolled_before, ${instant(to)})`)
      )
    )
    from = to
  }
})

/**
 * A mark for each entity and hour that has frames, of hours of one partition; and for the last hour of a day that has any,
 * with which its day is rolled up. The entities are found by jumping from one to the next in the primary key.
 */
const markHours = (from: number, to: number) => {
  const partition = partitionAt(framesTable, from)
  const within = `ts >= ${instant(partition.from)} and ts < ${instant(partition.to)}`
  return `
    insert into rollup_dirty (tenant_id, entity_id, hour)
    with recursive entity as (
      (select entity_id, tenant_id from telemetry_frames where ${within} order by entity_id limit 1)
      union all
      select next.entity_id, next.tenant_id from entity cross join lateral (
        select entity_id, tenant_id from telemetry_frames
        where ${within} and telemetry_frames.entity_id > entity.entity_id order by entity_id limit 1
      ) next
    )
    select tenant_id, entity_id, hour
    from entity cross join generate_series(${instant(from)}, ${instant(to - hour)}, interval '1 hour') hour
    where exists (
      select from telemetry_frames frame where frame.entity_id = entity.entity_id and frame.ts < hour + interval '1 hour'
        and frame.ts >= case
          when date_bin('1 day', hour, timestamptz 'epoch') + interval '23 hours' = hour then hour - interval '23 hours'
          else hour end
    )`
}

interface EntityHour {
  readonly entity_id: string
  readonly hour: string
}
interface Mark extends EntityHour {
  readonly tenant_id: string
}
const beginning: EntityHour = { entity_id: "00000000-0000-0000-0000-000000000000", hour: "-infinity" }

/** Computes the next marked hours, in the order of entities and hours. Answers which; none: there are no more. */
const refreshSome = (
  sql: SqlClient.SqlClient,
  after: EntityHour,
  before: string
): Effect.Effect<ReadonlyArray<Mark>, SqlError> =>
  sql.withTransaction(
    Effect.gen(function* () {
      yield* sql.unsafe(takeTurns)
      // Marks first, frames in a later statement and so in a later snapshot: the frames of every mark that goes are seen.
      const marks = yield* sql.unsafe<Mark>(
        `with chosen as (
          select distinct entity_id, hour from (
            select entity_id, hour from rollup_dirty
            where (entity_id, hour) > ($1::text::uuid, $2::text::timestamptz) and hour < $3::text::timestamptz
            order by entity_id, hour limit 10000
          ) marked order by entity_id, hour limit ${hoursAtOnce}
        ), gone as (
          delete from rollup_dirty mark using chosen where mark.entity_id = chosen.entity_id and mark.hour = chosen.hour
          returning mark.tenant_id, mark.entity_id, mark.hour
        )
        select distinct on (gone.entity_id, gone.hour) tenant_id::text, entity_id::text, hour::text
        from gone order by gone.entity_id, gone.hour`,
        [after.entity_id, after.hour, before]
      )
      if (marks.length === 0) return marks
      const columns = [
        marks.map((mark) => mark.tenant_id),
        marks.map((mark) => mark.entity_id),
        marks.map((mark) => mark.hour)
      ]
      yield* sql.unsafe(hourStatement, columns)
      yield* sql.unsafe(dayStatement, columns)
      return marks
    })
  )

const given = `
  given as (
    select tenant_id::uuid, entity_id::uuid, hour::timestamptz
    from unnest($1::text[], $2::text[], $3::text[]) as given (tenant_id, entity_id, hour)
  ), progress as (
    select rolled_before, kept_from from rollup_progress
  )`
const rollupColumns = `tenant_id, entity_id, resolution, bucket, metric_key, count, numbers, sum, min, max, first, last`
const replace = `
  on conflict (entity_id, resolution, bucket, metric_key) do update set tenant_id = excluded.tenant_id,
    count = excluded.count, numbers = excluded.numbers, sum = excluded.sum, min = excluded.min, max = excluded.max,
    first = excluded.first, last = excluded.last`

const hourStatement = `
  with ${given}, due as (
    select given.* from given, progress where hour >= kept_from
  ), computed as (
    select due.tenant_id, due.entity_id, '1h' as resolution, due.hour as bucket, partial.*
    from due cross join lateral (${hourPartial}) partial
  ), emptied as (
    delete from telemetry_rollups old using due
    where old.entity_id = due.entity_id and old.resolution = '1h' and old.bucket = due.hour
      and not exists (
        select from computed
        where computed.entity_id = old.entity_id and computed.bucket = old.bucket and computed.metric_key = old.metric_key
      )
  )
  insert into telemetry_rollups (${rollupColumns}) select ${rollupColumns} from computed ${replace}`

/** Days that have not ended are put together by whoever reads. */
const dayStatement = `
  with ${given}, due as (
    select distinct given.tenant_id, given.entity_id, day
    from given, progress, date_bin('1 day', hour, timestamptz 'epoch') day
    where hour >= kept_from and day + interval '1 day' <= rolled_before
  ), computed as (
    select due.tenant_id, due.entity_id, '1d' as resolution, due.day as bucket, partial.*
    from due cross join lateral (${dayPartial}) partial
  ), emptied as (
    delete from telemetry_rollups old using due
    where old.entity_id = due.entity_id and old.resolution = '1d' and old.bucket = due.day
      and not exists (
        select from computed
        where computed.entity_id = old.entity_id and computed.bucket = old.bucket and computed.metric_key = old.metric_key
      )
  )
  insert into telemetry_rollups (${rollupColumns}) select ${rollupColumns} from computed ${replace}`

/** Every marked hour once, so that this ends also while marks go on being left. */
const refreshBefore = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, before: string) {
  let hours = 0
  let last: EntityHour | undefined = beginning
  while (last !== undefined) {
    const marks: ReadonlyArray<Mark> = yield* refreshSome(sql, last, before)
    hours += marks.length
    last = marks.at(-1)
  }
  return hours
})

/** Computes what is marked. Answers how many entities' hours that were. */
export const refresh = Effect.fn("Rollups.refresh")((sql: SqlClient.SqlClient) => refreshBefore(sql, "infinity"))

/**
 * Before retention cuts the frames before `cut` (epoch milliseconds, the beginning of a day): completes their rollups and
 * closes them. What arrives for that time in between these two, or later, takes no part in them.
 */
export const freezeBefore = Effect.fn("Rollups.freezeBefore")(function* (
  sql: SqlClient.SqlClient,
  cut: number,
  now: number
) {
  const [progress] = yield* sql.unsafe<{ readonly isFrozen: boolean }>(
    `select kept_from >= ${instant(cut)} as "isFrozen" from rollup_progress`
  )
  if (progress?.isFrozen === true) return
  yield* advance(sql, Math.max(now, cut + settle))
  yield* refreshBefore(sql, new Date(cut).toISOString())
  yield* sql.unsafe(`update rollup_progress set kept_from = greatest(kept_from, ${instant(cut)})`)
})
