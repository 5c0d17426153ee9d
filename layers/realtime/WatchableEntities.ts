/**
 * Which devices and assets an organisation may watch live, and what has to be known of them for that.
 * @module
 */
import type { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { TenantId } from "@argusiq/domain/ids.ts"
import type { EntityRoom } from "@argusiq/domain/realtime/requests.ts"
import { Context, Effect, Layer } from "effect"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { orUnavailable } from "../registry/refusals.ts"
import { uuids } from "../telemetry/columns.ts"

export interface Watchable {
  /** Of a device: itself and those that may send for it, its gateway and what stands before that. */
  readonly senders: ReadonlyArray<string>
  /** Of a device: its type's messages hold those of others, so that each has a transaction. */
  readonly isGateway: boolean
  /** Of an asset: its health score, undefined without one. */
  readonly score: number | undefined
}

/** Devices stand one before the other at most so often. */
const MOST_PARENTS = 8

export class WatchableEntities extends Context.Service<
  WatchableEntities,
  {
    /** As they are at the moment, by id; what the organisation does not have is left out. */
    find(
      tenantId: TenantId,
      entityType: EntityRoom["entityType"],
      ids: ReadonlyArray<string>
    ): Effect.Effect<ReadonlyMap<string, Watchable>, DatabaseUnavailable>
  }
>()("argusiq/layers/realtime/WatchableEntities") {
  static readonly layer = Layer.effect(
    WatchableEntities,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const devices = (ids: ReadonlyArray<string>) =>
        Effect.map(
          sql<{ id: string; senders: ReadonlyArray<string>; is_gateway: boolean }>`
            with recursive sender as (
              select id as device, id, parent_device_id, 0 as distance from devices where id = any(${uuids(ids)})
              union all
              select sender.device, parent.id, parent.parent_device_id, sender.distance + 1
              from sender join devices parent on parent.id = sender.parent_device_id
              where sender.distance < ${MOST_PARENTS}
            )
            select sender.device as id, array_agg(distinct sender.id::text) as senders,
              bool_or(sender.distance = 0 and exists (
                select 1 from devices device
                join device_type_versions version on version.device_type_id = device.device_type_id
                where device.id = sender.device and version.config ->> 'processingMode' like 'gateway%')) as is_gateway
            from sender group by sender.device`,
          (rows) =>
            new Map(
              rows.map(({ id, is_gateway, senders }): [string, Watchable] => [
                id,
                { senders, isGateway: is_gateway, score: undefined }
              ])
            )
        )
      const assets = (ids: ReadonlyArray<string>) =>
        Effect.map(
          sql<{ id: string; health_score: number | null }>`
            select asset.id, status.health_score from assets asset
            left join asset_status status on status.asset_id = asset.id where asset.id = any(${uuids(ids)})`,
          (rows) =>
            new Map(
              rows.map(({ health_score, id }): [string, Watchable] => [
                id,
                { senders: [], isGateway: false, score: health_score ?? undefined }
              ])
            )
        )

      const find = Effect.fn("WatchableEntities.find")(
        (tenantId: TenantId, entityType: EntityRoom["entityType"], ids: ReadonlyArray<string>) =>
          (entityType === "device" ? devices(ids) : assets(ids)).pipe(scoped({ tenantId }), orUnavailable)
      )
      return WatchableEntities.of({ find })
    })
  )
}
