/**
 * Devices that come to be on their first message: the children of gateways. They are rows, with the event that tells of each,
 * before anything of them goes on.
 * @module
 */
import { admitChildren, childDeviceId } from "@argusiq/domain/demultiplex.ts"
import { type DeviceProfile, type GatewayDemux } from "@argusiq/domain/device-type.ts"
import { DatabaseUnavailable, Poison } from "@argusiq/domain/errors.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import { Context, Effect, Layer } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import { PipelineSql } from "../database/Sql.ts"
import { instants, texts, uuids } from "../telemetry/columns.ts"

/** Children that a gateway's messages name and that nobody knew. */
export interface UnknownChildren {
  readonly tenantId: string
  readonly gatewayId: string
  readonly identifiers: Iterable<string>
  readonly strategy: Pick<typeof GatewayDemux.Type, "autoCreateChildren" | "maxChildren" | "childDeviceTypeId">
  readonly occurredAt: Instant // received-at of the message that names them first
}

export interface RegisteredChild {
  readonly deviceId: string
  readonly deviceTypeId: string
  readonly status: DeviceProfile["status"]
}

/** By logical identifier: the child, or why there is none. */
export type Registered = ReadonlyMap<string, RegisteredChild | Poison>

/**
 * So many rows a statement. A statement announces each of its rows to the profile caches up to 100; of more they would have to
 * take everything for changed. Larger statements are hardly faster: what a row costs are its indexes and references.
 */
const ROWS_A_STATEMENT = 100

interface ChildRow {
  readonly id: string
  readonly device_type_id: string
  readonly status: DeviceProfile["status"]
  readonly logical_identifier: string
}

const toChild = (row: ChildRow): RegisteredChild => ({
  deviceId: row.id,
  deviceTypeId: row.device_type_id,
  status: row.status
})

const unknownChild = (message: string) => new Poison({ reason: "UnknownChildDevice", message })

const unavailable = (cause: SqlError) => new DatabaseUnavailable({ cause })

export class GatewayChildren extends Context.Service<
  GatewayChildren,
  {
    /**
     * Creates the children that the gateway's type admits, in one transaction of its own, and answers for each identifier.
     * Whoever asks at the same time, and however often, there is one child for an identifier and no more than the type allows.
     */
    register(unknown: UnknownChildren): Effect.Effect<Registered, DatabaseUnavailable>
  }
>()("argusiq/layers/registry/GatewayChildren") {
  static readonly layer: Layer.Layer<GatewayChildren, never, PipelineSql> = Layer.effect(
    GatewayChildren,
    Effect.gen(function* () {
      const sql = yield* PipelineSql

      const known = ({ gatewayId, tenantId }: UnknownChildren, identifiers: ReadonlyArray<string>) =>
        sql<ChildRow>`
          select id, device_type_id, status, logical_identifier from devices
          where tenant_id = ${tenantId}::uuid and parent_device_id = ${gatewayId}::uuid
            and logical_identifier = any(${texts(identifiers)}::text[])`

      /** Their rows and the events that tell of them; those whose id another device has are left out. */
      const insert = (unknown: UnknownChildren, identifiers: ReadonlyArray<string>) => {
        const { gatewayId, occurredAt, strategy, tenantId } = unknown
        const ids = identifiers.map((identifier) => childDeviceId(tenantId, gatewayId, identifier))
        const eventIds = ids.map((id) => uuidV5(id, `DEVICE_CREATED:${occurredAt}`))
        return sql<ChildRow>`
          with child as (
            select * from unnest(${uuids(ids)}::uuid[], ${texts(identifiers)}::text[], ${uuids(eventIds)}::uuid[])
              with ordinality as child (id, identifier, event_id, place)
          ), created as (
            insert into devices (id, tenant_id, name, device_type_id, logical_identifier, parent_device_id)
            select id, ${tenantId}::uuid, identifier, ${strategy.childDeviceTypeId}::uuid, identifier, ${gatewayId}::uuid
            from child
            on conflict do nothing
            returning id, tenant_id, device_type_id, status, logical_identifier, parent_device_id
          ), told as (
            insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
            select child.event_id, created.tenant_id, 'DEVICE_CREATED', 'device', created.id, 'info',
              (${instants([occurredAt])}::timestamptz[])[1],
              jsonb_build_object('name', created.logical_identifier, 'deviceTypeId', created.device_type_id,
                'gatewayDeviceId', created.parent_device_id, 'logicalIdentifier', created.logical_identifier)
            from created join child using (id) order by child.place
            on conflict do nothing
          )
          select id, device_type_id, status, logical_identifier from created`
      }

      const register = Effect.fnUntraced(function* (unknown: UnknownChildren) {
        const { gatewayId, strategy, tenantId } = unknown
        const identifiers = [...unknown.identifiers]
        const registered = new Map<string, RegisteredChild | Poison>()
        // Whoever creates children of this gateway waits here, so none is counted or created twice.
        const [gateway] = yield* sql<{ has_type: boolean }>`
          select exists (
            select from device_types
            where tenant_id = ${tenantId}::uuid and id = ${strategy.childDeviceTypeId}::uuid
          ) as has_type
          from devices where tenant_id = ${tenantId}::uuid and id = ${gatewayId}::uuid
          for no key update`
        for (const row of yield* known(unknown, identifiers)) registered.set(row.logical_identifier, toChild(row))
        const missing = identifiers.filter((identifier) => !registered.has(identifier))
        if (missing.length === 0) return registered
        if (gateway === undefined || (strategy.autoCreateChildren && !gateway.has_type)) {
          const why =
            gateway === undefined
              ? "its gateway was deleted after it had sent this message"
              : `there is no device type ${strategy.childDeviceTypeId} for it. Correct childDeviceTypeId, then retry`
          for (const identifier of missing) {
            registered.set(identifier, unknownChild(`The child "${identifier}" is not created: ${why}.`))
          }
          return registered
        }
        const existing = strategy.autoCreateChildren ? yield* countChildren(gatewayId) : 0
        const { create, refused } = admitChildren(missing, existing, strategy)
        for (const [identifier, error] of refused) registered.set(identifier, error)
        for (let from = 0; from < create.length; from += ROWS_A_STATEMENT) {
          const created = yield* insert(unknown, create.slice(from, from + ROWS_A_STATEMENT))
          for (const row of created) registered.set(row.logical_identifier, toChild(row))
        }
        for (const identifier of create) {
          if (registered.has(identifier)) continue
          const elsewhere =
            `The child "${identifier}" stands behind another gateway by now, or has another identifier: ` +
            "give it back, or register a device with this identifier, then retry."
          registered.set(identifier, unknownChild(elsewhere))
        }
        return registered
      })

      const countChildren = (gatewayId: string) =>
        Effect.map(
          sql<{
            count: number
          }>`select count(*)::int as count from devices where parent_device_id = ${gatewayId}::uuid`,
          ([row]) => row?.count ?? 0
        )

      return GatewayChildren.of({
        register: (unknown) => sql.withTransaction(register(unknown)).pipe(Effect.mapError(unavailable))
      })
    })
  )
}
