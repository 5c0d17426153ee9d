/**
 * The bridge with its TLS listener, and certificates to come with: of the installation, and wrong ones.
 */
import {
  CertificateAuthority,
  type Authority,
  openAuthority
} from "@argusiq/layers/certificates/CertificateAuthority.ts"
import { Certificates } from "@argusiq/layers/certificates/Certificates.ts"
import { makeKeys } from "@argusiq/layers/certificates/issue.ts"
import { randomSerial } from "@argusiq/layers/certificates/serial.ts"
import { x509 } from "@argusiq/layers/certificates/x509.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { TenantId } from "@argusiq/domain/ids.ts"
import { Devices } from "@argusiq/layers/registry/Devices.ts"
import { afterAll } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls"
import * as Support from "./support.ts"
import { Mqtt, RawClient, type TestDevice } from "./support.ts"

export interface Pair {
  /** PEM. */
  readonly cert: string
  readonly key: string
}

const directories: Array<string> = []
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true })
})

/** Settings with secrets of their own, removed when the tests of the file are through. */
export const withSecrets = () => {
  const directory = mkdtempSync(join(tmpdir(), "argusiq-secrets-"))
  directories.push(directory)
  return { MQTTS_PORT: "0", ARGUSIQ_SECRETS_DIR: directory }
}

export const certifiedBridge = (settings: Readonly<Record<string, string>> = withSecrets()) =>
  Certificates.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(CertificateAuthority.layer, Devices.layer)),
    Layer.provideMerge(Support.bridge(settings)),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(settings))),
    Layer.orDie
  )

let added = 0
/** A device of the first organization that no other test has. */
export const freshDevice = Effect.suspend(() => {
  const number = ++added
  const device: TestDevice = {
    id: `a0000000-0000-4000-8000-1${String(number).padStart(11, "0")}`,
    key: `key-certified-${number}`,
    externalId: `EXT-certified-${number}`,
    org: Support.orgA
  }
  return Effect.as(Support.addDevice(device), device)
})

const actorOf = (device: TestDevice) => ({ tenantId: TenantId.make(device.org), userId: undefined })

/** A fresh certificate of the device, in the place of what it has. */
export const certify = Effect.fnUntraced(function* (device: TestDevice, validityDays = 1) {
  const certificates = yield* Certificates
  const issued = yield* Effect.catchTag(
    certificates.renew(actorOf(device), device.id, { validityDays }),
    "WrongState",
    () => certificates.issue(actorOf(device), device.id, { validityDays })
  )
  return { cert: issued.certificate, key: issued.privateKey!, id: issued.id } satisfies Pair & { id: string }
})

export const revoke = (device: TestDevice) =>
  Effect.flatMap(Certificates, (certificates) => certificates.revoke(actorOf(device), device.id, "keyCompromise"))

/** A certificate of any kind, signed by an authority. Known: it stands in the table, as if it had been issued. */
export const forge = Effect.fnUntraced(function* (
  device: TestDevice,
  options: {
    readonly authority?: Authority
    readonly validFrom?: Date
    readonly validUntil?: Date
    readonly usage?: ReadonlyArray<x509.ExtendedKeyUsage>
    readonly known?: boolean
  } = {}
) {
  const authority = options.authority ?? (yield* CertificateAuthority)
  const { usage = [x509.ExtendedKeyUsage.clientAuth] } = options
  const { privateKey, publicKey } = yield* Effect.promise(makeKeys)
  const validFrom = options.validFrom ?? new Date(Date.now() - 86_400_000)
  const validUntil = options.validUntil ?? new Date(Date.now() + 86_400_000)
  const certificate = yield* Effect.promise(() =>
    x509.X509CertificateGenerator.create({
      serialNumber: randomSerial(),
      subject: `CN=${device.id}`,
      issuer: authority.certificate.subjectName,
      notBefore: validFrom,
      notAfter: validUntil,
      signingAlgorithm: authority.signingAlgorithm,
      publicKey,
      signingKey: authority.signingKey,
      extensions: usage.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension([...usage])]
    })
  )
  if (options.known === true) {
    const fingerprint = Buffer.from(yield* Effect.promise(() => certificate.getThumbprint("SHA-256"))).toString("hex")
    const sql = yield* OwnerSql
    yield* sql`update device_certificates set revoked_at = now() where device_id = ${device.id} and revoked_at is null`
    yield* sql`insert into device_certificates ${sql.insert({
      id: crypto.randomUUID(),
      tenant_id: device.org,
      device_id: device.id,
      serial_number: certificate.serialNumber,
      fingerprint,
      public_key_digest: fingerprint,
      certificate: certificate.toString("pem"),
      valid_from: validFrom,
      valid_until: validUntil,
      accepted_until: validUntil
    })}`
  }
  return { cert: certificate.toString("pem"), key: privateKey } satisfies Pair
})

/** Another installation's authority. */
export const strangeAuthority = Effect.suspend(() => {
  const settings = ConfigProvider.fromUnknown(withSecrets())
  return Effect.provide(openAuthority, ConfigProvider.layer(settings))
})

/** What TLS clients of the listener are configured with. */
export const tlsOptions = Effect.gen(function* () {
  const { chain } = yield* CertificateAuthority
  const { tlsPort } = yield* Mqtt
  return { host: "127.0.0.1", port: tlsPort!, servername: "localhost", ca: chain }
})

/** As {@link Support.client}, through TLS with a certificate and its id as client id. */
export const certifiedClient = Effect.fnUntraced(function* (
  device: TestDevice,
  pair: Partial<Pair>,
  options: Parameters<typeof Support.client>[1] = {}
) {
  const tls = yield* tlsOptions
  return yield* Support.client(device, {
    protocol: "mqtts",
    ...tls,
    ...pair,
    clientId: device.id,
    username: undefined as never,
    password: undefined as never,
    ...options
  })
})

/** A TLS socket that says what it likes. Fails as the handshake does. */
export const tlsClient = Effect.fnUntraced(function* (options: ConnectionOptions = {}) {
  const tls = yield* tlsOptions
  return yield* Effect.acquireRelease(
    Effect.callback<RawClient & { readonly socket: TLSSocket }, Error>((resume) => {
      const socket = connect({ ...tls, ...options })
      const client = new RawClient(socket)
      socket.once("secureConnect", () => resume(Effect.succeed(client as RawClient & { readonly socket: TLSSocket })))
      socket.once("error", (error) => resume(Effect.fail(error)))
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )
})
