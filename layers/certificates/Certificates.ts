/**
 * The certificates of an organization's devices: made, renewed, revoked, listed. Every operation sees one tenant.
 * @module
 */
import { DOWNLOAD_MINUTES, MOST_VALIDITY_DAYS, overlapEnd } from "@argusiq/domain/certificate.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type Certificate,
  type CertificateOptions,
  type CertificateQuery,
  type IssuedCertificate
} from "@argusiq/domain/http/certificates.ts"
import { type Device, type NewDevice } from "@argusiq/domain/http/devices.ts"
import { Config, Context, Effect, Layer, Result } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { hash, randomBytes } from "node:crypto"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor, Devices } from "../registry/Devices.ts"
import { newId } from "../registry/newId.ts"
import { type Page, readPage } from "../registry/paging.ts"
import {
  type BadCursor,
  NotRegistered,
  NotValid,
  orRefusal,
  orUnavailable,
  type WriteRefusal,
  WrongState
} from "../registry/refusals.ts"
import { type Bundle, zipOf } from "./bundle.ts"
import { CertificateAuthority } from "./CertificateAuthority.ts"
import { certificateColumns, type CertificateRow, inState, toCertificate } from "./certificateRow.ts"
import { issueForDevice, makeKeys } from "./issue.ts"
import { readRequest } from "./request.ts"
import { sealingSecret, sealingWith } from "./sealing.ts"
import { crlUrl, mqttsHosts, mqttsPort } from "./settings.ts"

const USUAL_PORT = 8883
const settings = Config.all({ crlUrl, hosts: mqttsHosts, port: mqttsPort })
/** What seals of downloads are for. */
const PURPOSE = "certificate-bundle"
const tokenHash = (token: string) => hash("sha256", token, "hex")

const refuseCsr = (message: string) => new NotValid({ faults: [{ path: "csr", message }] })

type Refusal = NotRegistered | NotValid | WrongState | WriteRefusal

export class Certificates extends Context.Service<
  Certificates,
  {
    list(actor: Actor, query: CertificateQuery): Effect.Effect<Page<Certificate>, BadCursor | DatabaseUnavailable>
    /** The newest one of a device. */
    get(actor: Actor, deviceId: string): Effect.Effect<Certificate, NotRegistered | DatabaseUnavailable>
    /** Refused where the device has one, unless that is for the key of the same request. */
    issue(actor: Actor, deviceId: string, options: CertificateOptions): Effect.Effect<IssuedCertificate, Refusal>
    /** A device and its certificate, or neither. */
    issueWithDevice(
      actor: Actor,
      device: NewDevice,
      validityDays: number
    ): Effect.Effect<{ readonly device: Device; readonly certificate: IssuedCertificate }, Refusal>
    /** The next one; the one before goes on for the overlap. The same request again gives the same certificate. */
    renew(actor: Actor, deviceId: string, options: CertificateOptions): Effect.Effect<IssuedCertificate, Refusal>
    /** Ends all that the device has. Again: answers when that was. `reason`: a name of RFC 5280, or any text. */
    revoke(
      actor: Actor,
      deviceId: string,
      reason: string
    ): Effect.Effect<{ readonly revokedAt: string }, NotRegistered | DatabaseUnavailable>
    /** The zip behind a token: once. */
    download(deviceId: string, token: string): Effect.Effect<Uint8Array, NotRegistered | DatabaseUnavailable>
  }
