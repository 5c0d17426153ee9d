/**
 * A device proves who it is with its API key or with its certificate. Keys are random, so they are found by their SHA-256 and
 * nothing about a wrong one is compared in a time that would tell.
 * @module
 */
import { judgeKnown } from "@argusiq/domain/certificate.ts"
import { type ApiKeyOwner, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { isUuid } from "@argusiq/domain/uuid.ts"
import { Effect } from "effect"
import { hash } from "node:crypto"

const MAX_KEY_BYTES = 512

const hashOf = (key: string | Uint8Array) => hash("sha256", key, "hex")

/** Whom a key belongs to; undefined when to nobody. */
export const keyOwner = Effect.fnUntraced(function* (key: string | Uint8Array) {
  if (key.length === 0 || key.length > MAX_KEY_BYTES) return undefined
  const profiles = yield* Profiles
  return yield* profiles.apiKey(hashOf(key))
})

/** What a device has proved its identity with: enough to ask again whether that still holds. */
export type Credential =
  /** SHA-256, hex. */
  | { readonly _tag: "ApiKey"; readonly hash: string }
  /** SHA-256 of the certificate, hex. */
  | { readonly _tag: "Certificate"; readonly fingerprint: string; readonly validUntil: number }
export const credentialOf = (key: string | Uint8Array): Credential => ({ _tag: "ApiKey", hash: hashOf(key) })

/** Whether a credential still proves to be this device's. */
export const stillProves = Effect.fnUntraced(function* (
  credential: Credential,
  device: Pick<DeviceProfile, "deviceId" | "status" | "tenantId">
) {
  const profiles = yield* Profiles
  if (credential._tag === "ApiKey") return (yield* profiles.apiKey(credential.hash))?.deviceId === device.deviceId
  const known = yield* profiles.certificate(credential.fingerprint)
  const now = Date.now()
  return (
    credential.validUntil > now && known?.deviceId === device.deviceId && judgeKnown(known, device, now) === undefined
  )
})

/** Whether a name, a device id or an external id, is that of the key's device. */
export const isNameOf = Effect.fnUntraced(function* (owner: Pick<ApiKeyOwner, "deviceId" | "tenantId">, name: string) {
  if (isUuid(name)) return name.toLowerCase() === owner.deviceId
  const profiles = yield* Profiles
  return (yield* profiles.byExternalId(owner.tenantId, name)) === owner.deviceId
})
