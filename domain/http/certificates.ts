/**
 * Certificates of devices, and what brokers and devices need of the authority: its certificate and its revocation list.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { certificateStates, MOST_VALIDITY_DAYS } from "../certificate.ts"
import { DeviceId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Conflict, InternalFault, InvalidRequest, NotFound, Unavailable, Unprocessable } from "./problems.ts"
import { Cursor, idParams, IsoInstant, label, limit, page } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const ValidityDays = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: MOST_VALIDITY_DAYS })).annotate({
  description: "Days until it ends, 1 to 365; 365 unless told"
})

export const Certificate = Schema.Struct({
  id: Uuid,
  deviceId: DeviceId,
  serialNumber: Schema.String, // hexadecimal
  fingerprint: Schema.String, // SHA-256, hexadecimal
  state: Schema.Literals(certificateStates).annotate({
    description: "pending: the device has not logged in with it yet; renewed: accepted until acceptedUntil"
  }),
  certificate: Schema.String, // PEM
  validFrom: IsoInstant,
  validUntil: IsoInstant,
  acceptedUntil: IsoInstant, // validUntil, or the end of the overlap once it is renewed
  replacedBy: Schema.NullOr(Uuid),
  revokedAt: Schema.NullOr(IsoInstant),
  revokedReason: Schema.NullOr(Schema.String),
  firstUsedAt: Schema.NullOr(IsoInstant),
  createdAt: IsoInstant
}).annotate({ identifier: "Certificate" })
export type Certificate = typeof Certificate.Type

/** `privateKey` and the download are there where the platform has made the key: this once. */
export const IssuedCertificate = Schema.Struct({
  ...Certificate.fields,
  privateKey: Schema.optionalKey(Schema.String.annotate({ description: "PEM (PKCS #8), shown this once" })),
  caCertificate: Schema.String, // PEM
  downloadUrl: Schema.optionalKey(
    Schema.String.annotate({
      description:
        "A zip with device.crt, device.key, ca.crt and config.json: once, within 15 minutes, by whoever has the address"
    })
  ),
  downloadExpiresAt: Schema.optionalKey(IsoInstant)
}).annotate({ identifier: "IssuedCertificate" })
export type IssuedCertificate = typeof IssuedCertificate.Type

export const CertificateOptions = Schema.Struct({
  validityDays: Schema.optionalKey(ValidityDays),
  csr: Schema.optionalKey(
    Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(16_384)).annotate({
      description: "A certificate signing request (PKCS #10, PEM): its key is certified, the names it asks for are not"
    })
  )
}).annotate({ identifier: "CertificateOptions", examples: [{ validityDays: 90 }] })
export type CertificateOptions = typeof CertificateOptions.Type

const options = [CertificateOptions, Schema.Undefined] as const // no body: 365 days, the platform makes the key

export const Revocation = Schema.Struct({ reason: label(200) }).annotate({
  identifier: "CertificateRevocation",
  examples: [{ reason: "keyCompromise" }]
})
export const Revoked = Schema.Struct({ success: Schema.Literal(true), revokedAt: IsoInstant }).annotate({
  identifier: "CertificateRevoked"
})

export const CertificateQuery = Schema.Struct({
  limit: Schema.optionalKey(limit(500)),
  cursor: Schema.optionalKey(Cursor),
  sort: Schema.optionalKey(Schema.Literals(["createdAt", "-createdAt", "validUntil", "-validUntil"])), // by validUntil unless told
  deviceId: Schema.optionalKey(DeviceId),
  state: Schema.optionalKey(Schema.Literals(certificateStates)),
  expiringInDays: Schema.optionalKey(
    Schema.FiniteFromString.pipe(
      Schema.decodeTo(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3_650 })))
    ).annotate({
      description: "Those in force that end within so many days"
    })
  )
})
export type CertificateQuery = typeof CertificateQuery.Type

const issuing = [NotFound, Conflict, Unprocessable] as const
const issued = IssuedCertificate.pipe(HttpApiSchema.status(201))

