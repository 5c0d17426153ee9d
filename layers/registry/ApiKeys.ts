/**
 * The API keys of devices. A key is 32 random bytes behind a recognisable beginning; only its SHA-256 is stored.
 * @module
 */
import { hash, randomBytes } from "node:crypto"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type ApiKey, type NewApiKey } from "@argusiq/domain/http/devices.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { Clock, Context, Effect, Layer } from "effect"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { isoOrNull } from "./deviceRow.ts"
import { type Actor } from "./Devices.ts"
import { newId } from "./newId.ts"
import { BadReference, NotRegistered, orRefusal, orUnavailable, type WriteRefusal, WrongState } from "./refusals.ts"

const beginning = "argusiq_"
const prefixLength = beginning.length + 6

/** What is stored of a key, and by what it is found: SHA-256, hex. */
export const apiKeyHash = (key: string): string => hash("sha256", key, "hex")

export const makeApiKey = () => {
  const key = beginning + randomBytes(32).toString("base64url")
  return { id: newId(), key, prefix: key.slice(0, prefixLength), hash: apiKeyHash(key) }
}

export class ApiKeys extends Context.Service<
  ApiKeys,
  {
    list(actor: Actor, deviceId: string): Effect.Effect<ReadonlyArray<ApiKey>, NotRegistered | DatabaseUnavailable>
    /** The answer is the only place where the key is ever seen. Refused for a device out of service and for an end that is past. */
    create(
      actor: Actor,
      deviceId: string,
      expiresAt?: Instant
    ): Effect.Effect<NewApiKey, NotRegistered | WrongState | WriteRefusal>
    /** Revoking it again changes nothing. */
    revoke(actor: Actor, deviceId: string, keyId: string): Effect.Effect<void, NotRegistered | DatabaseUnavailable>
  }
>()("argusiq/layers/registry/ApiKeys") {
  static readonly layer = Layer.effect(
    ApiKeys,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)
      const requireDevice = Effect.fnUntraced(function* (deviceId: string) {
        const found = yield* sql`select 1 from devices where id = ${deviceId}::uuid`
        if (found.length === 0) return yield* new NotRegistered({ what: "device" })
      })

      const list = Effect.fn("ApiKeys.list")((actor: Actor, deviceId: string) =>
        Effect.gen(function* () {
          yield* requireDevice(deviceId)
          const rows = yield* sql<{
            id: string
            key_prefix: string
            created_at: Date
            expires_at: Date | null
            last_used_at: Date | null
            revoked_at: Date | null
          }>`select id, key_prefix, created_at, expires_at, last_used_at, revoked_at from device_api_keys
            where device_id = ${deviceId}::uuid order by created_at, id`
          return rows.map((row): ApiKey => ({
            id: row.id,
            keyPrefix: row.key_prefix,
            createdAt: row.created_at.toISOString(),
            expiresAt: isoOrNull(row.expires_at),
            lastUsedAt: isoOrNull(row.last_used_at),
            revokedAt: isoOrNull(row.revoked_at)
          }))
        }).pipe(scoped(actor), orUnavailable)
      )

      const create = Effect.fn("ApiKeys.create")((actor: Actor, deviceId: string, expiresAt?: Instant) =>
        Effect.gen(function* () {
          if (expiresAt !== undefined && expiresAt <= (yield* Clock.currentTimeMillis) * 1_000) {
            return yield* new BadReference({ path: "expiresAt", message: "must be in the future" })
          }
          const [device] = yield* sql<{ status: string }>`
            select status from devices where id = ${deviceId}::uuid for share`
          if (device === undefined) return yield* new NotRegistered({ what: "device" })
          if (device.status === "decommissioned") {
            return yield* new WrongState({ message: "A decommissioned device gets no key: add a new device." })
          }
          const made = makeApiKey()
          const expires = expiresAt === undefined ? null : isoFromMicros(expiresAt)
          const [row] = yield* sql<{ created_at: Date }>`
            insert into device_api_keys (id, tenant_id, device_id, key_prefix, key_hash, expires_at, created_by)
            values (${made.id}::uuid, ${actor.tenantId}::uuid, ${deviceId}::uuid, ${made.prefix}, ${made.hash},
              ${expires}::timestamptz, ${actor.userId ?? null}::uuid)
            returning created_at`
          return {
            id: made.id,
            key: made.key,
            createdAt: (row?.created_at ?? new Date(0)).toISOString(),
            expiresAt: expires
          }
        }).pipe(scoped(actor), orRefusal)
      )

      const revoke = Effect.fn("ApiKeys.revoke")((actor: Actor, deviceId: string, keyId: string) =>
        Effect.gen(function* () {
          const rows = yield* sql`update device_api_keys set revoked_at = coalesce(revoked_at, now())
            where id = ${keyId}::uuid and device_id = ${deviceId}::uuid returning id`
          if (rows.length === 0) return yield* new NotRegistered({ what: "API key" })
        }).pipe(scoped(actor), orUnavailable)
      )

      return ApiKeys.of({ list, create, revoke })
    })
  )
}
