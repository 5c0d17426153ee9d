/**
 * The spaces of an organization, in their tree.
 * @module
 */
import { type NewSpace, type Space, type SpaceChange, type SpaceQuery } from "@argusiq/domain/http/spaces.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "./Devices.ts"
import { newId } from "./newId.ts"
import { containing, type Page, readPage } from "./paging.ts"
import {
  type BadCursor,
  BadReference,
  NotRegistered,
  orRefusal,
  orUnavailable,
  type StaleVersion,
  type WriteRefusal
} from "./refusals.ts"
import { lockRow, refuseParent, updateRow } from "./rows.ts"

interface SpaceRow {
  readonly id: string
  readonly tenant_id: TenantId
  readonly name: string
  readonly kind: Space["kind"]
  readonly parent_id: string | null
  readonly floor_plan_document_id: string | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}
const toSpace = (row: SpaceRow): Space => ({
  id: row.id,
  organizationId: row.tenant_id,
  name: row.name,
  kind: row.kind,
  parentId: row.parent_id,
  floorPlanDocumentId: row.floor_plan_document_id,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

const badPlan = (message: string) => new BadReference({ path: "floorPlanDocumentId", message })

const columnsOf = (change: SpaceChange) => ({
  ...(change.name !== undefined && { name: change.name }),
  ...(change.kind !== undefined && { kind: change.kind }),
  ...(change.parentId !== undefined && { parent_id: change.parentId }),
  ...(change.floorPlanDocumentId !== undefined && { floor_plan_document_id: change.floorPlanDocumentId })
})

export class Spaces extends Context.Service<
  Spaces,
  {
    list(actor: Actor, query: SpaceQuery): Effect.Effect<Page<Space>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<Space, NotRegistered | DatabaseUnavailable>
    create(actor: Actor, space: NewSpace): Effect.Effect<Space, WriteRefusal>
    /** `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: string,
      change: SpaceChange,
      basedOn?: number
    ): Effect.Effect<Space, NotRegistered | StaleVersion | WriteRefusal>
    /** Refused while it holds spaces or assets. Gives the storage keys of its documents, whose files nothing names any more. */
    remove(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<ReadonlyArray<string>, NotRegistered | StaleVersion | WriteRefusal>
  }
>()("argusiq/layers/registry/Spaces") {
  static readonly layer = Layer.effect(
    Spaces,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)
      const select = (where: Fragment, rest: Fragment, sorted: Fragment) =>
        sql<SpaceRow>`select item.*, ${sorted} as sorted from spaces item where ${where} ${rest}`

      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "space" })
        return toSpace(row)
      })

      const list = Effect.fn("Spaces.list")(function* (actor: Actor, query: SpaceQuery) {
        const filters: Array<Fragment> = []
        if (query.q !== undefined && query.q !== "") filters.push(sql`item.name ilike ${containing(query.q)}`)
        if (query.parentId === "root") filters.push(sql`item.parent_id is null`)
        else if (query.parentId !== undefined) filters.push(sql`item.parent_id = ${query.parentId}::uuid`)
        if (query.kind !== undefined) filters.push(sql`item.kind = ${query.kind}`)
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, query, filters, found, toSpace)
      })
      const get = Effect.fn("Spaces.get")((actor: Actor, id: string) => one(id).pipe(scoped(actor), orUnavailable))

      /** A floor plan is an image among the space's own documents. */
      const refusePlan = Effect.fnUntraced(function* (id: string, plan: string | null | undefined) {
        if (plan === null || plan === undefined) return
        const [row] = yield* sql<{ media_type: string }>`
          select media_type from documents where id = ${plan}::uuid and owner_type = 'space' and owner_id = ${id}::uuid`
        if (row === undefined) return yield* badPlan("is no document of this space")
        if (!row.media_type.startsWith("image/")) return yield* badPlan(`is no image but ${row.media_type}`)
      })
      const create = Effect.fn("Spaces.create")((actor: Actor, space: NewSpace) =>
        Effect.gen(function* () {
          const id = newId()
          yield* refuseParent(sql, "spaces", actor, id, space.parentId)
          yield* refusePlan(id, space.floorPlanDocumentId)
          yield* sql`insert into spaces ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            ...columnsOf(space),
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          return yield* one(id)
        }).pipe(Effect.catchTag("NotRegistered", Effect.die), scoped(actor), orRefusal)
      )

      const change = Effect.fn("Spaces.change")((actor: Actor, id: string, change: SpaceChange, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "spaces", "space", id, basedOn)
          yield* refuseParent(sql, "spaces", actor, id, change.parentId)
          yield* refusePlan(id, change.floorPlanDocumentId)
          yield* updateRow(sql, "spaces", actor, id, columnsOf(change))
          return yield* one(id)
        }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("Spaces.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "spaces", "space", id, basedOn)
          yield* sql`delete from spaces where id = ${id}::uuid`
          const documents = yield* sql<{ storage_key: string }>`
            delete from documents where owner_type = 'space' and owner_id = ${id}::uuid returning storage_key`
          return documents.map(({ storage_key }) => storage_key)
        }).pipe(scoped(actor), orRefusal)
      )

      return Spaces.of({ list, get, create, change, remove })
    })
  )
}
