/**
 * Makes certificates: of devices, as clients, and of MQTT listeners, as servers.
 * @module
 */
import { createPrivateKey, hash, webcrypto } from "node:crypto"
import { isIP } from "node:net"
import { type Authority } from "./CertificateAuthority.ts"
import { randomSerial } from "./serial.ts"
import { x509 } from "./x509.ts"

const DAY = 86_400_000
/** Clocks of those who judge it may be behind. */
const BACKDATED_MILLIS = 60_000

export interface Issued {
  readonly pem: string
  /** Hex. */
  readonly serialNumber: string
  /** SHA-256 of the certificate, hex. */
  readonly fingerprint: string
  /** SHA-256 of the public key, hex. */
  readonly publicKeyDigest: string
  readonly validFrom: Date
  readonly validUntil: Date
}

export const publicKeyDigestOf = (spki: ArrayBuffer | Uint8Array): string => hash("sha256", new Uint8Array(spki), "hex")

/** SHA-256 of a certificate's DER, hex, as certificates are found by. */
export const fingerprintOf = (der: Uint8Array): string => hash("sha256", der, "hex")

/** An EC P-256 key pair; the private key as PKCS #8 PEM. */
export const makeKeys = async () => {
  const keys = await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"])
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey))
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" })
  return { publicKey: keys.publicKey, privateKey: String(privateKey.export({ format: "pem", type: "pkcs8" })) }
}

const issue = async (
  authority: Authority,
  options: {
    readonly subject: string
    readonly publicKey: x509.PublicKeyType
    readonly days: number
    readonly names: x509.JsonGeneralNames
    readonly usage: x509.ExtendedKeyUsage
    readonly crlUrl?: string | undefined
  }
): Promise<Issued> => {
  const now = Date.now()
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: options.subject,
    issuer: authority.certificate.subjectName,
    notBefore: new Date(now - BACKDATED_MILLIS),
    notAfter: new Date(Math.min(now + options.days * DAY, authority.certificate.notAfter.getTime())),
    signingAlgorithm: authority.signingAlgorithm,
    publicKey: options.publicKey,
    signingKey: authority.signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([options.usage]),
      new x509.SubjectAlternativeNameExtension(options.names),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(options.publicKey),
      ...(options.crlUrl === undefined ? [] : [new x509.CRLDistributionPointsExtension([options.crlUrl])])
    ]
  })
  return {
    pem: `${certificate.toString("pem")}\n`,
    serialNumber: certificate.serialNumber.toLowerCase(),
    fingerprint: fingerprintOf(Buffer.from(certificate.rawData)),
    publicKeyDigest: publicKeyDigestOf(certificate.publicKey.rawData),
    validFrom: certificate.notBefore,
    validUntil: certificate.notAfter
  }
}

/** Common name: the device's id. It ends with the authority where that ends earlier. */
export const issueForDevice = (
  authority: Authority,
  options: {
    readonly deviceId: string
    readonly tenantId: string
    readonly publicKey: x509.PublicKeyType
    readonly days: number
    readonly crlUrl: string | undefined
  }
) =>
  issue(authority, {
    ...options,
    subject: `CN=${options.deviceId}`,
    names: [
      { type: "url", value: `urn:argusiq:organization:${options.tenantId}` },
      { type: "url", value: `urn:argusiq:device:${options.deviceId}` }
    ],
    usage: x509.ExtendedKeyUsage.clientAuth
  })

/** For the host names and addresses by which clients reach it. */
export const issueForServer = (
  authority: Authority,
  options: { readonly hosts: ReadonlyArray<string>; readonly publicKey: x509.PublicKeyType; readonly days: number }
) =>
  issue(authority, {
    ...options,
    subject: "CN=ArgusIQ MQTT",
    names: options.hosts.map((host) => ({ type: isIP(host) === 0 ? ("dns" as const) : ("ip" as const), value: host })),
    usage: x509.ExtendedKeyUsage.serverAuth
  })
