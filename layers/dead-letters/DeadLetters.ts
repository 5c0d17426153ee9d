/**
 * The dead letters of an organization as people see and retry them. Those that belong to nobody are shown to whoever
 * operates the platform.
 * @module
 */
import { HORIZON_MICROS } from "@argusiq/domain/dead-letter-retry.ts"
import { type BusUnavailable, type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type DeadLetterDetail,
  type DeadLetterFilter,
  type DeadLetterItem,
  type DeadLetterQuery,
  type RetryAnswer,
  type RetryRequest
} from "@argusiq/domain/http/dead-letters.ts"
import { type Caller } from "@argusiq/domain/http/security.ts"
import { deadLetterTopic, topicTable } from "@argusiq/domain/topics.ts"
import { Clock, Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { Bus } from "../bus/Bus.ts"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Page, readPage } from "../registry/paging.ts"
import { type BadCursor, BadReference, NotRegistered, orUnavailable } from "../registry/refusals.ts"
import { instants, integers, texts, uuids } from "../telemetry/columns.ts"
import { type DeadLetterRow, storedStates, toDetail, toItem } from "./deadLetterRow.ts"
import { readBack } from "./readBack.ts"

type Actor = Pick<Caller, "isPlatformAdmin" | "tenantId" | "userId">

export class DeadLetters extends Context.Service<
  DeadLetters,
  {
    list(actor: Actor, query: DeadLetterQuery): Effect.Effect<Page<DeadLetterItem>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<DeadLetterDetail, NotRegistered | DatabaseUnavailable | BusUnavailable>
    /** Puts them in line for the jobs service; each is put there once, whoever asks at the same time. */
    retry(actor: Actor, request: RetryRequest): Effect.Effect<RetryAnswer, BadReference | DatabaseUnavailable>
  }
