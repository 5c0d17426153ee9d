/**
 * Device certificates: what state one is in, whether it lets a device in, and whom its end is told. All instants in epoch
 * milliseconds, as X.509 has them.
 * @module
 */
import { type DeviceProfile } from "./device-type.ts"
import { isUuid } from "./uuid.ts"

const DAY = 86_400_000
export const MOST_VALIDITY_DAYS = 365
/** From so many days before its end on, a certificate counts as expiring. */
export const EXPIRING_DAYS = 30
/** How long the certificate before is accepted after a renewal, at most until its own end. */
export const RENEWAL_OVERLAP_DAYS = 7
/** How long a download may be fetched. */
export const DOWNLOAD_MINUTES = 15

/** id-kp-clientAuth of RFC 5280. */
export const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"

export const certificateStates = ["pending", "active", "expiring", "expired", "revoked", "renewed"] as const
/** Pending: the device has not logged in with it yet. Renewed: another one has taken its place, and it ends with the overlap. */
export type CertificateState = (typeof certificateStates)[number]

export interface CertificateDates {
  readonly validUntil: number
  readonly revokedAt: number | undefined
  readonly renewedAt: number | undefined
  readonly firstUsedAt: number | undefined
}

export const certificateState = (certificate: CertificateDates, now: number): CertificateState => {
  if (certificate.revokedAt !== undefined) return "revoked"
  if (certificate.validUntil <= now) return "expired"
  if (certificate.renewedAt !== undefined) return "renewed"
  if (certificate.validUntil - now <= EXPIRING_DAYS * DAY) return "expiring"
  return certificate.firstUsedAt === undefined ? "pending" : "active"
}

/** Until when a certificate that is renewed is accepted. */
export const overlapEnd = (validUntil: number, renewedAt: number): number =>
  Math.min(validUntil, renewedAt + RENEWAL_OVERLAP_DAYS * DAY)

/** Whole days that are left, begun ones counted. */
export const daysLeft = (validUntil: number, now: number): number => Math.max(0, Math.ceil((validUntil - now) / DAY))

const notices = [30, 14, 7, 3, 1]
/** People are told when so many days are left, once each: the step that is due, undefined when it has been told. */
export const noticeDue = (days: number, toldAt: number | undefined): number | undefined => {
  const due = notices.findLast((step) => days <= step)
  return due !== undefined && (toldAt === undefined || due < toldAt) ? due : undefined
}

/** What a client shows in its handshake. */
export interface ShownCertificate {
  /** Why the chain does not lead to the installation's authority, or does not hold; undefined when it does. */
  readonly chainFault: string | undefined
  readonly validFrom: number
  readonly validUntil: number
  /** Object ids; undefined: for any use. */
  readonly extendedKeyUsage: ReadonlyArray<string> | undefined
}

/** What the platform knows of a certificate that it issued. */
export interface KnownCertificate {
  readonly deviceId: string
  readonly tenantId: string
  readonly acceptedUntil: number
  readonly revoked: boolean
}

/** Why a certificate lets nobody in. */
export const certificateRefusals = {
  none: "presented no certificate",
  chain: "presented a certificate that this installation's authority has not signed",
  notYetValid: "presented a certificate that is not valid yet",
  expired: "presented a certificate that has expired",
  usage: "presented a certificate that is not made for clients",
  unknown: "presented a certificate that this installation does not know",
  revoked: "presented a revoked certificate",
  overlapEnded: "presented a certificate that was renewed and whose overlap has ended",
  device: "presented the certificate of a device that is not active",
  clientId: "used a client id that is not its own",
  username: "used a user name that is not its own",
  password: "presented a key that is not its own"
} as const
export type CertificateRefusal = keyof typeof certificateRefusals

/** What the certificate says of itself. Undefined: nothing against it. */
export const judgeShown = (shown: ShownCertificate, now: number): CertificateRefusal | undefined => {
  if (shown.validUntil <= now) return "expired"
  if (shown.validFrom > now) return "notYetValid"
  if (shown.extendedKeyUsage?.includes(CLIENT_AUTH) !== true) return "usage"
  return shown.chainFault === undefined ? undefined : "chain"
}

/** What the platform knows of it. Undefined: nothing against it. */
export const judgeKnown = (
  known: KnownCertificate | undefined,
  device: Pick<DeviceProfile, "status" | "tenantId"> | undefined,
  now: number
): CertificateRefusal | undefined => {
  if (known === undefined) return "unknown"
  if (known.revoked) return "revoked"
  if (known.acceptedUntil <= now) return "overlapEnded"
  return device?.status === "active" && device.tenantId === known.tenantId ? undefined : "device"
}

/** The device that a certificate's subject names, whoever has signed it; undefined when none. Subject as Node writes it. */
export const namedDevice = (subject: string): string | undefined => {
  const name = /(?:^|\n|, ?)CN=([^\n,]+)/.exec(subject)?.[1]?.toLowerCase()
  return name !== undefined && isUuid(name) ? name : undefined
}
