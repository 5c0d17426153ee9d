/**
 * What the services stand on, embedded unless a setting says otherwise.
 * @module
 */
import { FurtherDependencies } from "@argusiq/api/readiness.ts"
import * as BusAdapter from "@argusiq/layers/bus/BusAdapter.ts"
import * as RedisCache from "@argusiq/layers/cache/RedisCache.ts"
import * as Database from "@argusiq/layers/database/Database.ts"
import { Passwords } from "@argusiq/layers/identity/Passwords.ts"
import * as AssetCache from "@argusiq/layers/profiles/AssetCache.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import * as RuleCache from "@argusiq/layers/profiles/RuleCache.ts"
import * as MemoryRateLimit from "@argusiq/layers/rate-limit/MemoryRateLimit.ts"
import * as RedisRateLimit from "@argusiq/layers/rate-limit/RedisRateLimit.ts"
import * as RedisClient from "@argusiq/layers/redis/RedisClient.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { Config, Effect, Layer, Option } from "effect"

const redisDependency = Layer.effect(
  FurtherDependencies,
  Effect.gen(function* () {
    const redis = yield* RedisClient.RedisClient
    return [
      ...(yield* FurtherDependencies),
      {
        name: "redis",
        dispensable: true,
        check: redis.use((client) => client.ping()),
        whenDown: "does not answer; PostgreSQL answers and rate limits are counted per process"
      }
    ]
  })
)

/** What processes share beside the database: profiles and rate limits in Redis, or nothing. */
const shared = Layer.unwrap(
  Effect.map(Config.option(RedisClient.urlConfig), (url) =>
    Option.isNone(url)
      ? MemoryRateLimit.layer()
      : Layer.mergeAll(RedisCache.layer, RedisRateLimit.layer, redisDependency).pipe(
          Layer.provide(RedisClient.layer(url.value))
        )
  )
)

const profiles = RuleCache.layerConfig.pipe(
  Layer.provideMerge(Layer.merge(ProfileCache.layerConfig, AssetCache.layerConfig))
)

/** PostgreSQL with its schema, the log, caches and stores; closed in the opposite order. */
export const layer = Layer.mergeAll(
  profiles,
  GatewayChildren.layer,
  Chunks.layer,
  Transactions.layer,
  TelemetryStore.layer,
  AliasStore.layer,
  Sandbox.layer,
  Passwords.layer
).pipe(Layer.provideMerge(shared), Layer.provideMerge(BusAdapter.layerConfig), Layer.provideMerge(Database.layer))