>()("argusiq/layers/dead-letters/DeadLetters") {
  static readonly layer = Layer.effect(
    DeadLetters,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const bus = yield* Bus
      const operating = sql`select set_config('app.operator', 'on', true)`
      const scoped =
        (actor: Actor) =>
        <A, E>(effect: Effect.Effect<A, E>) =>
          inTenantOf(sql)(actor)(actor.isPlatformAdmin ? Effect.andThen(operating, effect) : effect)

      const micros = (column: string) => sql.literal(`(extract(epoch from item.${column}) * 1000000)::bigint`)
      const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<DeadLetterRow>`
        select item.id, item.topic, item.partition, item."offset", item."group", item.stage, item.reason, item.message,
          item.path, item.entry, item.device_id, item.message_id, item.headers, item.size, item.state, item.retries,
          ${micros("received_at")} as received, ${micros("failed_at")} as failed, ${micros("retried_at")} as retried,
          ${micros("resolved_at")} as resolved, ${sorted} as sorted
        from dead_letters item where ${where} ${rest}`

      const matching = (filter: DeadLetterFilter): Array<Fragment> => {
        const { deviceId, endTime, group, reason, startTime, topic } = filter
        return [
          ...(topic === undefined ? [] : [sql`item.topic = ${namedTopic(topic)}`]),
          ...(group === undefined ? [] : [sql`item."group" = ${group}`]),
          ...(reason === undefined ? [] : [sql`item.reason = ${reason}`]),
          ...(deviceId === undefined ? [] : [sql`item.device_id = ${deviceId}::uuid`]),
          ...(startTime === undefined ? [] : [sql`item.received_at >= (${instants([startTime])})[1]`]),
          ...(endTime === undefined ? [] : [sql`item.received_at < (${instants([endTime])})[1]`])
        ]
      }
      const inState = (state: NonNullable<DeadLetterQuery["state"]> | undefined): ReadonlyArray<Fragment> => {
        if (state === "all") return []
        if (state === undefined) return [sql.literal("item.state <> 'resolved'")]
        return [sql`item.state = any(${texts(storedStates(state))})`]
      }

      const list = Effect.fn("DeadLetters.list")(function* (actor: Actor, query: DeadLetterQuery) {
        const { messageId, state } = query
        const filters = [
          ...matching(query),
          ...(messageId === undefined ? [] : [sql`item.message_id = ${messageId}::uuid`]),
          ...inState(state)
        ]
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, { ...query, sort: query.sort ?? "-receivedAt" }, filters, found, toItem)
      })

      const get = Effect.fn("DeadLetters.get")(function* (actor: Actor, id: string) {
        const one = select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        const [row] = yield* one.pipe(scoped(actor), orUnavailable)
        if (row === undefined) return yield* new NotRegistered({ what: "dead letter" })
        return toDetail(row, (yield* readBack(bus, id, row))?.value)
      })

      const retry = Effect.fn("DeadLetters.retry")(function* (actor: Actor, request: RetryRequest) {
        const now = (yield* Clock.currentTimeMillis) * 1_000
        const { all, configAt, entry, filter, ids } = request
        if (entry !== undefined && ids?.length !== 1) {
          return yield* new BadReference({
            path: "payload.entry",
            message: "needs exactly one id: it is of one message"
          })
        }
        const chosen = sql.and([
          sql.literal("true"),
          ...(ids === undefined ? [] : [sql`item.id = any(${uuids(ids)})`]),
          ...(filter === undefined ? [] : matching(filter)),
          ...(all === undefined ? [] : [sql.literal("item.state <> 'resolved'")])
        ])
        const applied = configAt === "now" ? now : configAt
        const queue = sql<{ retried: number; late: number; unresolved: number; resolved: number }>`
          with open as (
            select item.id from dead_letters item where item.state = 'open' and ${chosen} order by item.id for update
          ), queued as (
            update dead_letters item set state = 'queued', retries = item.retries + 1, retried_at = clock_timestamp(),
              retried_by = ${actor.userId ?? null}::uuid,
              retry_entry = coalesce(item.entry, (${integers([entry ?? null])})[1]),
              config_at = (${instants(applied === undefined ? [] : [applied])})[1]
            from open where item.id = open.id
            returning item.received_at
          )
          select (select count(*)::int from queued) as retried,
            (select count(*)::int from queued where received_at < (${instants([now - HORIZON_MICROS])})[1]) as late,
            count(*) filter (where item.state <> 'resolved')::int as unresolved,
            count(*) filter (where item.state = 'resolved')::int as resolved
          from dead_letters item where ${chosen}`
        const otherEntry = Effect.gen(function* () {
          if (entry === undefined) return
          const [row] = yield* sql<{ entry: number | null }>`select item.entry from dead_letters item where ${chosen}`
          if (row === undefined || row.entry === null || row.entry === entry) return
          return yield* new BadReference({ path: "payload.entry", message: `is ${row.entry} in this dead letter` })
        })
        const [counted] = yield* Effect.andThen(otherEntry, queue).pipe(scoped(actor), orUnavailable)
        const { late = 0, resolved = 0, retried = 0, unresolved = 0 } = counted ?? {}
        return {
          retried,
          alreadyRetrying: unresolved - retried,
          alreadyResolved: resolved,
          repairsHistory: late,
          message: inWords(retried, late)
        }
      })

      return DeadLetters.of({ list, get, retry })
    })
  )
}

/** By either name: of what was read, or of its dead letters. */
const namedTopic = (topic: string): string => (topicTable.has(deadLetterTopic(topic)) ? deadLetterTopic(topic) : topic)

const inWords = (retried: number, late: number): string => {
  if (retried === 0) return "Nothing to retry."
  const history = `older than ${HORIZON_MICROS / 1e6} seconds, so what comes of ${late === 1 ? "it" : "them"} repairs the history and raises no alarms.`
  return `${retried} on the way again.${late === 0 ? "" : ` ${late} ${late === 1 ? "is" : "are"} ${history}`}`
}
