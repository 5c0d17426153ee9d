/**
 * The audit log as people read it. It is written by the database itself, and by {@link SecurityLog}.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type AuditEntry, type AuditQuery } from "@argusiq/domain/http/audit.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { type Caller } from "@argusiq/domain/http/security.ts"
import { isUuid } from "@argusiq/domain/uuid.ts"
import { Context, Effect, Layer, Option, Stream } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Page, readPage } from "../registry/paging.ts"
import { type BadCursor, orUnavailable } from "../registry/refusals.ts"
import { instants } from "../telemetry/columns.ts"
import { textCell } from "../telemetry/historyCsv.ts"

type Reader = Pick<Caller, "isPlatformAdmin" | "tenantId">

interface AuditRow {
  readonly id: string
  readonly at: bigint
  readonly tenant_id: AuditEntry["organizationId"]
  readonly actor_kind: AuditEntry["actor"]["kind"]
  readonly actor_id: string | null
  readonly action: string
  readonly entity_type: string
  readonly entity_id: string | null
  readonly before: AuditEntry["before"]
  readonly after: AuditEntry["after"]
  readonly request_id: string | null
  readonly address: string | null
  readonly count: number
  readonly sorted: string
}

const toEntry = (row: AuditRow): AuditEntry => ({
  id: row.id,
  occurredAt: isoFromMicros(Number(row.at)),
  organizationId: row.tenant_id,
  actor: { kind: row.actor_kind, id: row.actor_id },
  action: row.action,
  entityType: row.entity_type,
  entityId: row.entity_id,
  before: row.before,
  after: row.after,
  requestId: row.request_id,
  address: row.address,
  count: row.count
})

const csvHeader =
  "occurredAt,organizationId,actorKind,actorId,action,entityType,entityId,before,after,requestId,address,count\r\n"

const cell = (value: string | object | null): string =>
  value === null ? "" : textCell(typeof value === "string" ? value : JSON.stringify(value))

const lineOf = (entry: AuditEntry): string =>
  [
    entry.occurredAt,
    cell(entry.organizationId),
    entry.actor.kind,
    cell(entry.actor.id),
    cell(entry.action),
    cell(entry.entityType),
    cell(entry.entityId),
    cell(entry.before),
    cell(entry.after),
    cell(entry.requestId),
    cell(entry.address),
    String(entry.count)
  ].join(",") + "\r\n"

const encoder = new TextEncoder()
const CSV_PAGE = 500

export class AuditLog extends Context.Service<
  AuditLog,
  {
    list(reader: Reader, query: AuditQuery): Effect.Effect<Page<AuditEntry>, BadCursor | DatabaseUnavailable>
    /** All that is found, or as many as the query's limit says, as CSV (RFC 4180). Fails before its first byte or breaks off. */
    csv(
      reader: Reader,
      query: AuditQuery
    ): Effect.Effect<Stream.Stream<Uint8Array, DatabaseUnavailable>, BadCursor | DatabaseUnavailable>
  }
>()("argusiq/layers/audit/AuditLog") {
  static readonly layer = Layer.effect(
    AuditLog,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const operating = sql`select set_config('app.operator', 'on', true)`
      const scoped =
        (reader: Reader) =>
        <A, E>(effect: Effect.Effect<A, E>) =>
          inTenantOf(sql)(reader)(reader.isPlatformAdmin ? Effect.andThen(operating, effect) : effect)

      const filtersOf = (query: AuditQuery): ReadonlyArray<Fragment> => {
        const { action, actor, entityId, entityType, from, requestId, to } = query
        const actorIs = (value: string) =>
          isUuid(value) ? sql`item.actor_id = ${value}::uuid` : sql`item.actor_kind = ${value}`
        return [
          ...(actor === undefined ? [] : [actorIs(actor)]),
          ...(entityType === undefined ? [] : [sql`item.entity_type = ${entityType}`]),
          ...(entityId === undefined ? [] : [sql`item.entity_id = ${entityId}`]),
          ...(action === undefined ? [] : [sql`item.action = ${action}`]),
          ...(requestId === undefined ? [] : [sql`item.request_id = ${requestId}`]),
          ...(from === undefined ? [] : [sql`item.occurred_at >= (${instants([from])})[1]`]),
          ...(to === undefined ? [] : [sql`item.occurred_at < (${instants([to])})[1]`])
        ]
      }

      const list = Effect.fn("AuditLog.list")(function* (reader: Reader, query: AuditQuery) {
        const found = (where: Fragment, rest: Fragment, sorted: Fragment) =>
          sql<AuditRow>`
            select item.id, (extract(epoch from item.occurred_at) * 1000000)::bigint as at, item.tenant_id, item.actor_kind,
              item.actor_id, item.action, item.entity_type, item.entity_id, item.before, item.after, item.request_id,
              item.address, item.count, ${sorted} as sorted
            from audit_log item where ${where} ${rest}`.pipe(scoped(reader), orUnavailable)
        return yield* readPage(sql, { ...query, sort: query.sort ?? "-occurredAt" }, filtersOf(query), found, toEntry)
      })

      const csv = Effect.fn("AuditLog.csv")(function* (reader: Reader, query: AuditQuery) {
        const pageOf = (cursor: string | undefined, left: number) =>
          list(reader, {
            ...query,
            limit: Math.min(CSV_PAGE, left),
            ...(cursor !== undefined && { cursor })
          })
        const most = query.limit ?? Infinity
        const first = yield* pageOf(query.cursor, most)
        const rest = Stream.paginate(
          { page: first, left: most },
          Effect.fnUntraced(function* ({ left, page }) {
            const remaining = left - page.items.length
            const next =
              page.nextCursor === null || remaining <= 0
                ? Option.none()
                : Option.some({ page: yield* Effect.orDie(pageOf(page.nextCursor, remaining)), left: remaining })
            return [[encoder.encode(page.items.map(lineOf).join(""))], next] as const
          })
        )
        return Stream.concat(Stream.succeed(encoder.encode(csvHeader)), rest)
      })

      return AuditLog.of({ list, csv })
    })
  )
}
