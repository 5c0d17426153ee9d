/**
 * What a broker asks about its clients: whether one may come in, and what it may publish and subscribe to.
 * @module
 */
import { certificateRefusals, judgeKnown } from "@argusiq/domain/certificate.ts"
import { parseTelemetryTopic } from "@argusiq/domain/bridge.ts"
import { BrokerAccess, BrokerLogin } from "@argusiq/domain/http/ingest.ts"
import { InvalidRequest } from "@argusiq/domain/http/problems.ts"
import {
  type MqttClient,
  type Permission,
  publishPermission,
  subscribePermission
} from "@argusiq/domain/mqtt-permission.ts"
import { isUuid } from "@argusiq/domain/uuid.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect, type Schema } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { X509Certificate } from "node:crypto"
import { nextReceivedAt } from "../Arrivals.ts"
import { type CertificateAnswer, judgeCertificate } from "../CertificateLogin.ts"
import { isNameOf, keyOwner } from "../DeviceLogin.ts"
import { answer, databaseAway } from "../http/refusal.ts"
import { Ingest } from "../Ingest.ts"
import { readCertificate } from "../mqtt/peerCertificate.ts"
import { type SecurityEvents } from "../SecurityEvents.ts"
import { webhookBody } from "./webhook-body.ts"

type Request = HttpServerRequest.HttpServerRequest

/** What a broker's template writes where it has nothing. */
const given = (word: string | null | undefined) =>
  word === null || word === undefined || word === "" || word === "undefined" ? undefined : word

const onlyOne = new InvalidRequest({ errors: [{ path: "", message: "must be one object" }] })
const one = <A>(schema: Schema.Decoder<A>) => {
  const read = webhookBody(schema)
  return Effect.fnUntraced(function* (request: Request) {
    const { budget } = yield* Ingest
    const { isArray, items } = yield* read(request, budget)
    const [item] = items
    return isArray || item === undefined ? yield* onlyOne : item
  })
}

/** PEM, base64 of PEM, or base64 of DER; undefined when it is none. */
const parseCertificate = (text: string): X509Certificate | undefined => {
  try {
    return new X509Certificate(text.includes("-----BEGIN") ? text : Buffer.from(text, "base64"))
  } catch {
    return undefined
  }
}

/** A broker has one connection of a client id, so it must not be another device's. */
const isOwnClientId = (clientId: string, { deviceId }: MqttClient) => {
  const lower = clientId.toLowerCase()
  return lower === deviceId || lower.startsWith(`${deviceId}-`)
}

/** By the name alone: the broker has verified the certificate, and which one it was is not known. */
const nameLogin = Effect.fnUntraced(function* (name: string) {
  const unknown: CertificateAnswer = { _tag: "Refused", refusal: "unknown", device: undefined }
  const deviceId = name.toLowerCase()
  if (!isUuid(deviceId)) return unknown
  const profiles = yield* Profiles
  const device = (yield* profiles.devices([deviceId])).get(deviceId)
  if (device === undefined) return unknown
  const { tenantId } = device
  const sender = { deviceId, tenantId }
  const revoked = !(yield* profiles.isCertified(deviceId))
  const refusal = judgeKnown({ ...sender, revoked, acceptedUntil: Infinity }, device, Date.now())
  return refusal === undefined ? sender : ({ _tag: "Refused", refusal, device: sender } satisfies CertificateAnswer)
})

interface Admitted {
  readonly sender: MqttClient
  readonly expiresAt?: number
}

