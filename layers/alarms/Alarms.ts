/**
 * The alarms of an organization as people see them.
 * @module
 */
import type { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { AlarmDetail, AlarmItem, AlarmQuery, Comment } from "@argusiq/domain/http/alarms.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { Context, Effect, Layer } from "effect"
import type { Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import type { Actor } from "../registry/Devices.ts"
import { type Page, readPage } from "../registry/paging.ts"
import {
  type BadCursor,
  NotRegistered,
  orRefusal,
  orUnavailable,
  refuseStale,
  type StaleVersion,
  type WriteRefusal
} from "../registry/refusals.ts"
import { pushMark } from "./MarkFeed.ts"
import { filtersOf, makeComments } from "./marks.ts"

interface Row {
  readonly id: string
  readonly tenant_id: AlarmItem["organizationId"]
  readonly rule_id: AlarmItem["ruleId"]
  readonly rule_name: string
  readonly rule_version: number
  readonly entity_type: AlarmItem["entityType"]
  readonly entity_id: string
  readonly entity_name: string | null
  readonly state: AlarmItem["state"]
  readonly severity: AlarmItem["severity"]
  readonly priority: number
  readonly started: bigint
  readonly ended: bigint | null
  readonly end_reason: AlarmItem["end"]
  readonly settled: boolean
  readonly message: string
  readonly value: AlarmItem["value"]
  readonly threshold: number | null
  readonly cause_reading_id: string | null
  readonly acknowledged_at: Date | null
  readonly acknowledged_by: string | null
  readonly comment_count: number
  readonly version: number
  readonly sorted: string
}

const toItem = (row: Row): AlarmItem => ({
  id: row.id,
  organizationId: row.tenant_id,
  ruleId: row.rule_id,
  ruleName: row.rule_name,
  ruleVersion: row.rule_version,
  entityType: row.entity_type,
  entityId: row.entity_id,
  entityName: row.entity_name,
  state: row.state,
  severity: row.severity,
  priority: row.priority,
  startedAt: isoFromMicros(Number(row.started)),
  endedAt: row.ended === null ? null : isoFromMicros(Number(row.ended)),
  end: row.end_reason,
  settled: row.settled,
  message: row.message,
  value: row.value,
  threshold: row.threshold,
  causeReadingId: row.cause_reading_id,
  acknowledgedAt: row.acknowledged_at?.toISOString() ?? null,
  acknowledgedBy: row.acknowledged_by,
  commentCount: row.comment_count,
  version: row.version
})

export class Alarms extends Context.Service<
  Alarms,
  {
    list(actor: Actor, query: AlarmQuery): Effect.Effect<Page<AlarmItem>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<AlarmDetail, NotRegistered | DatabaseUnavailable>
    /** Whoever is first stays; `basedOn` is the version that must still be the present one. */
    acknowledge(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<AlarmItem, NotRegistered | StaleVersion | DatabaseUnavailable>
    comment(actor: Actor, id: string, body: string): Effect.Effect<Comment, NotRegistered | WriteRefusal>
  }
>()("argusiq/layers/alarms/Alarms") {
  static readonly layer = Layer.effect(
    Alarms,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)
      const comments = makeComments(sql, "alarm")
      const micros = (column: string) => sql.literal(`(extract(epoch from item.${column}) * 1000000)::bigint`)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<Row>`
        select item.*, rule.name as rule_name, coalesce(device.name, asset.name) as entity_name,
          ${micros("started_at")} as started, ${micros("ended_at")} as ended, ${sorted} as sorted
        from alarms item
        join threshold_rules rule on rule.id = item.rule_id
        left join devices device on item.entity_type = 'device' and device.id = item.entity_id
        left join assets asset on item.entity_type = 'asset' and asset.id = item.entity_id
        where ${where} ${rest}`

      const row = Effect.fnUntraced(function* (id: string, rest = "") {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(rest), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "alarm" })
        return row
      })

      const list = Effect.fn("Alarms.list")(function* (actor: Actor, query: AlarmQuery) {
        const { acknowledged, state } = query
        const filters = filtersOf(sql, query, "started_at")
        if (state === undefined) filters.push(sql.literal("item.state <> 'retracted'"))
        else if (state !== "all") filters.push(sql`item.state = ${state}`)
        if (acknowledged !== undefined) {
          filters.push(sql.literal(`item.acknowledged_at is ${acknowledged === "true" ? "not " : ""}null`))
        }
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, { ...query, sort: query.sort ?? "-startedAt" }, filters, found, toItem)
      })

      const get = Effect.fn("Alarms.get")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          const item = toItem(yield* row(id))
          return { ...item, comments: yield* comments.of(id) }
        }).pipe(scoped(actor), orUnavailable)
      )

      const acknowledge = Effect.fn("Alarms.acknowledge")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* refuseStale(basedOn, (yield* row(id, "for update of item")).version)
          yield* sql`update alarms set acknowledged_at = clock_timestamp(), acknowledged_by = ${actor.userId ?? null}::uuid,
            updated_at = clock_timestamp(), version = version + 1
            where id = ${id}::uuid and acknowledged_at is null`
          yield* pushMark(sql, { what: "alarm", id, tenantId: actor.tenantId })
          return toItem(yield* row(id))
        }).pipe(scoped(actor), orUnavailable)
      )

      const comment = Effect.fn("Alarms.comment")((actor: Actor, id: string, body: string) =>
        comments.add(actor, id, body).pipe(scoped(actor), orRefusal)
      )

      return Alarms.of({ list, get, acknowledge, comment })
    })
  )
}
