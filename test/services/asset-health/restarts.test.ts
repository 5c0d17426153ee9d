import { assetHealth, SaveInterval } from "@argusiq/asset-health/AssetHealth.ts"
import { assetMapping } from "@argusiq/asset-health/AssetMapping.ts"
import type { AssetState } from "@argusiq/domain/asset/asset-fold.ts"
import { type Failpoint, Failpoints } from "@argusiq/asset-health/Failpoints.ts"
import { RecentInputs } from "@argusiq/domain/recent-inputs.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { insertOrganization } from "../../layers/profiles/registry.ts"
import { normalizedMessage } from "../../layers/telemetry/messages.ts"
import { recordsOf } from "../dispatcher/topics.ts"
import { eventually, framesOf, insertAsset, insertAssetType, latestOf, link, stores } from "./world.ts"

const SECOND = 1_000_000
const config = {
  metricDefinitions: [{ key: "load", displayName: "Load", dataType: "numeric" }],
  aggregationRules: { load: { windowSeconds: 300, fn: "sum" } }
}

/** Runs the service for as long as the effect takes. */
const during = <A, E, R>(saveMillis: number, effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.gen(function* () {
      yield* Effect.forkScoped(Effect.flatMap(assetMapping, runConsumer))
      yield* Effect.forkScoped(
        Effect.flatMap(Effect.provideService(assetHealth, SaveInterval, saveMillis), runConsumer)
      )
      return yield* effect
    })
  )

const insertWorld = Effect.gen(function* () {
  const tenantId = yield* insertOrganization()
  const parent = yield* insertAsset(
    tenantId,
    yield* insertAssetType(tenantId, { rollup: { metrics: { load: "sum" }, health: "worst" } })
  )
  const asset = yield* insertAsset(tenantId, yield* insertAssetType(tenantId, config), parent)
  const deviceId = randomUUID()
  yield* link(tenantId, deviceId, asset)
  const start = Math.floor(Date.now() / 60_000) * 60 * SECOND - 120 * SECOND
  const send = Effect.fnUntraced(function* (seconds: number, load: number) {
    const bus = yield* Bus
    const message = normalizedMessage({ deviceId, tenantId, receivedAt: start + seconds * SECOND, metrics: { load } })
    yield* bus.publish([
      {
        topic: Topics.normalized,
        key: deviceId,
        value: Buffer.from(JSON.stringify(message)),
        headers: {
          "message-id": message.messageId,
          "tenant-id": tenantId,
          "device-id": deviceId,
          "received-at": String(message.receivedAt)
        }
      }
    ])
  })
  const comesTo =
    (entityId: string) =>
    (...expected: ReadonlyArray<readonly [number, number]>) =>
      eventually(
        JSON.stringify(expected),
        Effect.map(framesOf(entityId), (frames) =>
          frames.map(({ metrics, ts }) => [(ts - start) / SECOND, metrics["load"]])
        ),
        (found) => JSON.stringify(found) === JSON.stringify(expected)
      )
  return { asset, comes: comesTo(asset), comesToParent: comesTo(parent), send }
})

/** Of its row; undefined: there is none. */
const savedInputs = Effect.fnUntraced(function* (asset: string) {
  const sql = yield* OwnerSql
  const [row] = yield* sql<{ recent: Uint8Array }>`select recent from fold_states where entity_id = ${asset}`
  return row && RecentInputs.read(JSON.parse(Buffer.from(row.recent).toString())).length
})

/** What the asset's partition held when this began has been read by whom it is assigned to now. */
const isTakenOver = Effect.fnUntraced(function* (asset: string) {
  const sql = yield* OwnerSql
  const { partitions } = yield* Bus
  const [start] = yield* sql<{ now: Date }>`select clock_timestamp() as now`
  const later = sql`select from consumer_offsets where "group" = 'argusiq.asset-health.read'
    and partition = ${partitionOf(partitions, Buffer.from(asset))} and partition_time > ${start!.now}`
  yield* eventually("its new owner", later, (rows) => rows.length === 1)
})

