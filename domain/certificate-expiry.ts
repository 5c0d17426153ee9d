/**
 * What is told of a certificate that comes to its end: an event a day, and at some steps a notification to the
 * administrators of its organization.
 * @module
 */
import { daysLeft, noticeDue } from "./certificate.ts"
import { isoFromMicros } from "./http/scalars.ts"
import { type Severity } from "./system-event.ts"
import { uuidV5 } from "./uuid.ts"

const DAY = 86_400_000
const URGENT_DAYS = 7

export interface ExpiringCertificate {
  readonly id: string
  readonly deviceId: string
  readonly deviceName: string
  readonly serialNumber: string
  /** Epoch milliseconds. */
  readonly validUntil: number
  /** The last step that people were told at, in days. */
  readonly toldAt: number | undefined
}

export interface ExpiryEvent {
  /** The same all day (UTC), so that one event a day is stored. */
  readonly id: string
  readonly severity: Severity
  readonly payload: Readonly<Record<string, unknown>>
  /** The step at which people are told by this event. */
  readonly tells: number | undefined
}

const administrators = [
  { type: "notify", channel: "in_app", to: "admin" },
  { type: "notify", channel: "email", to: "admin" }
]

export const expiryEvent = (certificate: ExpiringCertificate, now: number): ExpiryEvent => {
  const { deviceId, deviceName, id, serialNumber, toldAt, validUntil } = certificate
  const days = daysLeft(validUntil, now)
  const tells = noticeDue(days, toldAt)
  const end = isoFromMicros(validUntil * 1_000)
  const message =
    `The certificate of ${deviceName} ends in ${days} ${days === 1 ? "day" : "days"}, at ${end}. ` +
    "Renew it and put the new one on the device, or the device cannot connect from then on."
  return {
    id: uuidV5(id, `CERTIFICATE_EXPIRING:${Math.floor(now / DAY)}`),
    severity: days <= URGENT_DAYS ? "high" : "warning",
    payload: {
      message,
      certificateId: id,
      deviceId,
      serialNumber,
      validUntil: end,
      daysLeft: days,
      ...(tells !== undefined && { actions: administrators })
    },
    tells
  }
}
