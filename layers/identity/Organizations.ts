/**
 * The organizations of an installation.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type CreatedOrganization,
  type NewOrganization,
  type Organization,
  type OrganizationChange,
  type OrganizationQuery
} from "@argusiq/domain/http/organization.ts"
import { TenantId } from "@argusiq/domain/ids.ts"
import { slugOf } from "@argusiq/domain/slug.ts"
import { Context, Effect, Layer, Redacted } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenant } from "../database/inTenant.ts"
import { AppSql, PipelineSql } from "../database/Sql.ts"
import { type Actor } from "../registry/Devices.ts"
import { newId } from "../registry/newId.ts"
import { containing, type Page, readPage } from "../registry/paging.ts"
import {
  type BadCursor,
  NotRegistered,
  type NotValid,
  orRefusal,
  orUnavailable,
  refuseStale,
  type StaleVersion,
  type WriteRefusal,
  WrongState
} from "../registry/refusals.ts"
import { LiveSessions } from "./LiveSessions.ts"
import { Members } from "./Members.ts"
import { accountOf, addMember, selectMembers, toUser } from "./memberStatements.ts"
import * as securityEvents from "./securityEvents.ts"

interface Row {
  readonly id: TenantId
  readonly name: string
  readonly slug: string
  readonly status: Organization["status"]
  readonly settings: Organization["settings"]
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}
const toOrganization = (row: Row): Organization => ({
  id: row.id,
  name: row.name,
  slug: row.slug,
  status: row.status,
  settings: row.settings,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

export class Organizations extends Context.Service<
  Organizations,
  {
    /** All of them: for who operates the platform. */
    list(query: OrganizationQuery): Effect.Effect<Page<Organization>, BadCursor | DatabaseUnavailable>
    get(id: TenantId): Effect.Effect<Organization, NotRegistered | DatabaseUnavailable>
    /** With its first administrator, in one transaction. */
    create(actor: Actor, organization: NewOrganization): Effect.Effect<CreatedOrganization, NotValid | WriteRefusal>
    /** A suspended one's sessions end at once. `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: TenantId,
      change: OrganizationChange,
      basedOn?: number
    ): Effect.Effect<Organization, NotRegistered | StaleVersion | WrongState | WriteRefusal>
  }
>()("argusiq/layers/identity/Organizations") {
  static readonly layer = Layer.effect(
    Organizations,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const everywhere = yield* PipelineSql
      const members = yield* Members
      const live = yield* LiveSessions
      const seeing = (tenantId: TenantId, userId?: string) => {
        const within = inTenant(tenantId, userId)
        return <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(within(effect), AppSql, sql)
      }

      const select = (client: typeof sql, where: Fragment, rest: Fragment, sorted: Fragment) =>
        client<Row>`select item.*, ${sorted} as sorted from organizations item where ${where} ${rest}`
      const one = Effect.fnUntraced(function* (id: string, rest = "") {
        const [row] = yield* select(sql, sql`item.id = ${id}::uuid`, sql.literal(rest), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "organization" })
        return toOrganization(row)
      })

      const list = Effect.fn("Organizations.list")((query: OrganizationQuery) => {
        const pattern = containing(query.q ?? "")
        const filters = [
          ...(query.status === undefined ? [] : [everywhere`item.status = ${query.status}`]),
          ...(query.q === undefined || query.q === ""
            ? []
            : [everywhere`(item.name ilike ${pattern} or item.slug ilike ${pattern})`])
        ]
        const found = (where: Fragment, rest: Fragment, sorted: Fragment) =>
          orUnavailable(select(everywhere, where, rest, sorted))
        return readPage(everywhere, query, filters, found, toOrganization)
      })

      const get = Effect.fn("Organizations.get")((id: TenantId) => one(id).pipe(seeing(id), orUnavailable))

      const create = Effect.fn("Organizations.create")(function* (actor: Actor, organization: NewOrganization) {
        const { admin, name, settings = {}, slug } = organization
        const id = TenantId.make(newId())
        const given = admin.password === undefined ? undefined : Redacted.make(admin.password)
        const { hash, shown } = yield* members.temporary(given, admin.email, "admin.password")
        const userId = yield* accountOf(sql, admin.email, admin.name)
        const created = yield* Effect.gen(function* () {
          yield* sql`insert into organizations (id, name, slug, settings)
            values (${id}::uuid, ${name}, ${slug ?? slugOf(name, id)}, ${sql.json(settings)})`
          yield* addMember(sql, { tenantId: id, userId, name: admin.name, role: "admin", passwordHash: hash })
          const [member] = yield* selectMembers(sql, sql`true`, sql.literal(""), sql.literal("''"))
          if (member === undefined) return yield* Effect.die(new Error("A member that was just added is gone"))
          return { ...(yield* one(id)), admin: { ...toUser(member), temporaryPassword: shown } }
        }).pipe(Effect.catchTag("NotRegistered", Effect.die), seeing(id, userId))
        yield* securityEvents.organizationAdded(actor, id)
        return created
      }, orRefusal)

      const change = Effect.fn("Organizations.change")(
        (actor: Actor, id: TenantId, change: OrganizationChange, basedOn?: number) =>
          Effect.gen(function* () {
            const present = yield* one(id, "for no key update")
            yield* refuseStale(basedOn, present.version)
            if (change.status === "suspended" && id === actor.tenantId) {
              return yield* new WrongState({
                message: "You act in this organization: switch to another one before you suspend it."
              })
            }
            const values = {
              name: change.name ?? present.name,
              status: change.status ?? present.status,
              ...(change.settings !== undefined && { settings: sql.json(change.settings) })
            }
            yield* sql`update organizations set ${sql.update(values)}, version = version + 1, updated_at = now()
              where id = ${id}::uuid`
            return yield* one(id)
          }).pipe(
            seeing(id),
            Effect.tap(() => live.catchUp),
            Effect.tap(({ status }) => securityEvents.organizationChanged(actor, id, status)),
            orRefusal
          )
      )

      return Organizations.of({ list, get, create, change })
    })
  )
}
