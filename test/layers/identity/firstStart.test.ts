import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { ensureFirstAdministrator } from "@argusiq/layers/identity/FirstStart.ts"
import { minimumPasswordLength, Passwords } from "@argusiq/layers/identity/Passwords.ts"
import { apiKeyHash } from "@argusiq/layers/registry/ApiKeys.ts"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { testDatabase } from "../../support/postgres.ts"

const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "argusiq-test-first-start-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const startIn = (directory: string, environment: Record<string, string> = {}) =>
  ensureFirstAdministrator.pipe(
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ ARGUSIQ_DATA_DIR: directory, ...environment })))
  )
const onFreshDatabase = Effect.provide(Layer.merge(testDatabase, Passwords.layer))
const counts = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const [row] = yield* sql`select (select count(*)::int from organizations) as organizations,
    (select count(*)::int from users) as users, (select count(*)::int from devices) as devices,
    (select count(*)::int from device_api_keys where revoked_at is null) as keys`
  return row
})

layer(Layer.empty, { excludeTestServices: true })("the first start", (it) => {
  it.effect("makes an administrator, an organization and a device with a key that is kept for this user only", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const { administrator, firstDevice } = yield* startIn(directory)
      assert.strictEqual(administrator.email, "admin@localhost")
      const password = administrator.generatedPassword
      assert.isDefined(password)
      assert.isAtLeast(Redacted.value(password!).length, minimumPasswordLength)
      const sql = yield* OwnerSql
      const [user] = yield* sql<{ password_hash: string }>`select password_hash from users`
      const passwords = yield* Passwords
      assert.isTrue(yield* passwords.verify(password!, user?.password_hash))
      const path = join(directory, "first-device.json")
      assert.deepStrictEqual(JSON.parse(readFileSync(path, "utf8")), firstDevice)
      assert.strictEqual(statSync(path).mode & 0o777, 0o600)
      const [key] = yield* sql<{ device_id: string }>`
        select device_id from device_api_keys where key_hash = ${apiKeyHash(firstDevice?.key ?? "")}`
      assert.strictEqual(key?.device_id, firstDevice?.deviceId)
    }).pipe(onFreshDatabase)
  )

  it.effect("happens once: a second start changes nothing and tells no password", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const first = yield* startIn(directory)
      const before = yield* counts
      const second = yield* startIn(directory, { ARGUSIQ_ADMIN_PASSWORD: "short", ARGUSIQ_ADMIN_EMAIL: "other" })
      assert.isUndefined(second.administrator.generatedPassword)
      assert.strictEqual(second.administrator.email, first.administrator.email)
      assert.deepStrictEqual(second.firstDevice, first.firstDevice)
      assert.deepStrictEqual(yield* counts, before)
    }).pipe(onFreshDatabase)
  )

  it.effect("of starts at the same time one makes it and all see the same", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const starts = yield* Effect.all([startIn(directory), startIn(directory), startIn(directory)], { concurrency: 3 })
      const generated = starts.filter(({ administrator }) => administrator.generatedPassword !== undefined)
      assert.strictEqual(generated.length, 1)
      for (const { firstDevice } of starts) assert.deepStrictEqual(firstDevice, starts[0].firstDevice)
      assert.deepStrictEqual(yield* counts, { organizations: 1, users: 1, devices: 1, keys: 1 } as never)
    }).pipe(onFreshDatabase)
  )

  it.effect("a lost or revoked key of the first device is replaced, a removed device is not", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const sql = yield* OwnerSql
      const { firstDevice } = yield* startIn(directory)
      rmSync(join(directory, "first-device.json"))
      const replaced = (yield* startIn(directory)).firstDevice
      assert.strictEqual(replaced?.deviceId, firstDevice?.deviceId)
      assert.notStrictEqual(replaced?.key, firstDevice?.key)
      yield* sql`update device_api_keys set revoked_at = now()`
      const again = (yield* startIn(directory)).firstDevice
      assert.notStrictEqual(again?.key, replaced?.key)
      yield* sql`delete from devices`
      assert.isUndefined((yield* startIn(directory)).firstDevice)
    }).pipe(onFreshDatabase)
  )

  it.effect("a given password is taken and never told; a weak one stops the start and leaves nothing behind", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      for (const weak of ["short", "password1234", "aaaaaaaaaaaaaaa"]) {
        const refused = yield* Effect.flip(startIn(directory, { ARGUSIQ_ADMIN_PASSWORD: weak }))
        assert.include(refused.message, "ARGUSIQ_ADMIN_PASSWORD")
        assert.notInclude(refused.message, weak)
      }
      assert.strictEqual((yield* counts)?.["users"], 0)
      assert.isFalse(existsSync(join(directory, "first-device.json")))
      const environment = { ARGUSIQ_ADMIN_PASSWORD: "a password of my own", ARGUSIQ_ADMIN_EMAIL: "me@example.com" }
      const { administrator } = yield* startIn(directory, environment)
      assert.deepStrictEqual(administrator, { email: "me@example.com", generatedPassword: undefined })
    }).pipe(onFreshDatabase)
  )
})
