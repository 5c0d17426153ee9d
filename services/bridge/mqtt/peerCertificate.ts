/**
 * The certificate that a client has shown in its TLS handshake, read anew for each connection: a resumed session brings the
 * one that it was begun with.
 * @module
 */
import { namedDevice, type ShownCertificate } from "@argusiq/domain/certificate.ts"
import { type X509Certificate } from "node:crypto"
import { type TLSSocket } from "node:tls"

export interface PeerCertificate extends ShownCertificate {
  /** SHA-256, hex. */
  readonly fingerprint: string
  /** Whom its subject names, whoever has signed it. */
  readonly namedDevice: string | undefined
}

export const readCertificate = (certificate: X509Certificate, chainFault: string | undefined): PeerCertificate => ({
  fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
  namedDevice: namedDevice(certificate.subject),
  validFrom: certificate.validFromDate.getTime(),
  validUntil: certificate.validToDate.getTime(),
  extendedKeyUsage: certificate.keyUsage,
  chainFault
})

/** Undefined: it showed none. */
export const peerCertificateOf = (socket: TLSSocket): PeerCertificate | undefined => {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return undefined
  return readCertificate(
    certificate,
    socket.authorized ? undefined : String(socket.authorizationError ?? "not verified")
  )
}
