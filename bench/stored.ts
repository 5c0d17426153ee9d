/**
 * What PostgreSQL has of the messages: how many, how old each was when its row was committed, how many bytes they take. The
 * age of a row is its commit time minus its own time, which is the moment of publishing.
 * @module
 */
import { type Superuser } from "../test/support/superuser.ts"
import { type Percentiles } from "./percentiles.ts"

const first = <A>(rows: ReadonlyArray<A>): A => {
  const [row] = rows
  if (row === undefined) throw new Error("no answer from PostgreSQL")
  return row
}

/** Messages stored so far, counted where it costs little: once per sending device. */
export const messagesStored = async (sql: Superuser): Promise<number> =>
  first(
    await sql.query<{ messages: number }>(
      `select coalesce(sum(messages_total), 0)::float8 as messages
       from device_status join devices on devices.id = device_id where parent_device_id is null`
    )
  ).messages

export interface Stored {
  readonly frames: number
  /** Epoch microseconds; 0 when there is none. */
  readonly lastCommitMicros: number
  /** Publish to stored. */
  readonly millis: Percentiles & { readonly max: number }
}

const committed = "extract(epoch from pg_xact_commit_timestamp(xmin))::float8"
const ages = `count(*)::float8 as frames, coalesce(max(committed) * 1e6, 0) as last,
  coalesce(max(committed - published) * 1e3, 0) as max,
  coalesce(percentile_cont(array[0.5, 0.95, 0.99]) within group (order by committed - published), '{0,0,0}') as shares`

/** Of the messages published in a half-open span of time, epoch microseconds, in `table` or a part of it. */
export const storedBetween = async (
  sql: Superuser,
  fromMicros: number,
  toMicros: number,
  table = "telemetry_frames"
): Promise<Stored> => {
  const { frames, last, max, shares } = first(
    await sql.query<{ frames: number; last: number; max: number; shares: ReadonlyArray<number> }>(
      `with stored as (
         select ${committed} as committed, extract(epoch from ts)::float8 as published from ${table}
         where ts >= to_timestamp(${fromMicros}::float8 / 1e6) and ts < to_timestamp(${toMicros}::float8 / 1e6))
       select ${ages} from stored`
    )
  )
  const [p50 = 0, p95 = 0, p99 = 0] = shares.map((seconds) => seconds * 1e3)
  return { frames, lastCommitMicros: last, millis: { p50, p95, p99, max } }
}

/** The 99th percentile by whole seconds after `fromMicros` of publishing. */
export const p99BySecond = (sql: Superuser, fromMicros: number, toMicros: number) =>
  sql.query<{ second: number; p99: number }>(
    `with stored as (
       select ${committed} as committed, extract(epoch from ts)::float8 as published from telemetry_frames
       where ts >= to_timestamp(${fromMicros}::float8 / 1e6) and ts < to_timestamp(${toMicros}::float8 / 1e6))
     select floor(published - ${fromMicros}::float8 / 1e6)::int as second,
       percentile_cont(0.99) within group (order by committed - published) * 1e3 as p99
     from stored group by 1 order by 1`
  )

/** Rows of a table and its bytes, indexes included, over all its partitions. */
export const sizeOf = async (sql: Superuser, table: "telemetry_frames" | "telemetry_raw") =>
  first(
    await sql.query<{ rows: number; bytes: number }>(
      `select (select count(*)::float8 from ${table}) as rows, sum(pg_total_relation_size(inhrelid))::float8 as bytes
       from pg_inherits where inhparent = '${table}'::regclass`
    )
  )
