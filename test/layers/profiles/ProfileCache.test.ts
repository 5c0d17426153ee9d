import { assert, layer } from "@effect/vitest"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted, Result } from "effect"
import { Reactivity } from "effect/reactivity"
import { randomUUID } from "node:crypto"
import { inject } from "vitest"
import { TestDatabase, testDatabase } from "../../support/postgres.ts"
import {
  insertApiKey,
  insertDevice,
  insertDeviceType,
  insertEndpoint,
  insertOrganization,
  publishVersion
} from "./registry.ts"

const eventually = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>, withinMillis = 15_000) =>
  Effect.gen(function* () {
    const until = Date.now() + withinMillis
    while (!(yield* condition)) {
      if (Date.now() > until) assert.fail(`not within ${withinMillis} ms: ${what}`)
      yield* Effect.sleep(10)
    }
  })

layer(Layer.provideMerge(ProfileCache.layer({ size: 1_000 }), testDatabase), { excludeTestServices: true })(
  "the profile cache",
  (it) => {
    it.effect("accepts a device created a moment ago, though it was unknown a moment before", () =>
      Effect.gen(function* () {
        const profiles = yield* Profiles
        const tenantId = yield* insertOrganization()
        const deviceTypeId = yield* insertDeviceType(tenantId)
        for (let round = 0; round < 10; round++) {
          const deviceId = randomUUID()
          assert.strictEqual((yield* profiles.devices([deviceId])).size, 0)
          yield* insertDevice({ tenantId, deviceTypeId, deviceId })
          const found = (yield* profiles.devices([deviceId])).get(deviceId)
          assert.isDefined(found)
          assert.deepInclude<object>(found!, { deviceId, tenantId, deviceTypeId, status: "active" })
          // The push of its creation may have overtaken the first load, which was not kept then.
          yield* profiles.devices([deviceId])
          assert.deepStrictEqual(profiles.cachedDevice(deviceId), found)
        }
      })
    )

    it.effect("learns of a changed device by push, and forgets no other for it", () =>
      Effect.gen(function* () {
        const profiles = yield* Profiles
        const owner = yield* OwnerSql
        const { deviceId } = yield* insertEndpoint()
        const other = yield* insertEndpoint()
        yield* Effect.sleep(500) // the pushes of their creation
        yield* profiles.devices([deviceId, other.deviceId])
        yield* owner`update devices set status = 'decommissioned' where id = ${deviceId}`
        yield* eventually(
          "the device is decommissioned",
          Effect.map(profiles.devices([deviceId]), (found) => found.get(deviceId)?.status === "decommissioned")
        )
        yield* Effect.sleep(1_100) // two checks of the sequence
        assert.isDefined(profiles.cachedDevice(other.deviceId))
      })
    )

    it.effect("knows a version published a moment ago, and one that cannot be compiled hurts no other", () =>
      Effect.gen(function* () {
        const profiles = yield* Profiles
        const { deviceTypeId, tenantId } = yield* insertEndpoint()
        const other = yield* insertEndpoint()
        const ids = [deviceTypeId, other.deviceTypeId]
        assert.lengthOf((yield* profiles.deviceTypes(ids)).get(deviceTypeId)!.versions, 1)
        const effectiveAt = Date.now() + 2_000
        const config = { processingMode: "telepathy" }
        yield* publishVersion({ tenantId, deviceTypeId, number: 2, effectiveAt, config })
        yield* eventually(
          "two versions",
          Effect.map(profiles.deviceTypes(ids), (found) => found.get(deviceTypeId)!.versions.length === 2)
        )
        const types = yield* profiles.deviceTypes(ids)
        const [first, second] = types.get(deviceTypeId)!.versions
        assert.isTrue(Result.isSuccess(first!.compiled))
        assert.strictEqual(second!.effectiveAt, effectiveAt * 1_000)
        assert.isTrue(Result.isFailure(second!.compiled) && second!.compiled.failure.reason === "UnknownProcessingMode")
        assert.isTrue(Result.isSuccess(types.get(other.deviceTypeId)!.versions[0]!.compiled))
      })
    )

    it.effect("finds devices by external id within the tenant only, and forgets with the device's change", () =>
      Effect.gen(function* () {
        const profiles = yield* Profiles
        const owner = yield* OwnerSql
        const { deviceTypeId, tenantId } = yield* insertEndpoint()
        const stranger = yield* insertOrganization()
        assert.isUndefined(yield* profiles.byExternalId(tenantId, "pump/1"))
        const deviceId = yield* insertDevice({ tenantId, deviceTypeId, externalId: "pump/1" })
        assert.strictEqual(yield* profiles.byExternalId(tenantId, "pump/1"), deviceId)
        assert.isUndefined(yield* profiles.byExternalId(stranger, "pump/1"))
        assert.isUndefined(yield* profiles.byExternalId("no uuid", "pump/1\0\uD800"))
        yield* owner`update devices set external_id = 'pump/2' where id = ${deviceId}`
        yield* eventually(
          "the old external id is unknown",
          Effect.map(profiles.byExternalId(tenantId, "pump/1"), (found) => found === undefined)
        )
        assert.strictEqual(yield* profiles.byExternalId(tenantId, "pump/2"), deviceId)
      })
    )

    it.effect("knows API keys until they are revoked or expire", () =>
      Effect.gen(function* () {
        const profiles = yield* Profiles
        const owner = yield* OwnerSql
        const device = yield* insertEndpoint()
        assert.isUndefined(yield* profiles.apiKey("hash-1"))
        const keyId = yield* insertApiKey(device, "hash-1")
        assert.deepStrictEqual(yield* profiles.apiKey("hash-1"), {
          keyId,
          deviceId: device.deviceId,
          tenantId: device.tenantId
        })
        yield* owner`update device_api_keys set last_used_at = now() where id = ${keyId}`
        assert.isDefined(yield* profiles.apiKey("hash-1"))
        yield* owner`update device_api_keys set revoked_at = now() where id = ${keyId}`
        yield* eventually(
          "revoked",
          Effect.map(profiles.apiKey("hash-1"), (found) => found === undefined)
        )
        const expires = Date.now() + 1_500
        yield* insertApiKey(device, "hash-2", new Date(expires))
        assert.isDefined(yield* profiles.apiKey("hash-2"))
        yield* Effect.sleep(expires - Date.now() + 50)
        assert.isUndefined(yield* profiles.apiKey("hash-2"))
      })
    )

    it.effect("heals a missed push by the change sequence", () =>
      Effect.gen(function* () {
        const profiles = yield* Profiles
        const owner = yield* OwnerSql
        const { deviceId } = yield* insertEndpoint()
        yield* profiles.devices([deviceId])
        // The number moves as by the trigger; the push is left out.
        yield* owner.withTransaction(
          Effect.gen(function* () {
            yield* owner`alter table devices disable trigger devices_updated`
            yield* owner`update devices set status = 'inactive' where id = ${deviceId}`
            yield* owner`alter table devices enable trigger devices_updated`
            yield* owner`update change_sequence set number = number + 1 where scope = 'profiles'`
          })
        )
        yield* eventually(
          "the device is inactive",
          Effect.map(profiles.devices([deviceId]), (found) => found.get(deviceId)?.status === "inactive")
        )
      })
    )

    it.effect("forgets everything when more changed at once than is pushed", () =>
      Effect.gen(function* () {
        const profiles = yield* Profiles
        const owner = yield* OwnerSql
        const { deviceTypeId, tenantId } = yield* insertEndpoint()
        const ids = Array.from({ length: 300 }, () => randomUUID())
        yield* owner`insert into devices (id, tenant_id, name, device_type_id)
          select id, ${tenantId}, id::text, ${deviceTypeId} from unnest(${ids}::text[]::uuid[]) as t (id)`
        assert.strictEqual((yield* profiles.devices(ids)).size, 300)
        yield* owner`update devices set status = 'inactive' where tenant_id = ${tenantId}`
        yield* eventually(
          "all are inactive",
          Effect.map(profiles.devices(ids), (found) => found.values().every((device) => device.status === "inactive"))
        )
      })
    )

    it.effect("obeys an invalidation asked for by hand", () =>
      Effect.gen(function* () {
        const profiles = yield* Profiles
        const { deviceId } = yield* insertEndpoint()
        yield* profiles.devices([deviceId])
        yield* profiles.invalidate({ type: "device", id: deviceId })
        assert.isUndefined(profiles.cachedDevice(deviceId))
        yield* profiles.devices([deviceId])
        yield* profiles.invalidate({ type: "all" })
        assert.isUndefined(profiles.cachedDevice(deviceId))
      })
    )

    it.effect("takes what is no UUID for a device that does not exist", () =>
      Effect.gen(function* () {
        const profiles = yield* Profiles
        assert.strictEqual((yield* profiles.devices(["pump 1", "\0"])).size, 0)
        assert.strictEqual((yield* profiles.deviceTypes([""])).size, 0)
      })
    )
  }
)