>()("argusiq/layers/certificates/Certificates") {
  static readonly layer = Layer.effect(
    Certificates,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const authority = yield* CertificateAuthority
      const devices = yield* Devices
      const { crlUrl, hosts, port } = yield* settings
      const sealing = sealingWith(yield* sealingSecret, PURPOSE)
      const scoped = inTenantOf(sql)
      const columns = sql.literal(certificateColumns)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) =>
        sql<CertificateRow>`select ${columns}, ${sorted} as sorted from device_certificates item where ${where} ${rest}`
      const newestFirst = sql.literal("order by item.created_at desc, item.id desc")
      const unsorted = sql.literal("''")
      const ofDevice = (deviceId: string) => select(sql`item.device_id = ${deviceId}::uuid`, newestFirst, unsorted)

      /** Locked, so that of two who issue at the same time one comes after the other. */
      const lockDevice = Effect.fnUntraced(function* (deviceId: string) {
        const [device] = yield* sql<{ status: Device["status"] }>`
          select status from devices where id = ${deviceId}::uuid for update`
        if (device === undefined) return yield* new NotRegistered({ what: "device" })
        if (device.status === "decommissioned") {
          return yield* new WrongState({ message: "A decommissioned device has no certificate: add a new device." })
        }
      })

      const shown = (row: CertificateRow): IssuedCertificate => ({
        ...toCertificate(Date.now())(row),
        caCertificate: authority.chain
      })

      /** The key to certify: that of the request, or one made here. `known`: rows that have the request's key. */
      const keyOf = Effect.fnUntraced(function* (csr: string | undefined) {
        if (csr === undefined) {
          const { privateKey, publicKey } = yield* Effect.promise(makeKeys)
          return { publicKey, privateKey, known: [] as ReadonlyArray<CertificateRow> }
        }
        const read = yield* Effect.promise(() => readRequest(csr))
        if (Result.isFailure(read)) return yield* refuseCsr(read.failure)
        const { digest, publicKey } = read.success
        const known = yield* select(sql`item.public_key_digest = ${digest}`, newestFirst, unsorted)
        return { publicKey, privateKey: undefined, known }
      })

      const store = Effect.fnUntraced(function* (
        actor: Actor,
        deviceId: string,
        validityDays: number,
        key: Effect.Success<ReturnType<typeof keyOf>>,
        replaces: ReadonlyArray<CertificateRow>
      ) {
        const id = newId()
        const issued = yield* Effect.promise(() =>
          issueForDevice(authority, {
            deviceId,
            tenantId: actor.tenantId,
            publicKey: key.publicKey,
            days: validityDays,
            crlUrl
          })
        )
        const now = Date.now()
        for (const before of replaces) {
          yield* sql`update device_certificates set renewed_at = now(), replaced_by = ${id}::uuid,
              accepted_until = ${new Date(overlapEnd(before.valid_until.getTime(), now))}
            where id = ${before.id}::uuid`
        }
        yield* sql`insert into device_certificates ${sql.insert({
          id,
          tenant_id: actor.tenantId,
          device_id: deviceId,
          serial_number: issued.serialNumber,
          fingerprint: issued.fingerprint,
          public_key_digest: issued.publicKeyDigest,
          certificate: issued.pem,
          valid_from: issued.validFrom,
          valid_until: issued.validUntil,
          accepted_until: issued.validUntil,
          created_by: actor.userId ?? null
        })}`
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), unsorted)
        const answer = shown(row!)
        if (key.privateKey === undefined) return answer
        return { ...answer, ...(yield* keepDownload(actor, answer, key.privateKey)), privateKey: key.privateKey }
      })

      const keepDownload = Effect.fnUntraced(function* (actor: Actor, issued: IssuedCertificate, privateKey: string) {
        const bundle: Bundle = {
          deviceId: issued.deviceId,
          tenantId: actor.tenantId,
          certificate: issued.certificate,
          privateKey,
          caCertificate: issued.caCertificate,
          validUntil: issued.validUntil,
          host: hosts[0],
          port: typeof port === "number" && port > 0 ? port : USUAL_PORT
        }
        const token = randomBytes(32).toString("base64url")
        const [row] = yield* sql<{ expires_at: Date }>`
          insert into certificate_bundles (certificate_id, tenant_id, device_id, token_hash, sealed, expires_at)
          values (${issued.id}::uuid, ${actor.tenantId}::uuid, ${issued.deviceId}::uuid, ${tokenHash(token)},
            ${sealing.seal(zipOf(bundle), issued.id)}, now() + ${DOWNLOAD_MINUTES}::int * interval '1 minute')
          returning expires_at`
        return {
          downloadUrl: `/api/v1/devices/${issued.deviceId}/certificate/download?token=${token}`,
          downloadExpiresAt: (row?.expires_at ?? new Date(0)).toISOString()
        }
      })

      /** A key is one device's, and a revoked one nobody's. */
      const refuseForeignKey = Effect.fnUntraced(function* (deviceId: string, known: ReadonlyArray<CertificateRow>) {
        if (known.some((row) => row.device_id !== deviceId)) {
          return yield* refuseCsr("is for a key that another device has: each device has a key of its own")
        }
        if (known.some((row) => row.revoked_at !== null)) {
          return yield* refuseCsr("is for a key whose certificate was revoked: make another key")
        }
      })

      const issuing = (
        actor: Actor,
        deviceId: string,
        { csr, validityDays = MOST_VALIDITY_DAYS }: CertificateOptions,
        renews: boolean
      ) =>
        Effect.gen(function* () {
          yield* lockDevice(deviceId)
          const key = yield* keyOf(csr)
          yield* refuseForeignKey(deviceId, key.known)
          const [current] = (yield* ofDevice(deviceId)).filter(isOpen)
          const repeated = key.known.find((row) => isOpen(row) && !hasEnded(row))
          if (renews && current === undefined) {
            return yield* new WrongState({ message: "The device has no certificate to renew: issue one." })
          }
          // A request that comes again, since its answer was lost; a device that renews keeps its key where it likes to.
          const isAgain = repeated !== undefined && (!renews || isFresh(repeated))
          if (isAgain) return shown(repeated)
          if (!renews && current !== undefined && !hasEnded(current)) {
            return yield* new WrongState({
              message: `The device has a certificate until ${current.valid_until.toISOString()}: renew or revoke that one.`
            })
          }
          return yield* store(actor, deviceId, validityDays, key, current === undefined ? [] : [current])
        })

      const list = Effect.fn("Certificates.list")(function* (actor: Actor, query: CertificateQuery) {
        const { deviceId, expiringInDays, sort = "validUntil", state } = query
        const filters: Array<Fragment> = []
        if (deviceId !== undefined) filters.push(sql`item.device_id = ${deviceId}::uuid`)
        if (state !== undefined) filters.push(sql.literal(`(${inState[state]})`))
        if (expiringInDays !== undefined) {
          filters.push(sql`item.revoked_at is null and item.replaced_by is null and item.valid_until > now()
            and item.valid_until <= now() + ${expiringInDays}::int * interval '1 day'`)
        }
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, { ...query, sort }, filters, found, toCertificate(Date.now()))
      })

      const get = Effect.fn("Certificates.get")((actor: Actor, deviceId: string) =>
        Effect.gen(function* () {
          const [row] = yield* ofDevice(deviceId)
          if (row === undefined) return yield* new NotRegistered({ what: "certificate" })
          return toCertificate(Date.now())(row)
        }).pipe(scoped(actor), orUnavailable)
      )

      const issue = Effect.fn("Certificates.issue")((actor: Actor, deviceId: string, options: CertificateOptions) =>
        issuing(actor, deviceId, options, false).pipe(scoped(actor), orRefusal)
      )
      const renew = Effect.fn("Certificates.renew")((actor: Actor, deviceId: string, options: CertificateOptions) =>
        issuing(actor, deviceId, options, true).pipe(scoped(actor), orRefusal)
      )

      const issueWithDevice = Effect.fn("Certificates.issueWithDevice")(
        (actor: Actor, newDevice: NewDevice, validityDays: number) =>
          Effect.gen(function* () {
            const device = yield* devices.create(actor, newDevice)
            return { device, certificate: yield* issuing(actor, device.id, { validityDays }, false) }
          }).pipe(scoped(actor), orRefusal)
      )

      const revoke = Effect.fn("Certificates.revoke")((actor: Actor, deviceId: string, reason: string) =>
        Effect.gen(function* () {
          const rows = yield* ofDevice(deviceId)
          if (rows.length === 0) return yield* new NotRegistered({ what: "certificate" })
          yield* sql`update device_certificates set revoked_at = now(), revoked_reason = ${reason}
            where device_id = ${deviceId}::uuid and revoked_at is null`
          yield* sql`update certificate_bundles set sealed = null where device_id = ${deviceId}::uuid`
          const [last] = yield* sql<{ at: Date }>`
            select max(revoked_at) as at from device_certificates where device_id = ${deviceId}::uuid`
          return { revokedAt: (last?.at ?? new Date(0)).toISOString() }
        }).pipe(scoped(actor), orUnavailable)
      )

      const download = Effect.fn("Certificates.download")((deviceId: string, token: string) =>
        Effect.gen(function* () {
          const [taken] = yield* sql<{ certificate_id: string; sealed: Uint8Array }>`
            select certificate_id, sealed from take_certificate_bundle(${deviceId}::uuid, ${tokenHash(token)})`
          const zip = taken === undefined ? undefined : sealing.open(taken.sealed, taken.certificate_id)
          if (zip === undefined) return yield* new NotRegistered({ what: "download" })
          return zip
        }).pipe(orUnavailable)
      )

      return Certificates.of({ list, get, issue, issueWithDevice, renew, revoke, download })
    })
  )
}

const isOpen = ({ revoked_at, replaced_by }: CertificateRow) => revoked_at === null && replaced_by === null
const hasEnded = ({ valid_until }: CertificateRow) => valid_until.getTime() <= Date.now()

/** So long after it was made a renewal's request that comes again is the same renewal. */
const SAME_RENEWAL_MILLIS = 86_400_000
const isFresh = ({ created_at }: CertificateRow) => Date.now() - created_at.getTime() < SAME_RENEWAL_MILLIS