layer(stores, { excludeTestServices: true })("an asset's state", (it) => {
  it.effect("outlives restarts, whether its row was saved, is older, or was never written", () =>
    Effect.gen(function* () {
      const { asset, comes, send } = yield* insertWorld
      const saved = savedInputs(asset)
      yield* during(1_000_000, Effect.andThen(send(0, 1), comes([0, 1])))
      assert.isUndefined(yield* saved)
      yield* during(
        200,
        Effect.gen(function* () {
          yield* send(10, 2)
          yield* comes([0, 1], [10, 3])
          yield* eventually("the row", saved, (count) => count === 2)
        })
      )
      yield* during(1_000_000, Effect.andThen(send(20, 4), comes([0, 1], [10, 3], [20, 7])))
      assert.strictEqual(yield* saved, 2)
      // Late within the horizon, after one more restart: what is newer is corrected.
      yield* during(1_000_000, Effect.andThen(send(5, 8), comes([0, 1], [5, 9], [10, 11], [20, 15])))
      assert.deepStrictEqual(yield* latestOf(asset), { load: 15 })
    })
  )

  it.effect("is told to its parent as it became last, whoever had it before and ended before it was saved", () =>
    Effect.gen(function* () {
      const { asset, comes, comesToParent, send } = yield* insertWorld
      const sql = yield* OwnerSql
      yield* during(1_000_000, Effect.andThen(send(0, 1), comesToParent([0, 1])))
      // It ends after this is published and before it is stored.
      const published = Effect.map(recordsOf(Topics.asset), (records) => records.length)
      const before = yield* published
      const told = eventually("what is told of it", published, (count) => count > before)
      yield* sql`alter table telemetry_frames rename to unreachable`
      yield* during(1_000_000, Effect.andThen(send(9.2, 2), told))
      yield* sql`alter table unreachable rename to telemetry_frames`
      // Nobody knows by now whether it was told, so it is told once more; and that is not saved either.
      yield* during(1_000_000, Effect.andThen(comes([0, 1], [9.2, 3]), comesToParent([0, 1], [10, 3])))
      const last = Effect.andThen(comes([0, 1], [9.2, 3], [9.7, 7]), comesToParent([0, 1], [10, 7]))
      yield* during(1_000_000, Effect.andThen(Effect.andThen(isTakenOver(asset), send(9.7, 4)), last))
    })
  )

  it.effect("is told anew where a rebuild has replaced its base, in memory as after a restart", () =>
    Effect.gen(function* () {
      const { asset, comes, send } = yield* insertWorld
      const sql = yield* OwnerSql
      const row = sql<{
        base: Uint8Array
        revision: number
      }>`select base, revision from fold_states where entity_id = ${asset}`
      const rebuild = (sum: number) =>
        Effect.gen(function* () {
          const [held] = yield* row
          const state: AssetState = JSON.parse(Buffer.from(held!.base).toString())
          const [[source, before]] = Object.entries(state.sources["load"]!) as [
            [string, AssetState["sources"][string][string]]
          ]
          const sources = { load: { [source]: { ...before, open: [before.open![0], 1, sum, sum, sum] } } }
          yield* sql`update fold_states set base = ${Buffer.from(JSON.stringify({ ...state, sources }))}, revision = revision + 1
            where entity_id = ${asset}`
        })
      yield* during(
        200,
        Effect.gen(function* () {
          yield* send(0, 1)
          yield* comes([0, 1])
          // The base moves up to where all is known, which most partitions say nothing of here.
          yield* sql`insert into consumer_offsets ("group", topic, partition, partition_time)
            values ('argusiq.asset-health.settled', ${Topics.assetReadings}, 0, now())`
          yield* send(60, 2)
          yield* comes([0, 1], [60, 3])
          yield* eventually("the base", savedInputs(asset), (count) => count === 1)
          yield* rebuild(100)
          yield* send(70, 4)
          yield* comes([0, 1], [60, 102], [70, 106])
        })
      )
      yield* rebuild(200)
      yield* during(200, Effect.andThen(send(75, 1), comes([0, 1], [60, 202], [70, 206], [75, 207])))
      assert.strictEqual((yield* row)[0]?.revision, 2)
    })
  )

  it.effect("is the same when what runs fails once at each of its places, and what was told has one content", () =>
    Effect.gen(function* () {
      const { asset, comes, send } = yield* insertWorld
      const toFail = new Set<Failpoint>(["mapped", "folded-before-store", "storing"]) // one record may fail twice
      const reach = (at: Failpoint) => {
        if (toFail.delete(at)) throw new Error(`fails once at ${at}`)
      }
      yield* Effect.provideService(
        during(
          200,
          Effect.gen(function* () {
            yield* send(0, 1)
            yield* comes([0, 1])
            yield* send(10, 2)
            yield* comes([0, 1], [10, 3])
            yield* eventually(
              "a save",
              Effect.sync(() => toFail.size),
              (left) => left === 0
            )
            yield* send(5, 4)
            yield* comes([0, 1], [5, 5], [10, 7])
          })
        ),
        Failpoints,
        reach
      )
      const told = (yield* recordsOf(Topics.asset)).filter(({ key }) => key === asset)
      const contents = new Map<string, string>()
      for (const { value } of told) {
        const text = Buffer.from(value).toString()
        const { readingId, revision } = JSON.parse(text)
        const known = contents.get(`${readingId} ${revision}`)
        assert.strictEqual(text, known ?? text)
        contents.set(`${readingId} ${revision}`, text)
      }
      assert.isAbove(
        told.length,
        contents.size,
        "nothing was told twice, so no failure came between telling and storing"
      )
    })
  )
})
