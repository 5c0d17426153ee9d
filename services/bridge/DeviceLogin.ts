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

/** Whom a key belongs to; undefined when to nobody. */
export const keyOwner = Effect.fnUntraced(function* (key: string | Uint8Array) {
  if (key.length === 0 || key.length > MAX_KEY_BYTES) return undefined
  const profiles = yield* Profiles
  return yield* profiles.apiKey(hash("sha256", key, "hex"))
})

/** Whether a name, a device id or an external id, is that of the key's device. */
export const isNameOf = Effect.fnUntraced(function* (owner: Pick<ApiKeyOwner, "deviceId" | "tenantId">, name: string) {
  if (isUuid(name)) return name.toLowerCase() === owner.deviceId
  const profiles = yield* Profiles
  return (yield* profiles.byExternalId(owner.tenantId, name)) === owner.deviceId
})
