/**
 * Profile caches as several processes have them: each with connections of its own to one PostgreSQL and one Redis.
 * @module
 */
import * as RedisCache from "@argusiq/layers/cache/RedisCache.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { RedisClient } from "@argusiq/layers/redis/RedisClient.ts"
import { assert } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { redisClient } from "../../support/components/redisLayer.ts"

const process = (size: number) =>
  Layer.fresh(ProfileCache.layer({ size }).pipe(Layer.provide(RedisCache.layer), Layer.provide(redisClient)))

/** `end` may come before the scope's end. */
export const startProcess = Effect.fnUntraced(function* (options: { readonly size: number } = { size: 1_000 }) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const profiles = Context.get(yield* Layer.buildWithScope(process(options.size), scope), Profiles)
  yield* profiles.devices([]) // the change sequence has been read
  return { ...profiles, end: Scope.close(scope, Exit.void) }
})

export const eventually = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>, withinMillis = 15_000) =>
  Effect.gen(function* () {
    const until = Date.now() + withinMillis
    while (!(yield* condition)) {
      if (Date.now() > until) assert.fail(`not within ${withinMillis} ms: ${what}`)
      yield* Effect.sleep(10)
    }
  })

/** Waits until the shared cache vouches for every change there was: what is put into it from then on is of use to all. */
export const vouched = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const redis = yield* RedisClient
  const number = sql<{ number: number }>`select number::float8 as number from change_sequence where scope = 'profiles'`
  yield* eventually(
    "the cache vouches for all changes",
    Effect.gen(function* () {
      const state = yield* Effect.orElseSucceed(
        redis.use((client) => client.get("cache:profiles")),
        () => null
      )
      return Number(state?.split(" ")[1] ?? -1) >= (yield* number)[0]!.number
    })
  )
})

/** Changes a device's row as no cache is told of: who gives this was not in a cache. */
export const changeSecretly = Effect.fnUntraced(function* (deviceId: string, mark: string) {
  const owner = yield* OwnerSql
  yield* owner.withTransaction(
    Effect.gen(function* () {
      yield* owner`alter table devices disable trigger devices_updated`
      yield* owner`update devices set logical_identifier = ${mark} where id = ${deviceId}`
      yield* owner`alter table devices enable trigger devices_updated`
    })
  )
})

export const change = Effect.fnUntraced(function* (deviceId: string, mark: string) {
  const owner = yield* OwnerSql
  yield* owner`update devices set logical_identifier = ${mark} where id = ${deviceId}`
})
