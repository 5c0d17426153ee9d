/**
 * The rows behind devices' latest values. Whoever asks in the same millisecond is answered by one transaction: opening one costs
 * several times what a row does.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { DataPoint, DeviceLatest } from "@argusiq/domain/http/telemetry.ts"
import type { Instant, TenantId } from "@argusiq/domain/ids.ts"
import type { PgClient } from "@effect/sql-pg"
import { Effect, Exit, Request, RequestResolver } from "effect"
import { inTenantOf } from "../database/inTenant.ts"
import { orUnavailable } from "../registry/refusals.ts"
import { uuids } from "./columns.ts"

export interface LatestRow {
  readonly id: string
  readonly device_type_id: string
  readonly published_version: number | null
  readonly metrics: Readonly<Record<string, DataPoint["value"]>> | null
  readonly newest: Instant | null
  readonly older: Readonly<Record<string, Instant>> | null
  readonly quality: Readonly<Record<string, "uncertain" | "bad">> | null
  readonly connectivity: DeviceLatest["status"] | null
  readonly last_seen_at: Date | null
}

/** Of a device as its organization sees it; undefined where it has none such. */
class LatestOfDevice extends Request.TaggedClass("LatestOfDevice")<
  { readonly tenantId: TenantId; readonly deviceId: string },
  LatestRow | undefined,
  DatabaseUnavailable
> {}

const MOST_AT_ONCE = 500
const TOGETHER_WITHIN = "1 millis"

export const makeLatestRows = (sql: PgClient.PgClient) => {
  const load = (tenantId: TenantId, deviceIds: ReadonlyArray<string>) =>
    sql<LatestRow>`
      select devices.id, devices.device_type_id, type.published_version, latest.metrics, latest.older, latest.quality,
        (extract(epoch from latest.newest_ts) * 1000000)::float8 as newest, state.connectivity, state.last_seen_at
      from devices
      left join device_types type on type.id = devices.device_type_id
      left join entity_latest latest on latest.entity_id = devices.id
      left join device_status state on state.device_id = devices.id
      where devices.id = any(${uuids(deviceIds)})`.pipe(inTenantOf(sql)({ tenantId }), orUnavailable)

  const resolver = RequestResolver.makeGrouped<LatestOfDevice, TenantId>({
    key: ({ request }) => request.tenantId,
    resolver: (entries, tenantId) =>
      Effect.map(load(tenantId, [...new Set(entries.map(({ request }) => request.deviceId))]), (rows) => {
        const found = new Map(rows.map((row) => [row.id, row]))
        for (const entry of entries) entry.completeUnsafe(Exit.succeed(found.get(entry.request.deviceId)))
      })
  }).pipe(RequestResolver.setDelay(TOGETHER_WITHIN), RequestResolver.batchN(MOST_AT_ONCE))

  return (tenantId: TenantId, deviceId: string) => Effect.request(new LatestOfDevice({ tenantId, deviceId }), resolver)
}
