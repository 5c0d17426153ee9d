/**
 * What certificates need while nobody looks: events before they end, and downloads erased when their time is over.
 * @module
 */
import { EXPIRING_DAYS } from "@argusiq/domain/certificate.ts"
import { expiryEvent } from "@argusiq/domain/certificate-expiry.ts"
import { inState } from "@argusiq/layers/certificates/certificateRow.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Clock, Effect, Metric } from "effect"

const AT_ONCE = 500

const count = Metric.withAttributes(
  Metric.gauge("argusiq_certificates", { description: "Certificates of devices, by state" }),
  { service: "jobs" }
)

interface ExpiringRow {
  readonly id: string
  readonly tenant_id: string
  readonly device_id: string
  readonly name: string
  readonly serial_number: string
  readonly valid_until: Date
  readonly told_days: number | null
}

/** Tells of the certificates in force that end within 30 days at that instant (epoch milliseconds), once a day (UTC) each;
 * answers of how many. */
export const tellExpiringAt = Effect.fnUntraced(function* (now: number) {
  const sql = yield* PipelineSql
  let told = 0
  let after = "00000000-0000-0000-0000-000000000000"
  while (true) {
    const rows = yield* sql<ExpiringRow>`
      select item.id, item.tenant_id, item.device_id, device.name, item.serial_number, item.valid_until, item.told_days
      from device_certificates item join devices device on device.id = item.device_id
      where item.revoked_at is null and item.replaced_by is null and item.valid_until > ${new Date(now)}
        and item.valid_until <= ${new Date(now + EXPIRING_DAYS * 86_400_000)} and item.id > ${after}::uuid
      order by item.id limit ${AT_ONCE}`
    for (const row of rows) {
      const event = expiryEvent(
        {
          id: row.id,
          deviceId: row.device_id,
          deviceName: row.name,
          serialNumber: row.serial_number,
          validUntil: row.valid_until.getTime(),
          toldAt: row.told_days ?? undefined
        },
        now
      )
      const isStored = yield* sql.withTransaction(
        Effect.gen(function* () {
          const stored = yield* sql`
            insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
            values (${event.id}::uuid, ${row.tenant_id}::uuid, 'CERTIFICATE_EXPIRING', 'device', ${row.device_id}::uuid,
              ${event.severity}, ${new Date(now)}, ${JSON.stringify(event.payload)}::text::jsonb)
            on conflict do nothing returning id`
          if (stored.length === 0) return false
          if (event.tells !== undefined) {
            yield* sql`update device_certificates set told_days = ${event.tells}::int where id = ${row.id}::uuid`
          }
          return true
        })
      )
      if (isStored) told++
    }
    const last = rows.at(-1)
    if (last === undefined || rows.length < AT_ONCE) return told
    after = last.id
  }
})

export const tellExpiring = Effect.flatMap(Clock.currentTimeMillis, tellExpiringAt)

const states = Object.entries(inState)
const counts = states.map(([state, where]) => `count(*) filter (where ${where})::int as ${state}`).join(", ")

export const measureCertificates = Effect.gen(function* () {
  const sql = yield* PipelineSql
  const [row] = yield* sql.unsafe<Record<string, number>>(`select ${counts} from device_certificates item`)
  for (const [state] of states) {
    yield* Metric.update(Metric.withAttributes(count, { state }), row?.[state] ?? 0)
  }
})

/** Erases what nobody may fetch any more, and a day later the rest of its row. */
export const eraseDownloads = Effect.gen(function* () {
  const sql = yield* PipelineSql
  yield* sql`update certificate_bundles set sealed = null where sealed is not null and expires_at <= now()`
  yield* sql`delete from certificate_bundles where expires_at < now() - interval '1 day'`
})
