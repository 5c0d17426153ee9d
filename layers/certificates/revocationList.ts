/**
 * The certificate revocation list (RFC 5280, section 5): what brokers refuse although its dates are good.
 * @module
 */
import { sign } from "node:crypto"
import { type Authority } from "./CertificateAuthority.ts"
import { bits, critical, der, enumerated, integer, objectId, octets, sequence, time } from "./der.ts"

/** How long a list is good when nobody fetches another. */
const LIST_MILLIS = 86_400_000
const BACKDATED_MILLIS = 60_000

/** The reasons of RFC 5280 that end the certificate of a device. */
const reasonCodes: Readonly<Record<string, number>> = {
  keyCompromise: 1,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9
}

export interface Revocation {
  /** Hex. */
  readonly serialNumber: string
  readonly revokedAt: Date
  /** A reason of RFC 5280 by its name, or any text. */
  readonly reason: string
}

export interface RevocationList {
  readonly pem: string
  readonly der: Uint8Array
}

const extension = (id: string, value: Uint8Array) => sequence(objectId(id), octets(value))

const entry = ({ reason, revokedAt, serialNumber }: Revocation) => {
  const code = reasonCodes[reason]
  return sequence(
    integer(serialNumber),
    time(revokedAt),
    ...(code === undefined ? [] : [sequence(extension("2.5.29.21", enumerated(code)))])
  )
}

/** Names the address that certificates point to: brokers that follow it insist. */
const issuingDistributionPoint = (url: string) =>
  sequence(
    objectId("2.5.29.28"),
    critical,
    octets(sequence(der(0xa0, der(0xa0, der(0x86, Buffer.from(url, "latin1"))))))
  )

/** `crlUrl`: the address that the authority's certificates name. */
export const makeRevocationList = (
  { issuerName, keyId, privateKey, signature }: Authority["signing"],
  revocations: ReadonlyArray<Revocation>,
  crlUrl: string | undefined
): RevocationList => {
  const now = Date.now()
  const algorithm = sequence(objectId(signature.id), ...(signature.id.startsWith("1.2.840.113549") ? [der(0x05)] : []))
  const list = sequence(
    integer("01"),
    algorithm,
    issuerName,
    time(new Date(now - BACKDATED_MILLIS)),
    time(new Date(now + LIST_MILLIS)),
    ...(revocations.length === 0 ? [] : [sequence(...revocations.map(entry))]), // an empty one is not allowed
    der(
      0xa0,
      sequence(
        ...(keyId === undefined ? [] : [extension("2.5.29.35", sequence(der(0x80, keyId)))]),
        extension("2.5.29.20", integer(now.toString(16))),
        ...(crlUrl === undefined ? [] : [issuingDistributionPoint(crlUrl)])
      )
    )
  )
  const signed = sequence(list, algorithm, bits(sign(signature.digest, list, privateKey)))
  const base64 = signed.toString("base64").replaceAll(/.{64}(?=.)/g, "$&\n")
  return { pem: `-----BEGIN X509 CRL-----\n${base64}\n-----END X509 CRL-----\n`, der: signed }
}
