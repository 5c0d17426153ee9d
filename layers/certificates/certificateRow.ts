/**
 * A certificate as it is stored, and as REST shows it.
 * @module
 */
import { certificateState } from "@argusiq/domain/certificate.ts"
import { type Certificate } from "@argusiq/domain/http/certificates.ts"
import { type DeviceId } from "@argusiq/domain/ids.ts"

export interface CertificateRow {
  readonly id: string
  readonly device_id: DeviceId
  readonly serial_number: string
  readonly fingerprint: string
  readonly public_key_digest: string
  readonly certificate: string
  readonly valid_from: Date
  readonly valid_until: Date
  readonly accepted_until: Date
  readonly renewed_at: Date | null
  readonly replaced_by: string | null
  readonly revoked_at: Date | null
  readonly revoked_reason: string | null
  readonly first_used_at: Date | null
  readonly created_at: Date
  readonly sorted: string
}

export const certificateColumns =
  "item.id, item.device_id, item.serial_number, item.fingerprint, item.public_key_digest, item.certificate, " +
  "item.valid_from, item.valid_until, item.accepted_until, item.renewed_at, item.replaced_by, item.revoked_at, " +
  "item.revoked_reason, item.first_used_at, item.created_at"

const isoOrNull = (date: Date | null) => date?.toISOString() ?? null

export const toCertificate =
  (now: number) =>
  (row: CertificateRow): Certificate => ({
    id: row.id,
    deviceId: row.device_id,
    serialNumber: row.serial_number,
    fingerprint: row.fingerprint,
    state: certificateState(
      {
        validUntil: row.valid_until.getTime(),
        renewedAt: row.renewed_at?.getTime(),
        revokedAt: row.revoked_at?.getTime(),
        firstUsedAt: row.first_used_at?.getTime()
      },
      now
    ),
    certificate: row.certificate,
    validFrom: row.valid_from.toISOString(),
    validUntil: row.valid_until.toISOString(),
    acceptedUntil: row.accepted_until.toISOString(),
    replacedBy: row.replaced_by,
    revokedAt: isoOrNull(row.revoked_at),
    revokedReason: row.revoked_reason,
    firstUsedAt: isoOrNull(row.first_used_at),
    createdAt: row.created_at.toISOString()
  })

/** The rows in a state, as {@link certificateState} tells it: SQL over the alias `item`. */
export const inState: Readonly<Record<Certificate["state"], string>> = (() => {
  const open = "item.revoked_at is null and item.valid_until > now()"
  const current = `${open} and item.renewed_at is null`
  const soon = "item.valid_until <= now() + interval '30 days'"
  return {
    revoked: "item.revoked_at is not null",
    expired: "item.revoked_at is null and item.valid_until <= now()",
    renewed: `${open} and item.renewed_at is not null`,
    expiring: `${current} and ${soon}`,
    pending: `${current} and not ${soon} and item.first_used_at is null`,
    active: `${current} and not ${soon} and item.first_used_at is not null`
  }
})()
