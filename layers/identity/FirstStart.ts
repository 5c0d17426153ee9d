/**
 * What an installation needs before anybody can use it: an organization, an administrator, and a device with a key, so that
 * the first message can be sent at once. Run at every start; what is there already stays as it is.
 * @module
 */
import { join } from "node:path"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { Config, Effect, Option, Redacted, Schema } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import { OwnerSql } from "../database/Sql.ts"
import { apiKeyHash, makeApiKey } from "../registry/ApiKeys.ts"
import { newId } from "../registry/newId.ts"
import { secretsDirectory, readSecret, type SecretUnreadable, writeSecret } from "./keptSecret.ts"
import { generatePassword, passwordFault, Passwords } from "./Passwords.ts"

const organizationName = "My organisation"
const deviceTypeName = "Generic JSON"
const deviceName = "My first device"
const deviceExternalId = "my-first-device"

/** Taken by every first start, whichever process gets there first. */
const firstStartLock = 7_255_921

/** The administrator cannot be created as asked. */
export class FirstStartRefused extends Schema.TaggedError<FirstStartRefused>()("FirstStartRefused", {
  message: Schema.String
}) {}

/** `first-device.json` in the secrets directory, mode 600. */
export const FirstDevice = Schema.Struct({
  organizationId: Schema.String,
  deviceId: Schema.String,
  name: Schema.String,
  key: Schema.String
})
export type FirstDevice = typeof FirstDevice.Type

export interface FirstStart {
  readonly administrator: {
    readonly email: string
    /** Given once: at the start that created the administrator with a password of the platform's making. */
    readonly generatedPassword: Redacted.Redacted | undefined
  }
  /** Undefined once somebody has removed or decommissioned it. */
  readonly firstDevice: FirstDevice | undefined
}

const settings = Config.all({
  email: Config.String("ARGUSIQ_ADMIN_EMAIL").pipe(Config.withDefault("admin@localhost")),
  password: Config.option(Config.Redacted("ARGUSIQ_ADMIN_PASSWORD"))
})
const emailPattern = /^[^\s@]+@[^\s@]+$/
const genericJson = Schema.encodeSync(DeviceTypeConfig)(
  Schema.decodeUnknownSync(DeviceTypeConfig)({ processingMode: "endpoint" })
)
const FirstDeviceText = Schema.fromJsonString(FirstDevice)
const decodeFirstDevice = Schema.decodeUnknownOption(FirstDeviceText)

/** Needs the migrated database, as its owner. */
export const ensureFirstAdministrator: Effect.Effect<
  FirstStart,
  FirstStartRefused | SecretUnreadable | Config.ConfigError | SqlError,
  OwnerSql | Passwords
> = Effect.gen(function* () {
  const sql = yield* OwnerSql
  return yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql`select pg_advisory_xact_lock(${firstStartLock})`
      const { administrator, tenantId } = yield* administratorOf
      return { administrator, firstDevice: tenantId === undefined ? undefined : yield* firstDeviceOf(tenantId) }
    })
  )
}).pipe(Effect.withSpan("ensureFirstAdministrator"))

const administratorOf = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const [present] = yield* sql<{ email: string; tenant_id: string | null }>`
    select email, tenant_id from users left join memberships on memberships.user_id = users.id
    where is_platform_admin order by users.created_at, users.id, is_default desc, memberships.created_at limit 1`
  if (present !== undefined) {
    const administrator = { email: present.email, generatedPassword: undefined }
    return { administrator, tenantId: present.tenant_id ?? undefined }
  }

  const { email, password } = yield* settings
  if (!emailPattern.test(email)) {
    return yield* new FirstStartRefused({ message: `ARGUSIQ_ADMIN_EMAIL is "${email}": it must be an e-mail address.` })
  }
  const given = Option.getOrUndefined(password)
  const fault = given === undefined ? undefined : passwordFault(Redacted.value(given), email)
  if (fault !== undefined) {
    return yield* new FirstStartRefused({
      message: `ARGUSIQ_ADMIN_PASSWORD ${fault}. Set another, or none: then one is generated and printed once.`
    })
  }
  const chosen = given ?? Redacted.make(generatePassword())
  const passwordHash = yield* (yield* Passwords).hash(chosen)
  const tenantId = newId()
  const userId = newId()
  yield* sql`insert into organizations (id, name, slug) values (${tenantId}::uuid, ${organizationName}, 'my-organisation')`
  yield* sql`insert into users (id, email, name, password_hash, is_platform_admin)
    values (${userId}::uuid, ${email}, 'Administrator', ${passwordHash}, true)`
  yield* sql`insert into memberships (id, tenant_id, user_id, role, is_default)
    values (${newId()}::uuid, ${tenantId}::uuid, ${userId}::uuid, 'admin', true)`
  yield* addFirstDevice(tenantId, userId)
  return {
    administrator: { email, generatedPassword: given === undefined ? chosen : undefined },
    tenantId
  }
})

const addFirstDevice = Effect.fnUntraced(function* (tenantId: string, userId: string) {
  const sql = yield* OwnerSql
  const typeId = newId()
  yield* sql`insert into device_types (id, tenant_id, name, description, published_version, created_by, updated_by)
    values (${typeId}::uuid, ${tenantId}::uuid, ${deviceTypeName},
      'Takes any JSON: every number, text and boolean under "metrics", or at the top, becomes a metric.', 1,
      ${userId}::uuid, ${userId}::uuid)`
  yield* sql`insert into device_type_versions
      (id, tenant_id, device_type_id, number, state, effective_at, config, author)
    values (${newId()}::uuid, ${tenantId}::uuid, ${typeId}::uuid, 1, 'published', now(), ${sql.json(genericJson)},
      ${userId}::uuid)`
  yield* sql`insert into devices (id, tenant_id, name, device_type_id, external_id, created_by, updated_by)
    values (${newId()}::uuid, ${tenantId}::uuid, ${deviceName}, ${typeId}::uuid, ${deviceExternalId}, ${userId}::uuid,
      ${userId}::uuid)`
})

/**
 * The first device with a key that works: the kept one, or another when that is lost or revoked. The file is written before the
 * transaction ends: where that fails, the next start finds a key that does not work and makes another.
 */
const firstDeviceOf = Effect.fnUntraced(function* (tenantId: string) {
  const sql = yield* OwnerSql
  const path = join(yield* secretsDirectory, "first-device.json")
  const kept = Option.getOrUndefined(decodeFirstDevice(yield* readSecret(path)))
  if (kept !== undefined) {
    const valid = yield* sql`select 1 from device_api_keys key join devices device on device.id = key.device_id
      where key.key_hash = ${apiKeyHash(kept.key)} and key.revoked_at is null and device.status = 'active'
        and device.id::text = ${kept.deviceId}`
    if (valid.length > 0) return kept
  }
  const [device] = yield* sql<{ id: string; name: string }>`select id, name from devices
    where tenant_id = ${tenantId}::uuid and external_id = ${deviceExternalId} and status = 'active'`
  if (device === undefined) return undefined
  const key = makeApiKey()
  const first: FirstDevice = { organizationId: tenantId, deviceId: device.id, name: device.name, key: key.key }
  yield* sql`insert into device_api_keys (id, tenant_id, device_id, key_prefix, key_hash)
    values (${key.id}::uuid, ${tenantId}::uuid, ${device.id}::uuid, ${key.prefix}, ${key.hash})`
  yield* writeSecret(path, `${JSON.stringify(first, undefined, 2)}\n`)
  return first
})
