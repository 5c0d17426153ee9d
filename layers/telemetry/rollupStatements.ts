/**
 * What one entity's values of an hour, or of a day, come to: SQL that yields metric_key, count, numbers, sum, min, max,
 * first and last for each metric.
 * @module
 */

/** A metric's value as a number; null where it is none. */
export const numberOf = (value: string) => `case jsonb_typeof(${value})
  when 'number' then ${value}::float8 when 'boolean' then ${value}::boolean::int::float8 end`

/** Larger numbers cannot be added without fear of leaving what a double can hold: their sum is not told. */
const largestAddend = "1e290"
export const addendOf = (number: string) => `case when abs(${number}) <= ${largestAddend} then ${number} end`
/** Of the columns `number` and `addend`. */
export const sumOfAddends = "case when count(addend) = count(number) then sum(addend) end"

/** Sum of partial sums: untold as soon as one of them is. */
export const sumOfSums = "case when bool_and(numbers = 0 or sum is not null) then sum(sum) end"

const valueAt = (end: "first" | "last") => `(
  select frame.metrics -> metric_key from telemetry_frames frame
  where frame.entity_id = due.entity_id and frame.ts = ${end}_ts and jsonb_exists(frame.metrics, metric_key)
    and frame.quality ->> metric_key is distinct from 'bad'
  order by frame.reading_id ${end === "first" ? "" : "desc"} limit 1) as ${end}`

/**
 * From the frames of `due.entity_id` in the hour `due.hour`. The first and the last value are looked up by their instants:
 * that spares the sorting of all of them.
 */
export const hourPartial = `
  select metric_key, count, numbers, sum, min, max, ${valueAt("first")}, ${valueAt("last")}
  from (
    select metric_key, count(*)::int as count, count(number)::int as numbers, ${sumOfAddends} as sum, min(number) as min,
      max(number) as max, min(ts) as first_ts, max(ts) as last_ts
    from (
      select ts, metric_key, number, ${addendOf("number")} as addend
      from (
        select frame.ts, metric.key as metric_key, ${numberOf("metric.value")} as number
        from telemetry_frames frame cross join lateral jsonb_each(frame.metrics) metric
        where frame.entity_id = due.entity_id and frame.ts >= due.hour and frame.ts < due.hour + interval '1 hour'
          and (frame.quality is null or frame.quality ->> metric.key is distinct from 'bad')
        offset 0
      ) numbers
      offset 0
    ) measured
    group by metric_key
  ) metric`

/** From the rollups of the 24 hours of `due.day`. */
export const dayPartial = `
  select metric_key, sum(count)::int as count, sum(numbers)::int as numbers, ${sumOfSums} as sum, min(min) as min,
    max(max) as max, (array_agg(first order by bucket))[1] as first, (array_agg(last order by bucket desc))[1] as last
  from telemetry_rollups rollup
  where rollup.entity_id = due.entity_id and rollup.resolution = '1h'
    and rollup.bucket >= due.day and rollup.bucket < due.day + interval '1 day'
  group by metric_key`
