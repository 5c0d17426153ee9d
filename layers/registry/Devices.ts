/**
 * The devices of an organization. Every operation sees one tenant; another tenant's device is as good as none.
 * @module
 */
import { type Device, type DeviceChange, type DeviceQuery, type NewDevice } from "@argusiq/domain/http/devices.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type DeviceId, type TenantId } from "@argusiq/domain/ids.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type DeviceRow, toDevice } from "./deviceRow.ts"
import { containing, type Page, readPage } from "./paging.ts"
import {
  type BadCursor,
  BadReference,
  NotRegistered,
  orRefusal,
  orUnavailable,
  StaleVersion,
  type WriteRefusal,
  WrongState
} from "./refusals.ts"
import { newId } from "./newId.ts"
import { lockRow } from "./rows.ts"

/** Who acts, in which tenant. The user is remembered with what is created or changed; the command line is nobody. */
export interface Actor {
  readonly tenantId: TenantId
  readonly userId: string | undefined
}

export class Devices extends Context.Service<
  Devices,
  {
    list(actor: Actor, query: DeviceQuery): Effect.Effect<Page<Device>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<Device, NotRegistered | DatabaseUnavailable>
    create(actor: Actor, device: NewDevice): Effect.Effect<Device, WriteRefusal>
    /** What `change` does not name stays. `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: string,
      change: DeviceChange,
      basedOn?: number
    ): Effect.Effect<Device, NotRegistered | StaleVersion | WrongState | WriteRefusal>
    /** For good: its API keys end with it, what it measured stays. */
    decommission(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<Device, NotRegistered | StaleVersion | DatabaseUnavailable>
    /** With its keys and its status; refused while other devices stand behind it. What it measured stays. */
    remove(actor: Actor, id: string, basedOn?: number): Effect.Effect<void, NotRegistered | StaleVersion | WriteRefusal>
  }
>()("argusiq/layers/registry/Devices") {
  static readonly layer = Layer.effect(
    Devices,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<DeviceRow>`
        select item.id, item.name, item.tenant_id, item.device_type_id, item.external_id, item.serial_number,
          item.parent_device_id, item.logical_identifier, item.status, item.protocol, item.network_metadata,
          item.custom_attributes, item.created_at, item.updated_at, item.version, state.connectivity,
          state.last_connectivity_change, state.last_seen_at, published.config ->> 'processingMode' as processing_mode,
          (select count(distinct target_entity_id)::int from entity_edges link
            where link.source_entity_id = item.id and link.source_entity_type = 'device'
              and link.target_entity_type = 'asset' and link.relationship_type = 'MONITORED_BY'
              and link.valid_from <= now() and (link.valid_until is null or link.valid_until > now())
          ) as linked_assets_count, ${sorted} as sorted
        from devices item
        left join device_status state on state.device_id = item.id
        left join device_types type on type.id = item.device_type_id
        left join device_type_versions published
          on published.device_type_id = type.id and published.number = type.published_version
        where ${where} ${rest}`

      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "device" })
        return toDevice(row)
      })

      const list = Effect.fn("Devices.list")(function* (actor: Actor, query: DeviceQuery) {
        const filters: Array<Fragment> = []
        if (query.status !== undefined) filters.push(sql`item.status = ${query.status}`)
        if (query.deviceTypeId !== undefined) filters.push(sql`item.device_type_id = ${query.deviceTypeId}::uuid`)
        if (query.externalId !== undefined) filters.push(sql`item.external_id = ${query.externalId}`)
        if (query.serialNumber !== undefined) filters.push(sql`item.serial_number = ${query.serialNumber}`)
        if (query.connectivityStatus !== undefined) {
          filters.push(sql`coalesce(state.connectivity, 'unknown') = ${query.connectivityStatus}`)
        }
        if (query.parentDeviceId !== undefined) {
          filters.push(sql`item.parent_device_id = ${query.parentDeviceId}::uuid`)
        }
        if (query.q !== undefined && query.q !== "") {
          const pattern = containing(query.q)
          filters.push(
            sql`(item.name ilike ${pattern} or item.serial_number ilike ${pattern} or item.external_id ilike ${pattern})`
          )
        }
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, query, filters, found, toDevice)
      })

      const get = Effect.fn("Devices.get")((actor: Actor, id: string) => one(id).pipe(scoped(actor), orUnavailable))

      const create = Effect.fn("Devices.create")((actor: Actor, device: NewDevice) =>
        Effect.gen(function* () {
          const id = newId()
          yield* refuseParent(id, device.parentDeviceId)
          yield* sql`insert into devices ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            name: device.name,
            device_type_id: device.deviceTypeId,
            external_id: device.externalId ?? null,
            serial_number: device.serialNumber ?? null,
            logical_identifier: device.logicalIdentifier ?? null,
            parent_device_id: device.parentDeviceId ?? null,
            status: device.status ?? "active",
            protocol: device.protocol ?? null,
            network_metadata: sql.json(device.networkMetadata ?? {}),
            custom_attributes: sql.json(device.customAttributes ?? {}),
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          return yield* Effect.catchTag(one(id), "NotRegistered", Effect.die)
        }).pipe(scoped(actor), orRefusal)
      )

      /** A device cannot stand behind itself, whatever is in between. */
      const refuseParent = Effect.fnUntraced(function* (id: string, parent: DeviceId | null | undefined) {
        if (parent === null || parent === undefined) return
        const rows = yield* sql<{ id: string }>`
          with recursive above as (
            select id, parent_device_id, 1 as depth from devices where id = ${parent}::uuid
            union all
            select devices.id, devices.parent_device_id, depth + 1 from devices, above
            where devices.id = above.parent_device_id and depth < 100
          ) select id from above where id = ${id}::uuid`
        if (rows.length > 0 || parent === id) {
          return yield* new BadReference({
            path: "parentDeviceId",
            message: "must not be the device itself or behind it"
          })
        }
      })

      const change = Effect.fn("Devices.change")((actor: Actor, id: string, change: DeviceChange, basedOn?: number) =>
        Effect.gen(function* () {
          const [present] = yield* sql<{ version: number; status: string }>`
            select version, status from devices where id = ${id}::uuid for update`
          if (present === undefined) return yield* new NotRegistered({ what: "device" })
          if (basedOn !== undefined && basedOn !== present.version) {
            return yield* new StaleVersion({ present: present.version })
          }
          if (present.status === "decommissioned" && change.status !== undefined) {
            return yield* new WrongState({ message: "A decommissioned device stays out of service: add a new device." })
          }
          yield* refuseParent(id, change.parentDeviceId)
          const values = {
            ...(change.name !== undefined && { name: change.name }),
            ...(change.deviceTypeId !== undefined && { device_type_id: change.deviceTypeId }),
            ...(change.externalId !== undefined && { external_id: change.externalId }),
            ...(change.serialNumber !== undefined && { serial_number: change.serialNumber }),
            ...(change.logicalIdentifier !== undefined && { logical_identifier: change.logicalIdentifier }),
            ...(change.parentDeviceId !== undefined && { parent_device_id: change.parentDeviceId }),
            ...(change.protocol !== undefined && { protocol: change.protocol }),
            ...(change.status !== undefined && { status: change.status }),
            ...(change.networkMetadata !== undefined && { network_metadata: sql.json(change.networkMetadata) }),
            ...(change.customAttributes !== undefined && { custom_attributes: sql.json(change.customAttributes) }),
            updated_by: actor.userId ?? null
          }
          yield* sql`update devices set ${sql.update(values)}, version = version + 1, updated_at = now()
            where id = ${id}::uuid`
          return yield* one(id)
        }).pipe(scoped(actor), orRefusal)
      )

      const decommission = Effect.fn("Devices.decommission")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "devices", "device", id, basedOn)
          yield* sql`update devices set status = 'decommissioned', version = version + 1, updated_at = now(),
              updated_by = ${actor.userId ?? null}
            where id = ${id}::uuid and status <> 'decommissioned'`
          yield* sql`update device_api_keys set revoked_at = now() where device_id = ${id}::uuid and revoked_at is null`
          return yield* one(id)
        }).pipe(scoped(actor), orUnavailable)
      )

      const remove = Effect.fn("Devices.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "devices", "device", id, basedOn)
          yield* sql`delete from devices where id = ${id}::uuid`
          yield* sql`delete from device_status where device_id = ${id}::uuid`
        }).pipe(scoped(actor), orRefusal)
      )

      return Devices.of({ list, get, create, change, decommission, remove })
    })
  )
}