layer(testDatabase, { excludeTestServices: true })("without its database the profile cache", (it) => {
  it.effect("goes on for the bridge, and makes consumers wait until the sequence can be checked again", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint()
      const { deviceId } = device
      const { name } = yield* TestDatabase
      const superuser = yield* PgClient.makeClient({ url: Redacted.make(`${inject("postgres").superuser}postgres`) })
      yield* insertApiKey(device, "hash") // before anybody could be told of it and forget the device once more
      const profiles = Context.get(yield* Layer.build(ProfileCache.layer({ size: 100 })), Profiles)
      yield* profiles.devices([deviceId])
      yield* profiles.apiKey("hash")
      yield* superuser.unsafe(`alter database ${name} with allow_connections false`)
      yield* superuser`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name}`
      yield* Effect.sleep(3_000) // 2 s after the last check that succeeded, which may just have been under way
      const failure = yield* Effect.flip(profiles.devices([deviceId]))
      assert.strictEqual(failure._tag, "DatabaseUnavailable")
      assert.strictEqual((yield* Effect.flip(profiles.deviceTypes([])))._tag, "DatabaseUnavailable")
      assert.strictEqual(profiles.cachedDevice(deviceId)?.deviceId as string, deviceId)
      assert.strictEqual((yield* profiles.apiKey("hash"))?.deviceId, deviceId)
      yield* superuser.unsafe(`alter database ${name} with allow_connections true`)
      yield* eventually(
        "consumers go on",
        Effect.map(Effect.exit(profiles.devices([deviceId])), (exit) => exit._tag === "Success")
      )
      assert.isDefined(profiles.cachedDevice(deviceId), "nothing changed meanwhile, so nothing was forgotten")
    }).pipe(Effect.provide(Reactivity.layer))
  )
})
