/**
 * What is known of the devices' connections, as rows: written with every change together with the event that tells of it, read
 * when a partition is taken over.
 * @module
 */
import type { ConnectionState } from "@argusiq/domain/connection-status.ts"
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { bigintegers, integers, texts, uuids } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

export interface StoredConnection {
  readonly deviceId: string
  readonly tenantId: string
  readonly deviceTypeId: string
  readonly revision: number
  readonly state: ConnectionState
  /** Of the latest connection. */
  readonly connectionId: string | null
}

export interface ConnectionRow extends Omit<StoredConnection, "deviceTypeId"> {
  readonly partition: number
  /** Of the last change of the status, for people. */
  readonly reason: string | null
}

/** A row of `system_events`. */
export interface StatusEvent {
  readonly id: string
  readonly deviceId: string
  readonly type: "DEVICE_ONLINE" | "DEVICE_OFFLINE"
  readonly severity: "info" | "warning"
  readonly occurredAt: Instant
  readonly payload: object
}

const toTime = (column: string) => `timestamptz 'epoch' + ${column} * interval '1 microsecond'`
const toMicros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`

const saveStatement = `
with given as (
  select given.*, device.status <> 'decommissioned' as in_service
  from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
      $9::bigint[], $10::text[], $11::text[], $12::text[])
    as given (device_id, tenant_id, partition, revision, status, changed_at, seen_at, connected_at, disconnected_at,
      disconnect_reason, connection_id, reason)
  join devices device on device.id = given.device_id and device.tenant_id = given.tenant_id
), kept as (
  insert into device_connections as present (device_id, tenant_id, partition, revision, status, changed_at, seen_at,
    connected_at, disconnected_at, disconnect_reason, connection_id)
  select device_id, tenant_id, partition, revision, status, ${toTime("changed_at")}, ${toTime("seen_at")},
    ${toTime("connected_at")}, ${toTime("disconnected_at")}, disconnect_reason, connection_id
  from given order by device_id
  on conflict (device_id) do update set
    (partition, revision, status, changed_at, seen_at, connected_at, disconnected_at, disconnect_reason, connection_id) =
    (excluded.partition, excluded.revision, excluded.status, excluded.changed_at, excluded.seen_at, excluded.connected_at,
      excluded.disconnected_at, excluded.disconnect_reason, excluded.connection_id)
  where excluded.revision > present.revision
  returning device_id
), told as (
  insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
  select event.id, given.tenant_id, event.type, 'device', event.device_id, event.severity, ${toTime("event.occurred_at")},
    event.payload::jsonb
  from unnest($13::uuid[], $14::uuid[], $15::text[], $16::text[], $17::bigint[], $18::text[]) with ordinality
    as event (id, device_id, type, severity, occurred_at, payload, place)
  join given on given.device_id = event.device_id and given.in_service
  order by event.place
  on conflict do nothing
)
insert into device_status as present (device_id, tenant_id, connectivity, last_connectivity_change, reason)
select device_id, tenant_id, status, ${toTime("changed_at")}, reason
from given join kept using (device_id) order by device_id
on conflict (device_id) do update set
  (connectivity, last_connectivity_change, reason) =
  (excluded.connectivity, excluded.last_connectivity_change, excluded.reason)
where (present.connectivity, present.last_connectivity_change) is distinct from
  (excluded.connectivity, excluded.last_connectivity_change)`

const big = (at: Instant | null) => (at === null ? null : BigInt(at))

/**
 * In the transaction that the fiber is in. A state that is older than the stored one stays out; an event that is there already
 * stays as it is. Of a device that is gone nothing is stored, of a decommissioned one no event.
 * @param rows one per device, those of the events among them
 */
export const saveConnections = (sql: Sql, rows: ReadonlyArray<ConnectionRow>, events: ReadonlyArray<StatusEvent>) =>
  Effect.suspend(() =>
    sql.unsafe(saveStatement, [
      uuids(rows.map(({ deviceId }) => deviceId)),
      uuids(rows.map(({ tenantId }) => tenantId)),
      integers(rows.map(({ partition }) => partition)),
      integers(rows.map(({ revision }) => revision)),
      texts(rows.map(({ state }) => state.status)),
      bigintegers(rows.map(({ state }) => big(state.changedAt))),
      bigintegers(rows.map(({ state }) => big(state.seenAt))),
      bigintegers(rows.map(({ state }) => big(state.connectedAt))),
      bigintegers(rows.map(({ state }) => big(state.disconnectedAt))),
      texts(rows.map(({ state }) => state.disconnectReason ?? null)),
      texts(rows.map(({ connectionId }) => connectionId)),
      texts(rows.map(({ reason }) => reason)),
      uuids(events.map(({ id }) => id)),
      uuids(events.map(({ deviceId }) => deviceId)),
      texts(events.map(({ type }) => type)),
      texts(events.map(({ severity }) => severity)),
      bigintegers(events.map(({ occurredAt }) => BigInt(occurredAt))),
      texts(events.map(({ payload }) => JSON.stringify(payload)))
    ])
  ).pipe(
    Effect.mapError((cause) => new DatabaseUnavailable({ cause })),
    Effect.asVoid
  )

const loadStatement = `
select present.device_id, present.tenant_id, device.device_type_id, present.revision, present.status,
  ${toMicros("present.changed_at")} as changed_at,
  case when present.status = 'online' and seen.last_seen_at is not null
    then greatest(${toMicros("present.seen_at")}, least(${toMicros("seen.last_seen_at")}, $2::text::bigint))
    else ${toMicros("present.seen_at")} end as seen_at,
  ${toMicros("present.connected_at")} as connected_at, ${toMicros("present.disconnected_at")} as disconnected_at,
  present.disconnect_reason, present.connection_id
from device_connections present
join devices device on device.id = present.device_id
left join device_status seen on seen.device_id = present.device_id
where present.partition % $3::int = $1`

interface LoadedRow {
  readonly device_id: string
  readonly tenant_id: string
  readonly device_type_id: string
  readonly revision: number
  readonly status: ConnectionState["status"]
  readonly changed_at: bigint | null
  readonly seen_at: bigint | null
  readonly connected_at: bigint | null
  readonly disconnected_at: bigint | null
  readonly disconnect_reason: string | null
  readonly connection_id: string | null
}

const instant = (at: bigint | null): Instant | null => (at === null ? null : Number(at))

const toConnection = (row: LoadedRow): StoredConnection => ({
  deviceId: row.device_id,
  tenantId: row.tenant_id,
  deviceTypeId: row.device_type_id,
  revision: row.revision,
  connectionId: row.connection_id,
  state: {
    status: row.status,
    changedAt: instant(row.changed_at),
    seenAt: instant(row.seen_at),
    connectedAt: instant(row.connected_at),
    disconnectedAt: instant(row.disconnected_at),
    ...(row.disconnect_reason !== null && { disconnectReason: row.disconnect_reason })
  }
})

/**
 * The devices of a partition of so many, also where a row's number is of a log that had a multiple of them. The row of one that
 * is online is as old as its last change: the telemetry writer's last seen tells what came since, as far as `until`, beyond which
 * it comes again.
 */
export const loadConnections = (sql: Sql, partition: number, partitions: number, until: Instant) =>
  sql.unsafe<LoadedRow>(loadStatement, [partition, String(until), partitions]).pipe(
    Effect.map((rows) => rows.map(toConnection)),
    Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
  )