/** "unknown": it does not even say that it is a device. */
const admit = Effect.fnUntraced(function* (login: typeof BrokerLogin.Type, events: SecurityEvents) {
  const username = given(login.username)
  const password = given(login.password)
  const tell = (device: MqttClient | undefined, words: string) => {
    if (device === undefined) return
    const message = `A client at ${given(login.peerhost) ?? "an unknown address"} of the external broker ${words} (device ${device.deviceId}). It was refused.`
    events.noteCertificate(device, message, nextReceivedAt())
  }
  const pem = given(login.cert_pem)
  const commonName = given(login.cert_common_name)
  let admitted: Admitted | undefined
  if (pem !== undefined) {
    const parsed = parseCertificate(pem)
    if (parsed === undefined) return undefined
    // What the platform knows by its fingerprint its authority has signed.
    const judged = yield* judgeCertificate(readCertificate(parsed, undefined))
    if (judged._tag === "Refused") return void tell(judged.device, certificateRefusals[judged.refusal])
    admitted = { sender: judged.sender, expiresAt: judged.owner.acceptedUntil }
  } else if (commonName !== undefined) {
    const judged = yield* nameLogin(commonName)
    if ("_tag" in judged)
      return void (judged._tag === "Refused" && tell(judged.device, certificateRefusals[judged.refusal]))
    admitted = { sender: judged }
  }
  const owner = password === undefined ? undefined : yield* keyOwner(password)
  if (admitted === undefined) {
    if (owner === undefined) return isUuid(username ?? "") ? undefined : "unknown"
    if (username === undefined) return undefined
    admitted = { sender: { deviceId: owner.deviceId, tenantId: owner.tenantId } }
  } else if (password !== undefined && owner?.deviceId !== admitted.sender.deviceId) return undefined
  const { sender } = admitted
  if (username !== undefined && !(yield* isNameOf(sender, username))) return undefined
  if (!isOwnClientId(login.clientid, sender)) return void tell(sender, certificateRefusals.clientId)
  return admitted
})

const readLogin = one(BrokerLogin)
export const makeLogin = (events: SecurityEvents) =>
  Effect.fnUntraced(
    function* (request: Request) {
      const admitted = yield* admit(yield* readLogin(request), events)
      if (admitted === undefined || admitted === "unknown") {
        const result = admitted === undefined ? "deny" : "ignore"
        return HttpServerResponse.jsonUnsafe({ result, is_superuser: false })
      }
      const { expiresAt, sender } = admitted
      return HttpServerResponse.jsonUnsafe({
        result: "allow",
        is_superuser: false,
        client_attrs: { device_id: sender.deviceId, organization_id: sender.tenantId },
        ...(expiresAt !== undefined && { expire_at: Math.floor(expiresAt / 1000) })
      })
    },
    Effect.scoped,
    Effect.catchTag(["DatabaseUnavailable", "CacheUnavailable"], () => databaseAway),
    Effect.catch(answer)
  )

const permissionOf = Effect.fnUntraced(function* (sender: MqttClient, { action, topic }: typeof BrokerAccess.Type) {
  if (action === "subscribe") return subscribePermission(sender, topic)
  const address = parseTelemetryTopic(topic)
  if (address._tag !== "ByExternalId") return publishPermission(sender, address)
  const addressed = yield* (yield* Profiles).byExternalId(address.organizationId, address.externalId)
  return publishPermission(sender, address, addressed)
})

const readAccess = one(BrokerAccess)
export const makeAccess = (events: SecurityEvents) =>
  Effect.fnUntraced(
    function* (request: Request) {
      const asked = yield* readAccess(request)
      const deviceId = (given(asked.device_id) ?? given(asked.username) ?? "").toLowerCase()
      const device = isUuid(deviceId) ? (yield* (yield* Profiles).devices([deviceId])).get(deviceId) : undefined
      if (device === undefined) return HttpServerResponse.jsonUnsafe({ result: "ignore" })
      const sender = { deviceId, tenantId: device.tenantId }
      const permission: Permission =
        device.status === "decommissioned"
          ? { _tag: "Refused", message: `Device ${deviceId} is decommissioned.` }
          : yield* permissionOf(sender, asked)
      if (permission._tag === "Allowed") return HttpServerResponse.jsonUnsafe({ result: "allow" })
      if (asked.action === "subscribe" || parseTelemetryTopic(asked.topic)._tag !== "Invalid") {
        events.note(
          deviceId,
          device.tenantId,
          `${permission.message} The external broker refused it.`,
          nextReceivedAt()
        )
      }
      return HttpServerResponse.jsonUnsafe({ result: "deny" })
    },
    Effect.scoped,
    Effect.catchTag(["DatabaseUnavailable", "CacheUnavailable"], () => databaseAway),
    Effect.catch(answer)
  )
