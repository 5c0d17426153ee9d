import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { assetRules } from "@argusiq/event-engine/rules/RuleEngine.ts"
import { noteSettled } from "@argusiq/layers/asset-state/settledTime.ts"
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { randomUUID } from "node:crypto"
import { insertOrganization } from "../../layers/profiles/registry.ts"
import { insertAsset, insertAssetType } from "../asset-health/world.ts"
import { alarmsOf, saveRule, SECOND, world } from "./RuleWorld.ts"

const START = 1_780_000_000 * SECOND
const at = (seconds: number) => START + Math.round(seconds * SECOND)
/** More than a process reads again at once when it takes a partition over. */
const MANY = 2_500

/** An asset with a rule over it, and the partition that it is in. */
const setUp = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* OwnerSql
  yield* sql`delete from consumer_offsets`
  yield* sql`delete from fold_states`
  yield* sql`update ingest_heartbeat set accepted_until = now() + interval '1 day'`
  const tenantId = yield* insertOrganization()
  const typeId = yield* insertAssetType(tenantId, { metrics: { t: { type: "number" } } })
  const assetId = yield* insertAsset(tenantId, typeId)
  const condition = { operator: ">", value: 90 }
  yield* saveRule(tenantId, { entityType: "asset", condition, cooldownSeconds: 0 })
  const measure = (seconds: number, t: number): BusRecord => {
    const readingId = randomUUID()
    const reading = { readingId, assetId, tenantId, assetTypeVersion: 1, revision: 0, retracted: false }
    const value = { ...reading, ts: at(seconds), receivedAt: at(1_200), metrics: { t }, sourceDevices: [] }
    const headers = { "message-id": readingId, "tenant-id": tenantId, "received-at": String(at(1_200)) }
    return { topic: Topics.asset, key: assetId, value: Buffer.from(JSON.stringify(value)), headers }
  }
  return { tenantId, partition: partitionOf(bus.partitions, Buffer.from(assetId)), measure }
})

layer(world, { excludeTestServices: true, timeout: 60_000 })("the rules of assets", (it) => {
  it.effect("take in again what came out of order, where a process takes a partition over after others", () =>
    Effect.gen(function* () {
      const { measure, partition, tenantId } = yield* setUp
      const bus = yield* Bus
      const sql = yield* PipelineSql
      const topic = Topics.asset
      const move = (number: number, next: bigint) => sql`
        insert into consumer_offsets ("group", topic, partition, log_id, epoch, next, partition_time)
        values (${Groups.assetRules}, ${topic}, ${number}, ${bus.logId}, 1, ${String(next)}::bigint, now())
        on conflict ("group", topic, partition) do update set next = excluded.next`
      const conclude = (outcome: Outcome) =>
        Effect.andThen(
          sql.withTransaction(outcome.store ?? Effect.void),
          Effect.sync(() => outcome.stored?.())
        )
      for (let number = 0; number < bus.partitions; number++) {
        yield* move(number, (yield* bus.range({ topic, partition: number })).end)
      }

      const before = yield* assetRules({ saveEveryMillis: 3_600_000 })
      yield* conclude(yield* before.tick!({ topic, partition }, at(0), 1n))
      yield* bus.publish([measure(800, 10)])
      yield* bus.publish(Array.from({ length: MANY }, (_, index) => measure(900 + index / 10, 10)))
      yield* bus.publish([measure(880, 95), measure(885, 10)])
      const { start, end } = yield* bus.range({ topic, partition })
      const records = yield* Stream.runCollect(bus.read({ topic, partition }, start, end))
      yield* conclude(yield* before.process({ topic, partition, records, next: end, end }, at(1_200), 1n))
      yield* move(partition, end)
      const spans = Effect.map(alarmsOf(tenantId), (alarms) =>
        alarms.map(({ ended_at, started_at, state }) => [started_at, ended_at, state])
      )
      assert.deepStrictEqual(yield* spans, [[at(880), at(885), "cleared"]])

      // All that was received is known by now, and one partition has been brought up to that.
      yield* noteSettled(sql, at(2_000))
      const after = yield* assetRules({ saveEveryMillis: 3_600_000 })
      const other = { topic, partition: (partition + 1) % bus.partitions }
      for (let round = 0; round < 3; round++) yield* conclude(yield* after.tick!(other, at(2_000), 1n))
      for (let round = 0; round < 3; round++) {
        yield* conclude(yield* after.tick!({ topic, partition }, at(2_000), 1n))
        assert.deepStrictEqual(yield* spans, [[at(880), at(885), "cleared"]])
      }
      assert.isTrue((yield* alarmsOf(tenantId)).every(({ settled }) => settled))
    })
  )
})
