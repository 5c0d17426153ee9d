/**
 * A device that shows a certificate: whether it may come in, at its handshake and once more when it says who it is.
 * @module
 */
import { type CertificateRefusal, judgeKnown, judgeShown } from "@argusiq/domain/certificate.ts"
import { type MqttClient } from "@argusiq/domain/mqtt-permission.ts"
import { type CertificateOwner, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect } from "effect"
import { type Credential, isNameOf, keyOwner } from "./DeviceLogin.ts"
import { type PeerCertificate } from "./mqtt/peerCertificate.ts"

export type CertificateAnswer =
  | {
      readonly _tag: "Accepted"
      readonly sender: MqttClient
      readonly credential: Credential
      readonly owner: CertificateOwner
    }
  /** `device`: whom it concerns, where that is known. */
  | { readonly _tag: "Refused"; readonly refusal: CertificateRefusal; readonly device: MqttClient | undefined }

const refused = (refusal: CertificateRefusal, device: MqttClient | undefined): CertificateAnswer => ({
  _tag: "Refused",
  refusal,
  device
})

/** Whom a refused certificate names, so that the organization hears of it. */
const claimed = Effect.fnUntraced(function* (deviceId: string | undefined) {
  if (deviceId === undefined) return undefined
  const device = (yield* (yield* Profiles).devices([deviceId])).get(deviceId)
  return device === undefined ? undefined : { deviceId: device.deviceId, tenantId: device.tenantId }
})

/** What is judged at the handshake, and again at CONNECT: chain, dates, use, revocation, and the device's status. */
export const judgeCertificate = Effect.fnUntraced(function* (certificate: PeerCertificate | undefined) {
  if (certificate === undefined) return refused("none", undefined)
  const profiles = yield* Profiles
  const now = Date.now()
  const shown = judgeShown(certificate, now)
  // Of a chain that does not hold nothing is known, whatever its fingerprint.
  const owner = certificate.chainFault === undefined ? yield* profiles.certificate(certificate.fingerprint) : undefined
  if (shown !== undefined) return refused(shown, owner ?? (yield* claimed(certificate.namedDevice)))
  const device = owner === undefined ? undefined : (yield* profiles.devices([owner.deviceId])).get(owner.deviceId)
  const refusal = judgeKnown(owner, device, now)
  if (refusal !== undefined || owner === undefined) {
    return refused(refusal ?? "unknown", owner ?? (yield* claimed(certificate.namedDevice)))
  }
  const { deviceId, tenantId } = owner
  const { fingerprint, validUntil } = certificate
  const accepted: CertificateAnswer = {
    _tag: "Accepted",
    sender: { deviceId, tenantId },
    credential: { _tag: "Certificate", fingerprint, validUntil },
    owner
  }
  return accepted
})

/** What a client says of itself besides its certificate; undefined: nothing. */
export interface ClientNames {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: string | Uint8Array | undefined
}

/** {@link judgeCertificate}, and whether the names are the device's own. Its id or its external id is the client id. */
export const certificateLogin = Effect.fnUntraced(function* (certificate: PeerCertificate, names: ClientNames) {
  const answer = yield* judgeCertificate(certificate)
  if (answer._tag === "Refused") return answer
  const { sender } = answer
  if (!(yield* isNameOf(sender, names.clientId))) return refused("clientId", sender)
  if (names.username !== undefined && names.username !== "" && !(yield* isNameOf(sender, names.username))) {
    return refused("username", sender)
  }
  if (names.password !== undefined && names.password.length > 0) {
    if ((yield* keyOwner(names.password))?.deviceId !== sender.deviceId) return refused("password", sender)
  }
  return answer
})
