/**
 * Jobs as people see them: asked for, looked at, cancelled, each within an organisation. The queue is their other side.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type Job, type JobKind, type JobQuery, type JobState } from "@argusiq/domain/http/jobs.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { type RebuildParameters } from "@argusiq/domain/rebuild.ts"
import { type ReplayParameters } from "@argusiq/domain/replay.ts"
import { type ReprocessParameters } from "@argusiq/domain/reprocess.ts"
import { Context, Effect, Layer, Schema } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "../registry/Devices.ts"
import { newId } from "../registry/newId.ts"
import { type Page, readPage } from "../registry/paging.ts"
import { type BadCursor, BadReference, NotRegistered, orUnavailable, WrongState } from "../registry/refusals.ts"
import { countScope, draftOf } from "./rebuildScope.ts"

/** There is no such job, or not in this organisation. */
export class UnknownJob extends Schema.TaggedError<UnknownJob>()("UnknownJob", {}) {}

interface JobRow {
  readonly id: string
  readonly kind: JobKind
  readonly parameters: object
  readonly state: JobState
  readonly progress: number
  readonly total: number | null
  readonly error: string | null
  readonly created: number
  readonly started: number | null
  readonly completed: number | null
}
const iso = (micros: number | null) => (micros === null ? null : isoFromMicros(micros))
const toJob = (row: JobRow): Job => ({
  jobId: row.id,
  kind: row.kind,
  status: row.state,
  progress: row.progress,
  total: row.total,
  parameters: row.parameters as Job["parameters"],
  createdAt: isoFromMicros(row.created),
  startedAt: iso(row.started),
  completedAt: iso(row.completed),
  error: row.error
})

/** A job that has just been asked for, with how many messages, or entities, it has before it; of a topic at most so many. */
export interface Requested {
  readonly jobId: string
  readonly messages: number
}

/** Above this messages are not counted, since that takes longer than somebody waits. */
const mostCounted = 5_000_000

export class Jobs extends Context.Service<
  Jobs,
  {
    /** Refused where the device or the type does not exist in the organisation. `inTopic`: messages that the topic holds. */
    replay(
      actor: Actor,
      parameters: ReplayParameters,
      inTopic: number | undefined
    ): Effect.Effect<Requested, NotRegistered | DatabaseUnavailable>
    /** Without a version: the one that was published last. */
    reprocess(
      actor: Actor,
      parameters: Omit<ReprocessParameters, "version"> & { readonly version?: number }
    ): Effect.Effect<Requested, NotRegistered | WrongState | DatabaseUnavailable>
    /** Refused where the scope names what the organisation does not have, or a draft that does not exist. */
    rebuild(
      actor: Actor,
      parameters: RebuildParameters
    ): Effect.Effect<Requested, BadReference | NotRegistered | WrongState | DatabaseUnavailable>
    /** Newest first. */
    list(actor: Actor, query: JobQuery): Effect.Effect<Page<Job>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<Job, UnknownJob | DatabaseUnavailable>
    /** Stops within two seconds; what it has done stays. One that has ended stays as it is. */
    cancel(actor: Actor, id: string): Effect.Effect<Job, UnknownJob | DatabaseUnavailable>
  }
