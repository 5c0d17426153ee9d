/**
 * What waits to be delivered outside of the platform, and what became of it. A mark counts only for the attempt that it is
 * of: whoever has lost the queue to another worker marks nothing.
 * @module
 */
import { type Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { uuids } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

interface Due {
  readonly id: string
  readonly tenantId: string
  /** Made so far. */
  readonly attempts: number
  readonly firstAttemptAt: Instant | null
}
export interface DueLetter extends Due {
  /** E-mail addresses that have neither got it nor refused it. */
  readonly to: ReadonlyArray<string>
  /** How many have got it. */
  readonly got: number
  readonly title: string
  readonly body: string
}
export interface DueWebhook extends Due {
  readonly eventType: string
  readonly url: string
  readonly body: string
}

interface DueRow {
  readonly id: string
  readonly tenant_id: string
  readonly attempts: number
  readonly first_attempt_at: bigint | null
}
const dueOf = (row: DueRow): Due => ({
  id: row.id,
  tenantId: row.tenant_id,
  attempts: row.attempts,
  firstAttemptAt: row.first_attempt_at === null ? null : Number(row.first_attempt_at)
})

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`

/** The oldest ones first, and so many of a tenant at most: one with many delays no other. */
const turns = (sql: Sql, table: string, without: ReadonlyArray<string>, perTenant: number) => sql`
  select id from (
    select id, next_at, row_number() over (partition by tenant_id order by next_at, id) as turn from ${sql.literal(table)}
    where state = 'pending' and next_at <= clock_timestamp() and id <> all(${uuids(without)})) waiting
  where turn <= ${perTenant} order by next_at limit 100`

/** `without`: those on their way. Users are asked for their addresses when it is sent, as members of the organization. */
export const dueLetters = Effect.fnUntraced(function* (sql: Sql, without: ReadonlyArray<string>, perTenant: number) {
  const rows = yield* sql<DueRow & { to: ReadonlyArray<string>; got: number; title: string; body: string }>`
    select item.id, item.tenant_id, item.attempts, ${sql.literal(micros("item.first_attempt_at"))} as first_attempt_at,
      item.title, item.body, cardinality(item.delivered_to) as got,
      array(
        select recipient from unnest(item.recipients) recipient where recipient like '%@%'
        union
        select lower(person.email) from users person join memberships member on member.user_id = person.id
        where member.tenant_id = item.tenant_id and person.status = 'active' and member.status = 'active'
          and (person.id::text = any(item.recipients) or member.role = any(item.recipients))
        except select unnest(item.delivered_to || item.refused)
        order by 1) as "to"
    from notifications item where item.id in (${turns(sql, "notifications", without, perTenant)})
    order by item.next_at`
  return rows.map((row): DueLetter => ({ ...dueOf(row), to: row.to, got: row.got, title: row.title, body: row.body }))
})

/** `without`: those on their way. */
export const dueWebhooks = Effect.fnUntraced(function* (sql: Sql, without: ReadonlyArray<string>, perTenant: number) {
  const rows = yield* sql<DueRow & { event_type: string; url: string; body: string }>`
    select item.id, item.tenant_id, item.attempts, ${sql.literal(micros("item.first_attempt_at"))} as first_attempt_at,
      item.event_type, item.url, item.body
    from webhook_deliveries item where item.id in (${turns(sql, "webhook_deliveries", without, perTenant)})
    order by item.next_at`
  return rows.map((row): DueWebhook => ({ ...dueOf(row), eventType: row.event_type, url: row.url, body: row.body }))
})

export interface Attempt {
  readonly id: string
  /** Before this one. */
  readonly attempts: number
  readonly startedAt: Instant
  /** `Again`: at `nextAt`. */
  readonly result:
    | { readonly _tag: "Delivered" | "Failed" | "Off"; readonly error?: string }
    | { readonly _tag: "Again"; readonly nextAt: Instant; readonly error: string }
}

const states = { Delivered: "delivered", Failed: "failed", Off: "off", Again: "pending" } as const

/** A receiver's words may hold what no text column does. */
const storable = (words: string | undefined): string | null =>
  words === undefined ? null : words.slice(0, 2_000).replaceAll("\0", "").toWellFormed()

const marks = (sql: Sql, { result, startedAt }: Attempt) => {
  const at = (micros: Instant) => sql`timestamptz 'epoch' + ${String(micros)}::bigint * interval '1 microsecond'`
  return sql`state = ${states[result._tag]}, attempts = attempts + 1,
    first_attempt_at = coalesce(first_attempt_at, ${at(startedAt)}), error = ${storable(result.error)},
    next_at = ${result._tag === "Again" ? at(result.nextAt) : sql.literal("next_at")},
    ended_at = ${sql.literal(result._tag === "Again" ? "null" : "now()")}`
}

const isOfAttempt = (sql: Sql, { attempts, id }: Attempt) =>
  sql`id = ${id}::uuid and state = 'pending' and attempts = ${attempts}`

export const markLetter = (sql: Sql, attempt: Attempt) =>
  sql`update notifications set ${marks(sql, attempt)} where ${isOfAttempt(sql, attempt)}`.pipe(Effect.asVoid)

/** That address has it, or will never take it: another attempt leaves it out. */
export const markAddress = (sql: Sql, id: string, address: string, column: "delivered_to" | "refused") =>
  sql`update notifications set ${sql.literal(column)} = ${sql.literal(column)} || ${address}::text
    where id = ${id}::uuid`.pipe(Effect.asVoid)

/** `status`: of HTTP, where there was an answer. */
export const markWebhook = (sql: Sql, attempt: Attempt, status: number | undefined) =>
  sql`update webhook_deliveries set ${marks(sql, attempt)}, last_status = ${status ?? null}
    where ${isOfAttempt(sql, attempt)}`.pipe(Effect.asVoid)
