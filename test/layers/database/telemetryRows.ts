/**
 * Rows of telemetry for tests of the tables themselves.
 * @module
 */
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"

export interface FrameOptions {
  readonly tenantId?: string
  readonly entityId?: string
  readonly metrics?: Readonly<Record<string, unknown>>
  readonly quality?: Readonly<Record<string, string>>
}

/** Inserts one frame per instant (epoch milliseconds) with one statement; answers their reading ids. */
export const insertFrames = (sql: SqlClient.SqlClient, at: ReadonlyArray<number>, options: FrameOptions = {}) => {
  const ids = at.map(() => randomUUID())
  const entity = options.entityId ?? randomUUID()
  return sql`
    insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
      source_device_id, config_version, metrics, quality)
    select ${options.tenantId ?? randomUUID()}::text::uuid, 'device', ${entity}::text::uuid, ts, reading_id::uuid,
      gen_random_uuid(), now(), ${entity}::text::uuid, 1, ${JSON.stringify(options.metrics ?? { t: 1 })}::text::jsonb,
      ${options.quality === undefined ? null : JSON.stringify(options.quality)}::text::jsonb
    from unnest(${at.map((instant) => new Date(instant))}::timestamptz[], ${ids}::text[]) as given (ts, reading_id)
    on conflict do nothing`.pipe(Effect.as(ids))
}

/** Inserts one audit copy per instant (epoch milliseconds). */
export const insertRaw = (
  sql: SqlClient.SqlClient,
  at: ReadonlyArray<number>,
  options: { readonly tenantId?: string; readonly payload?: Uint8Array } = {}
) => sql`
  insert into telemetry_raw (message_id, tenant_id, device_id, received_at, payload, size, content_type, ingestion_source,
    topic, partition, "offset")
  select gen_random_uuid(), ${options.tenantId ?? randomUUID()}::text::uuid, gen_random_uuid(), received_at,
    ${options.payload ?? new Uint8Array(3)}, 3, 'application/json', 'http', 'telemetry.raw.v1', 0, 0
  from unnest(${at.map((instant) => new Date(instant))}::timestamptz[]) as given (received_at)`
