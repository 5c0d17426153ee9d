/**
 * The stored readings of some devices or assets in the order of time, as folds see them: those that take part. They are read in
 * slices of time that hold about as many readings each, whole instants always.
 * @module
 */
import type { SeenReading } from "@argusiq/domain/asset/device-view.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import type { MetricValue, Quality } from "@argusiq/domain/readings.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { bigintegers, uuids } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

/** Readings in memory at a time, but for those of one instant. */
const MOST = 10_000
const WANTED = 4_000
const FIRST_SPAN = 600_000_000
const LONGEST_SPAN = 31 * 86_400_000_000

interface Row {
  readonly reading: string
  readonly entity: string
  readonly message: string | null
  readonly ts: number
  readonly received: number
  readonly metrics: Readonly<Record<string, MetricValue>>
  readonly quality: Readonly<Record<string, Quality>> | null
}

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::float8`
const at = (parameter: string) => `timestamptz 'epoch' + (${parameter}::bigint[])[1] * interval '1 microsecond'`
const columns = `frame.reading_id::text as reading, frame.entity_id::text as entity, frame.message_id::text as message,
  ${micros("frame.ts")} as ts, ${micros("frame.received_at")} as received, frame.metrics, frame.quality`
const takesPart = `not frame.late and frame.ts <= frame.received_at + interval '60 seconds'`
const instant = (value: Instant) => bigintegers([BigInt(Math.round(value))])

const sliceStatement = `
select ${columns} from telemetry_frames frame
where frame.entity_id = any($1::uuid[]) and frame.ts > ${at("$2")} and frame.ts <= ${at("$3")} and ${takesPart}
order by frame.ts, frame.reading_id limit ${MOST + 1}`

const nextStatement = `
select min(${micros("next.ts")}) as ts from unnest($1::uuid[]) as entity (id)
cross join lateral (
  select frame.ts from telemetry_frames frame
  where frame.entity_id = entity.id and frame.ts > ${at("$2")} and frame.ts <= ${at("$3")} and ${takesPart}
  order by frame.ts limit 1) next`

const newestStatement = `
select max(${micros("newest.ts")}) as ts from unnest($1::uuid[]) as entity (id)
cross join lateral (
  select frame.ts from telemetry_frames frame where frame.entity_id = entity.id and ${takesPart}
  order by frame.ts desc limit 1) newest`

/** How far back the value of a metric that is seldom reported is looked for. */
export const HELD_DAYS = 31

const heldStatement = `
select distinct on (frame.entity_id, frame.ts, frame.reading_id) ${columns}
from entity_latest latest cross join lateral jsonb_object_keys(latest.metrics) key
cross join lateral (
  select * from telemetry_frames frame
  where frame.entity_id = latest.entity_id and frame.ts <= ${at("$2")}
    and frame.ts > ${at("$2")} - interval '${HELD_DAYS} days' and jsonb_exists(frame.metrics, key) and ${takesPart}
  order by frame.ts desc, frame.reading_id desc limit 1) frame
where latest.entity_id = any($1::uuid[])
order by frame.ts, frame.reading_id, frame.entity_id`

const toReading = ({ entity, message, metrics, quality, reading, received, ts }: Row): SeenReading => ({
  readingId: reading,
  deviceId: entity,
  messageId: message ?? reading,
  ts,
  receivedAt: received,
  metrics,
  ...(quality !== null && { quality })
})

/** The newest timestamp; undefined: there are no readings. */
export const newestOf = (sql: Sql, entityIds: ReadonlyArray<string>) =>
  Effect.map(sql.unsafe<{ ts: number | null }>(newestStatement, [uuids(entityIds)]), ([row]) => row?.ts ?? undefined)

/** The readings in which the values lie that hold at an instant. */
export const heldAt = (sql: Sql, entityIds: ReadonlyArray<string>, instantOf: Instant) =>
  Effect.map(sql.unsafe<Row>(heldStatement, [uuids(entityIds), instant(instantOf)]), (rows) => rows.map(toReading))

/** Goes through the readings after an instant, once. `deviceId` of a reading is the entity's id. */
export class StoredFrames {
  readonly #sql: Sql
  readonly #entityIds: ReadonlyArray<string>
  #after: Instant
  #span = FIRST_SPAN

  constructor(sql: Sql, entityIds: ReadonlyArray<string>, after: Instant) {
    this.#sql = sql
    this.#entityIds = entityIds
    this.#after = after
  }

  /** A slice of those up to and with `until`; undefined: there are no more up to then. */
  readonly next = (until: Instant) =>
    Effect.gen({ self: this }, function* () {
      const ids = uuids(this.#entityIds)
      while (this.#after < until && this.#entityIds.length > 0) {
        const end = Math.min(until, this.#after + this.#span)
        const rows = yield* this.#sql.unsafe<Row>(sliceStatement, [ids, instant(this.#after), instant(end)])
        if (rows.length > MOST && end > this.#after + 1) {
          const ofLast = rows.at(-1)!.ts
          const whole = rows.filter(({ ts }) => ts < ofLast)
          this.#span = Math.max(1, Math.floor(this.#span / 2))
          if (whole.length === 0) {
            this.#span = Math.max(1, ofLast - this.#after)
            return yield* this.#instant(ofLast)
          }
          this.#after = whole.at(-1)!.ts
          return whole.map(toReading)
        }
        if (rows.length > MOST) return yield* this.#instant(end)
        if (rows.length < WANTED) this.#span = Math.min(LONGEST_SPAN, this.#span * 2)
        this.#after = end
        if (rows.length > 0) return rows.map(toReading)
        const [next] = yield* this.#sql.unsafe<{ ts: number | null }>(nextStatement, [
          ids,
          instant(end),
          instant(until)
        ])
        this.#after = next?.ts === undefined || next.ts === null ? until : next.ts - 1
      }
      return undefined
    })

  /** More readings of one instant than are read at a time otherwise. */
  readonly #instant = (ts: Instant) =>
    Effect.gen({ self: this }, function* () {
      const unlimited = sliceStatement.slice(0, sliceStatement.lastIndexOf(" limit"))
      const rows = yield* this.#sql.unsafe<Row>(unlimited, [uuids(this.#entityIds), instant(this.#after), instant(ts)])
      this.#after = ts
      return rows.map(toReading)
    })
}