export class CertificatesApi extends HttpApiGroup.make("certificates")
  .add(
    HttpApiEndpoint.get("list", "/certificates", {
      query: CertificateQuery.fields,
      success: page(Certificate, "CertificatePage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "certificates:read")
      .annotate(OpenApi.Summary, "Certificates of devices, page by page, those that end first before the others"),
    HttpApiEndpoint.get("get", "/devices/:id/certificate", { params: idParams, success: Certificate, error: NotFound })
      .annotate(RequiredPermission, "certificates:read")
      .annotate(OpenApi.Summary, "The newest certificate of a device"),
    HttpApiEndpoint.post("issue", "/devices/:id/certificate", {
      params: idParams,
      payload: options,
      success: issued,
      error: issuing
    })
      .annotate(RequiredPermission, "certificates:write")
      .annotate(OpenApi.Summary, "Make a device's certificate; the private key is shown once, here")
      .annotate(
        OpenApi.Description,
        "With a signing request the key never leaves the device, and the same request again answers with the same " +
          "certificate. 409 where the device has a certificate: renew or revoke that one."
      ),
    HttpApiEndpoint.post("renew", "/devices/:id/certificate/renew", {
      params: idParams,
      payload: options,
      success: issued,
      error: issuing
    })
      .annotate(RequiredPermission, "certificates:write")
      .annotate(
        OpenApi.Summary,
        "Make the next certificate; the one before is accepted for 7 more days, at most until its end"
      ),
    HttpApiEndpoint.post("revoke", "/devices/:id/certificate/revoke", {
      params: idParams,
      payload: Revocation,
      success: Revoked,
      error: NotFound
    })
      .annotate(RequiredPermission, "certificates:write")
      .annotate(
        OpenApi.Summary,
        "End a device's certificates at once, also those that were renewed; its connections close"
      ),
    HttpApiEndpoint.delete("remove", "/devices/:id/certificate", {
      params: idParams,
      success: Revoked,
      error: NotFound
    })
      .annotate(RequiredPermission, "certificates:write")
      .annotate(OpenApi.Summary, "The same as revoke, without a reason")
  )
  .prefix("/api/v1")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}

const file = (contentType: string) => HttpApiSchema.asUint8Array({ contentType })(Schema.Uint8Array)
const pemFile = file("application/x-pem-file")
const faults = [InternalFault, Unavailable] as const
const list = { success: pemFile, error: faults } as const
const aboutList =
  "The certificate revocation list, signed by the authority: what brokers refuse. Good for a day; at most 2 seconds old."

/** Open to everybody: nothing in it is secret but the download, whose address is the secret. */
export class CertificateFilesApi extends HttpApiGroup.make("certificateFiles")
  .add(
    HttpApiEndpoint.get("revocationList", "/crl.pem", list).annotate(OpenApi.Summary, aboutList),
    HttpApiEndpoint.get("revocationListBelow", "/api/v1/crl.pem", list).annotate(OpenApi.Summary, aboutList),
    HttpApiEndpoint.get("revocationListDer", "/api/v1/crl.der", {
      success: file("application/pkix-crl"),
      error: faults
    }).annotate(OpenApi.Summary, "The same in DER"),
    HttpApiEndpoint.get("authority", "/api/v1/ca.pem", { success: pemFile, error: faults }).annotate(
      OpenApi.Summary,
      "The certificate of the authority, which devices and brokers trust"
    ),
    HttpApiEndpoint.get("download", "/api/v1/devices/:id/certificate/download", {
      params: idParams,
      query: { token: Schema.String.check(Schema.isMaxLength(100)) },
      success: file("application/zip"),
      error: [NotFound, InvalidRequest]
    }).annotate(
      OpenApi.Summary,
      "The zip of a certificate and its key, once and within 15 minutes: 404 from then on, as for a wrong token"
    )
  )
  .middleware(ReadableRequest) {}
