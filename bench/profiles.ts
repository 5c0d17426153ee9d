/**
 * What looking up a device's profile costs, and from where it comes: memory, Redis (needs `redis-server`), PostgreSQL. A fresh
 * embedded PostgreSQL and a Redis of its own. Prints tables.
 * @module
 */
import * as RedisCache from "@argusiq/layers/cache/RedisCache.ts"
import { pools } from "@argusiq/layers/database/connect.ts"
import * as EmbeddedPostgres from "@argusiq/layers/database/EmbeddedPostgres.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import * as RedisClient from "@argusiq/layers/redis/RedisClient.ts"
import { Context, Effect, Layer, Logger, Redacted } from "effect"
import { randomUUID } from "node:crypto"
import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { RedisServer } from "../test/support/components/redis.ts"
import { percentiles } from "./percentiles.ts"

const DEVICES = 100_000
const BATCHES = 2_000
const BATCH = 100
const SINGLES = 2_000

const directory = mkdtempSync(join(tmpdir(), "argusiq-bench-profiles-"))
chmodSync(directory, 0o755) // PostgreSQL runs as another user when this one is root
const deviceIds = Array.from({ length: DEVICES }, () => randomUUID())

const database = Layer.unwrap(
  Effect.map(EmbeddedPostgres.EmbeddedPostgres, (server) => {
    const pool = (role: "argusiq_owner" | "argusiq_pipeline" | "argusiq_app") => ({
      url: server.url(role, "argusiq"),
      maxConnections: 8,
      statementTimeout: 0
    })
    return pools({ owner: pool("argusiq_owner"), pipeline: pool("argusiq_pipeline"), app: pool("argusiq_app") })
  })
).pipe(Layer.provideMerge(EmbeddedPostgres.layer({ directory: join(directory, "postgres") })))

const registry = Effect.gen(function* () {
  yield* Migrate.up()
  const sql = yield* OwnerSql
  const [tenantId, deviceTypeId] = [randomUUID(), randomUUID()]
  yield* sql`insert into organizations (id, name, slug) values (${tenantId}, 'Bench', ${tenantId})`
  yield* sql`insert into device_types (id, tenant_id, name) values (${deviceTypeId}, ${tenantId}, 'Bench')`
  yield* sql`insert into devices (id, tenant_id, name, device_type_id)
    select id, ${tenantId}, id::text, ${deviceTypeId} from unnest(${deviceIds}::text[]::uuid[]) as t (id)`
  yield* sql`analyze devices`
})

/** As a process has them, with nothing in memory. */
const profilesOf = Effect.fnUntraced(function* (size: number, redis: RedisServer | undefined) {
  const cache = ProfileCache.layer({ size })
  const shared =
    redis === undefined
      ? cache
      : cache.pipe(Layer.provide(RedisCache.layer), Layer.provide(RedisClient.layer(Redacted.make(redis.url))))
  const profiles = Context.get(yield* Layer.build(Layer.fresh(shared)), Profiles)
  yield* profiles.devices([])
  return profiles
})

/** Devices by rank: the n-th sends in proportion to 1/n. */
const zipf = (() => {
  const cumulated = new Float64Array(DEVICES)
  let sum = 0
  for (let rank = 0; rank < DEVICES; rank++) cumulated[rank] = sum += 1 / (rank + 1)
  return () => {
    const at = Math.random() * sum
    let low = 0
    let high = DEVICES - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (cumulated[middle]! < at) low = middle + 1
      else high = middle
    }
    return deviceIds[low]!
  }
})()

const rounded = (value: number) => Number(value.toPrecision(3))

/** One round from an empty memory and one after three more. */
const hitShare = Effect.fnUntraced(function* (what: string, size: number, redis: RedisServer | undefined) {
  const profiles = yield* profilesOf(size, redis)
  const waits: Array<number> = []
  const round = Effect.gen(function* () {
    let hits = 0
    waits.length = 0
    for (let batch = 0; batch < BATCHES; batch++) {
      const ids = Array.from({ length: BATCH }, zipf)
      for (const id of ids) if (profiles.cachedDevice(id) !== undefined) hits++
      const before = performance.now()
      yield* profiles.devices(ids)
      waits.push(performance.now() - before)
    }
    return rounded((100 * hits) / (BATCHES * BATCH))
  })
  const cold = yield* round
  yield* Effect.repeat(round, { times: 3 })
  const warm = yield* round
  const { p50, p95, p99 } = percentiles(waits)
  return {
    "profiles in memory": what,
    "from memory %, cold": cold,
    "from memory %, warm": warm,
    [`p50 ms of ${BATCH}, warm`]: rounded(p50),
    p95: rounded(p95),
    p99: rounded(p99)
  }
}, Effect.scoped)

/** Of devices that this process has not asked for. */
const lookUps = Effect.fnUntraced(function* (
  from: string,
  profiles: Profiles["Service"],
  ids: ReadonlyArray<string>,
  batch: number
) {
  const waits: Array<number> = []
  for (let at = 0; at + batch <= ids.length && waits.length < SINGLES; at += batch) {
    const asked = ids.slice(at, at + batch)
    const before = performance.now()
    yield* profiles.devices(asked)
    waits.push(performance.now() - before)
  }
  const { p50, p95, p99 } = percentiles(waits)
  return {
    from,
    "devices a look-up": batch,
    "p50 ms": rounded(p50),
    "p95 ms": rounded(p95),
    "p99 ms": rounded(p99),
    "max ms": rounded(Math.max(...waits)),
    "µs a device": rounded((1000 * waits.reduce((sum, wait) => sum + wait, 0)) / (waits.length * batch))
  }
})

const measure = Effect.gen(function* () {
  yield* registry
  const redis = yield* Effect.acquireRelease(
    Effect.promise(() => RedisServer.started()),
    (server) => Effect.promise(() => server.dispose())
  )
  console.log(`Rounds of ${BATCHES * BATCH} look-ups of ${DEVICES} devices, the n-th asked for in proportion to 1/n`)
  console.table([
    yield* hitShare("200,000 (default), no Redis", 200_000, undefined),
    yield* hitShare("200,000 (default), Redis", 200_000, redis),
    yield* hitShare("20,000 (a fifth), no Redis", 20_000, undefined),
    yield* hitShare("20,000 (a fifth), Redis", 20_000, redis)
  ])

  const singles = deviceIds.slice(0, SINGLES)
  const batched = deviceIds.slice(SINGLES, SINGLES + 200 * BATCH)
  const filler = yield* profilesOf(200_000, redis)
  yield* Effect.sleep(3_000) // a generation has begun
  yield* filler.devices(deviceIds)
  const alone = yield* profilesOf(200_000, undefined)
  const sharing = yield* profilesOf(200_000, redis)
  const rows = [
    yield* lookUps("PostgreSQL", alone, singles, 1),
    yield* lookUps("PostgreSQL", alone, batched, BATCH),
    yield* lookUps("Redis", sharing, singles, 1),
    yield* lookUps("Redis", sharing, batched, BATCH),
    yield* lookUps("memory", sharing, singles, 1),
    yield* lookUps("memory", sharing, batched, BATCH)
  ]
  console.table(rows)
})

try {
  await Effect.runPromise(
    Effect.provide(Effect.scoped(measure), database).pipe(Effect.provide(Logger.layer([Logger.consolePretty()])))
  )
} finally {
  rmSync(directory, { recursive: true, force: true })
}