>()("argusiq/layers/jobs/Jobs") {
  static readonly layer = Layer.effect(
    Jobs,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)
      const micros = (column: string) => sql.literal(`(extract(epoch from ${column}) * 1000000)::float8`)
      const columns = sql`id, kind, parameters, state, progress::float8, total::float8, error,
        ${micros("created_at")} as created, ${micros("started_at")} as started, ${micros("completed_at")} as completed`

      const insert = Effect.fnUntraced(function* (actor: Actor, kind: JobKind, parameters: object, messages: number) {
        const jobId = newId()
        yield* sql`insert into jobs (id, tenant_id, kind, parameters, total, created_by)
          values (${jobId}::uuid, ${actor.tenantId}::uuid, ${kind}, ${sql.json(parameters)}, ${messages},
            ${actor.userId ?? null}::uuid)`
        return { jobId, messages }
      })

      const requireDevice = Effect.fnUntraced(function* (id: string) {
        const rows = yield* sql`select from devices where id = ${id}::uuid`
        if (rows.length === 0) return yield* new NotRegistered({ what: "device" })
      })
      const requireType = Effect.fnUntraced(function* (id: string) {
        const [type] = yield* sql<{ published: number | null }>`
          select published_version as published from device_types where id = ${id}::uuid`
        if (type === undefined) return yield* new NotRegistered({ what: "device type" })
        return type
      })

      /** Times are in epoch microseconds. */
      const count = Effect.fnUntraced(function* (from: number, to: number, where: Fragment) {
        const [row] = yield* sql<{ n: number }>`
          select count(*)::int as n from (
            select from telemetry_raw where error is null and device_id is not null
              and received_at >= timestamptz 'epoch' + ${String(from)}::bigint * interval '1 microsecond'
              and received_at < timestamptz 'epoch' + ${String(to)}::bigint * interval '1 microsecond' and ${where}
            limit ${mostCounted}) counted`
        return row?.n ?? 0
      })

      const replay = Effect.fn("Jobs.replay")((actor: Actor, parameters: ReplayParameters, inTopic?: number) =>
        Effect.gen(function* () {
          const { deviceId, deviceTypeId, from, to } = parameters
          if (deviceId !== undefined) yield* requireDevice(deviceId)
          if (deviceTypeId !== undefined) yield* requireType(deviceTypeId)
          const where = sql.and([
            sql`true`,
            ...(deviceId === undefined ? [] : [sql`device_id = ${deviceId}::uuid`]),
            ...(deviceTypeId === undefined
              ? []
              : [sql`device_id in (select id from devices where device_type_id = ${deviceTypeId}::uuid)`])
          ])
          const messages = inTopic ?? (yield* count(from, to, where))
          return yield* insert(actor, "replay", parameters, messages)
        }).pipe(scoped(actor), orUnavailable)
      )

      const reprocess = Effect.fn("Jobs.reprocess")(
        (actor: Actor, parameters: Omit<ReprocessParameters, "version"> & { readonly version?: number }) =>
          Effect.gen(function* () {
            const { deviceTypeId, from, to } = parameters
            const { published } = yield* requireType(deviceTypeId)
            const version = parameters.version ?? published
            if (version === null) {
              return yield* new WrongState({
                message: "No version of the device type is published: publish one first."
              })
            }
            const versions = yield* sql`select from device_type_versions
              where device_type_id = ${deviceTypeId}::uuid and number = ${version} and state = 'published'`
            if (versions.length === 0) {
              return yield* new WrongState({ message: `The device type has no published version ${version}.` })
            }
            const senders = sql`select id from devices where device_type_id = ${deviceTypeId}::uuid
              union select parent_device_id from devices
              where device_type_id = ${deviceTypeId}::uuid and parent_device_id is not null`
            const messages = yield* count(from, to, sql`device_id in (${senders})`)
            return yield* insert(actor, "reprocess", { ...parameters, version }, messages)
          }).pipe(scoped(actor), orUnavailable)
      )

      const requireScope = Effect.fnUntraced(function* (entityType: "asset" | "device", { scope }: RebuildParameters) {
        if (scope.kind === "group" && entityType === "device") {
          const message = "groups are of assets: choose all, type or entities"
          return yield* new BadReference({ path: "scope.kind", message })
        }
        const messages = yield* countScope(sql, entityType, scope)
        if (scope.kind === "entities" && messages < new Set(scope.ids).size) {
          return yield* new NotRegistered({ what: entityType })
        }
        if (scope.kind === "type") {
          const table = sql(entityType === "asset" ? "asset_types" : "device_types")
          const rows = yield* sql`select from ${table} where id = ${scope.id}::uuid`
          if (rows.length === 0) {
            return yield* new NotRegistered({ what: entityType === "asset" ? "asset type" : "device type" })
          }
        }
        if (scope.kind === "group") {
          const rows = yield* sql`select from asset_groups where id = ${scope.id}::uuid`
          if (rows.length === 0) return yield* new NotRegistered({ what: "asset group" })
        }
        return messages
      })

      const rebuild = Effect.fn("Jobs.rebuild")((actor: Actor, parameters: RebuildParameters) =>
        Effect.gen(function* () {
          const { configuration, scope } = parameters
          const entityType = parameters.what === "assets" ? "asset" : parameters.entityType
          const messages = yield* requireScope(entityType, parameters)
          if (configuration === "draft") {
            if (scope.kind !== "type") {
              const message = "a draft is of one asset type: name it by { kind: type, id }"
              return yield* new BadReference({ path: "scope", message })
            }
            if ((yield* draftOf(sql, scope.id)) === undefined) {
              return yield* new WrongState({
                message: "The asset type has no draft: make one, or rebuild as published."
              })
            }
          }
          return yield* insert(actor, "rebuild", parameters, messages)
        }).pipe(scoped(actor), orUnavailable)
      )

      const list = Effect.fn("Jobs.list")(function* (actor: Actor, { kind, status, ...query }: JobQuery) {
        const filters: Array<Fragment> = []
        if (kind !== undefined) filters.push(sql`item.kind = ${kind}`)
        if (status !== undefined) filters.push(sql`item.state = ${status}`)
        const found = (where: Fragment, rest: Fragment, sorted: Fragment) =>
          sql<JobRow & { readonly sorted: string }>`
            select ${columns}, ${sorted} as sorted from jobs item where ${where} ${rest}`.pipe(
            scoped(actor),
            orUnavailable
          )
        return yield* readPage(sql, { limit: 500, ...query, sort: "-createdAt" }, filters, found, toJob)
      })

      const get = Effect.fn("Jobs.get")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          const [row] = yield* sql<JobRow>`select ${columns} from jobs where id = ${id}::uuid`
          return row === undefined ? yield* new UnknownJob() : toJob(row)
        }).pipe(scoped(actor), orUnavailable)
      )

      const cancel = Effect.fn("Jobs.cancel")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          yield* sql`update jobs set state = 'cancelled', completed_at = now(),
              error = 'Cancelled by a person; what it had done until then stays. Ask again for the rest.'
            where id = ${id}::uuid and state in ('queued', 'running')`
          const [row] = yield* sql<JobRow>`select ${columns} from jobs where id = ${id}::uuid`
          return row === undefined ? yield* new UnknownJob() : toJob(row)
        }).pipe(scoped(actor), orUnavailable)
      )

      return Jobs.of({ replay, reprocess, rebuild, list, get, cancel })
    })
  )
}
