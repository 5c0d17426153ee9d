/**
 * The asset profiles of an organization.
 * @module
 */
import {
  type AssetProfile,
  type AssetProfileChange,
  type AssetProfileQuery,
  type NewAssetProfile
} from "@argusiq/domain/http/asset-profiles.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type AssetTypeId, type TenantId } from "@argusiq/domain/ids.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "./Devices.ts"
import { refuseMappings } from "./mappingFaults.ts"
import { newId } from "./newId.ts"
import { containing, type Page, readPage } from "./paging.ts"
import {
  type BadCursor,
  NotRegistered,
  type NotValid,
  orRefusal,
  orUnavailable,
  type StaleVersion,
  type WriteRefusal
} from "./refusals.ts"
import { lockRow, updateRow } from "./rows.ts"

interface ProfileRow {
  readonly id: string
  readonly tenant_id: TenantId
  readonly name: string
  readonly description: string
  readonly asset_type_id: AssetTypeId
  readonly device_mode: AssetProfile["deviceMode"]
  readonly location_mode: AssetProfile["locationMode"]
  readonly default_attributes: AssetProfile["defaultAttributes"]
  readonly health_thresholds: AssetProfile["healthThresholds"]
  readonly telemetry_mappings: AssetProfile["telemetryMappings"]
  readonly alarm_settings: AssetProfile["alarmSettings"]
  readonly icon: string | null
  readonly usage_count: number
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}
const toProfile = (row: ProfileRow): AssetProfile => ({
  id: row.id,
  organizationId: row.tenant_id,
  name: row.name,
  description: row.description,
  assetTypeId: row.asset_type_id,
  deviceMode: row.device_mode,
  locationMode: row.location_mode,
  defaultAttributes: row.default_attributes,
  healthThresholds: row.health_thresholds,
  telemetryMappings: row.telemetry_mappings,
  alarmSettings: row.alarm_settings,
  icon: row.icon,
  usageCount: row.usage_count,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

export class ProfilesOfAssets extends Context.Service<
  ProfilesOfAssets,
  {
    list(actor: Actor, query: AssetProfileQuery): Effect.Effect<Page<AssetProfile>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<AssetProfile, NotRegistered | DatabaseUnavailable>
    create(actor: Actor, profile: NewAssetProfile): Effect.Effect<AssetProfile, NotValid | WriteRefusal>
    /** `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: string,
      change: AssetProfileChange,
      basedOn?: number
    ): Effect.Effect<AssetProfile, NotRegistered | StaleVersion | NotValid | WriteRefusal>
    /** Refused while an asset has it. */
    remove(actor: Actor, id: string, basedOn?: number): Effect.Effect<void, NotRegistered | StaleVersion | WriteRefusal>
  }
>()("argusiq/layers/registry/ProfilesOfAssets") {
  static readonly layer = Layer.effect(
    ProfilesOfAssets,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)
      const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<ProfileRow>`
        select item.*, ${sorted} as sorted,
          (select count(*)::int from assets where assets.profile_id = item.id) as usage_count
        from asset_profiles item where ${where} ${rest}`

      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "asset profile" })
        return toProfile(row)
      })

      const list = Effect.fn("ProfilesOfAssets.list")(function* (actor: Actor, query: AssetProfileQuery) {
        const filters: Array<Fragment> = []
        if (query.q !== undefined && query.q !== "") filters.push(sql`item.name ilike ${containing(query.q)}`)
        if (query.assetTypeId !== undefined) filters.push(sql`item.asset_type_id = ${query.assetTypeId}::uuid`)
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, query, filters, found, toProfile)
      })
      const get = Effect.fn("ProfilesOfAssets.get")((actor: Actor, id: string) =>
        one(id).pipe(scoped(actor), orUnavailable)
      )

      const columnsOf = (change: AssetProfileChange) => ({
        ...(change.name !== undefined && { name: change.name }),
        ...(change.description !== undefined && { description: change.description }),
        ...(change.deviceMode !== undefined && { device_mode: change.deviceMode }),
        ...(change.locationMode !== undefined && { location_mode: change.locationMode }),
        ...(change.defaultAttributes !== undefined && { default_attributes: sql.json(change.defaultAttributes) }),
        ...(change.healthThresholds !== undefined && {
          health_thresholds: change.healthThresholds === null ? null : sql.json(change.healthThresholds)
        }),
        ...(change.telemetryMappings !== undefined && { telemetry_mappings: sql.json(change.telemetryMappings) }),
        ...(change.alarmSettings !== undefined && { alarm_settings: sql.json(change.alarmSettings) }),
        ...(change.icon !== undefined && { icon: change.icon })
      })
      const refuseFaults = Effect.fnUntraced(function* (assetTypeId: string, change: AssetProfileChange) {
        yield* refuseMappings(sql, assetTypeId, "telemetryMappings", change.telemetryMappings)
      })

      const create = Effect.fn("ProfilesOfAssets.create")((actor: Actor, profile: NewAssetProfile) =>
        Effect.gen(function* () {
          const id = newId()
          yield* refuseFaults(profile.assetTypeId, profile)
          yield* sql`insert into asset_profiles ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            asset_type_id: profile.assetTypeId,
            ...columnsOf(profile),
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          return yield* one(id)
        }).pipe(Effect.catchTag("NotRegistered", Effect.die), scoped(actor), orRefusal)
      )

      const change = Effect.fn("ProfilesOfAssets.change")(
        (actor: Actor, id: string, change: AssetProfileChange, basedOn?: number) =>
          Effect.gen(function* () {
            yield* lockRow(sql, "asset_profiles", "asset profile", id, basedOn)
            yield* refuseFaults((yield* one(id)).assetTypeId, change)
            yield* updateRow(sql, "asset_profiles", actor, id, columnsOf(change))
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("ProfilesOfAssets.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "asset_profiles", "asset profile", id, basedOn)
          yield* sql`delete from asset_profiles where id = ${id}::uuid`
        }).pipe(scoped(actor), orRefusal)
      )

      return ProfilesOfAssets.of({ list, get, create, change, remove })
    })
  )
}
