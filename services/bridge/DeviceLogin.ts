/**
 * A device proves who it is with its API key. Keys are random, so they are found by their SHA-256 and nothing about a wrong
 * one is compared in a time that would tell.
 * @module
 */
import { type ApiKeyOwner, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
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
export interface Credential {
  readonly _tag: "ApiKey"
  /** SHA-256, hex. */
  readonly hash: string
}
export const credentialOf = (key: string | Uint8Array): Credential => ({ _tag: "ApiKey", hash: hashOf(key) })

/** Whether a credential still proves to be this device's. */
export const stillProves = Effect.fnUntraced(function* ({ hash }: Credential, deviceId: string) {
  const profiles = yield* Profiles
  return (yield* profiles.apiKey(hash))?.deviceId === deviceId
})

/** Whether a name, a device id or an external id, is that of the key's device. */
export const isNameOf = Effect.fnUntraced(function* (owner: Pick<ApiKeyOwner, "deviceId" | "tenantId">, name: string) {
  if (isUuid(name)) return name.toLowerCase() === owner.deviceId
  const profiles = yield* Profiles
  return (yield* profiles.byExternalId(owner.tenantId, name)) === owner.deviceId
})
