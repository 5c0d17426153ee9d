import { chunker } from "@argusiq/chunker/Chunker.ts"
import { dispatcher } from "@argusiq/dispatcher/Dispatcher.ts"
import { wholeMessageId } from "@argusiq/domain/chunks.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopic, Topics, topicTable } from "@argusiq/domain/topics.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { provideBus, refusing, start as startConsumer, until } from "../../layers/bus/ConsumerWorld.ts"
import { type TestDevice } from "../../layers/profiles/registry.ts"
import { testDatabase } from "../../support/postgres.ts"
import { recordsOf, testBus } from "../dispatcher/topics.ts"
import { beaconsIn, beaconsOfAll, chunkRecord, chunksOf, insertGateways, seconds, start } from "./messages.ts"

/** Each test has a log of its own; they share the database, where a log's group would find the offset of another. */
const world = Layer.mergeAll(ProfileCache.layer({ size: 1_000 }), Chunks.layer, Transactions.layer).pipe(
  Layer.provideMerge(testDatabase)
)
const freshBus = Layer.effectDiscard(
  Effect.gen(function* () {
    const sql = yield* OwnerSql
    yield* sql`delete from consumer_offsets`
    yield* sql`delete from ingest_gaps`
    yield* sql`update ingest_heartbeat set accepted_until = now()`
  }).pipe(Effect.orDie)
).pipe(Layer.provideMerge(Layer.fresh(testBus)))

const run = Effect.flatMap(chunker, startConsumer)
const publish = (records: ReadonlyArray<BusRecord>) => Effect.flatMap(Bus, (bus) => bus.publish(records))
const oneGateway = Effect.suspend(() => Effect.map(insertGateways([randomUUID()]), ([gateway]) => gateway!))
const gateways = (count: number) => insertGateways(Array.from({ length: count }, () => randomUUID()))

const ofGateway = (topic: string, { deviceId }: TestDevice) =>
  Effect.map(recordsOf(topic), (records) => records.filter(({ key }) => key === deviceId))
const wholes = (gateway: TestDevice) => ofGateway(Topics.gateway, gateway)
const deadLetters = (gateway: TestDevice) => ofGateway(deadLetterTopic(Topics.gatewayChunked), gateway)

const transactionsOf = ({ deviceId }: TestDevice) =>
  Effect.flatMap(
    PipelineSql,
    (sql) => sql<{
      id: string
      correlation: string
      generation: number
      status: string
      chunks: number
      claimed: boolean
      emitted: boolean
      missing: ReadonlyArray<number> | null
      error: string | null
    }>`
      select id, correlation_id as correlation, generation, status, chunk_count as chunks, claimed_at is not null as claimed,
        emitted_at is not null as emitted, missing, error_message as error
      from telemetry_transactions where gateway_device_id = ${deviceId} order by correlation_id, generation`
  )

const eventsOf = ({ deviceId }: TestDevice) =>
  Effect.flatMap(
    PipelineSql,
    (sql) => sql<{ id: string; type: string; payload: { missing: ReadonlyArray<number>; received: number } }>`
      select id, event_type as type, payload from system_events where entity_id = ${deviceId}`
  )

const chunkCount = ({ deviceId }: TestDevice) =>
  Effect.flatMap(PipelineSql, (sql) =>
    Effect.map(
      sql<{ count: number }>`select count(*)::int as count from telemetry_chunks where device_id = ${deviceId}`,
      (rows) => rows[0]!.count
    )
  )

/** Waits until so many wholes are published and their transactions say so. */
const untilWhole = (gateway: TestDevice, count: number) =>
  until(
    `${count} wholes are published`,
    Effect.map(
      transactionsOf(gateway),
      (rows) => rows.filter((row) => row.emitted && row.missing === null).length >= count
    )
  )
const untilFailed = (gateway: TestDevice, count: number) =>
  until(
    `${count} groups have failed`,
    Effect.map(
      transactionsOf(gateway),
      (rows) => rows.filter((row) => row.emitted && row.status === "failed").length >= count
    )
  )
/** Waits until nothing is left to read. */
const untilRead = until(
  "all is read",
  Effect.gen(function* () {
    const lag = yield* (yield* Bus).lag(Groups.chunker)
    return lag.length > 0 && lag.every(({ records }) => records === 0n)
  })
)

const shuffled = <A>(list: ReadonlyArray<A>, seed: number): ReadonlyArray<A> =>
  list.toSorted((a, b) => uuidOrder(seed, list.indexOf(a)).localeCompare(uuidOrder(seed, list.indexOf(b))))
const uuidOrder = (seed: number, index: number) => uuidV5("6f0c4b58-3a0e-5a53-9a5e-0d6a3ad5c0de", `${seed} ${index}`)

layer(world, { excludeTestServices: true })("the chunker", (it) => {
  it.effect("makes one message of chunks in any order, repeated, of several gateways interleaved", () => {
    const seed = Date.now() % 1_000_000
    console.log(`seed ${seed}`)
    return Effect.gen(function* () {
      const all = yield* gateways(6)
      yield* run
      const sent = all.flatMap((gateway, index) => {
        const chunks = chunksOf(gateway, "one", 20 + index)
        return [...chunks, ...chunks.slice(3, 9), ...chunksOf(gateway, "two", 3)]
      })
      const mixed = shuffled(sent, seed)
      for (let from = 0; from < mixed.length; from += 40) yield* publish(mixed.slice(from, from + 40))
      for (const [index, gateway] of all.entries()) {
        yield* untilWhole(gateway, 2)
        const [first, ...others] = (yield* wholes(gateway)).toSorted((a, b) => b.value.length - a.value.length)
        assert.strictEqual(others.length, 1)
        assert.deepStrictEqual(beaconsIn(first!.value), beaconsOfAll("one", 20 + index))
        const { "message-id": messageId, ...headers } = first!.headers
        assert.strictEqual(messageId, wholeMessageId(gateway.deviceId, "one", 1))
        assert.deepStrictEqual(headers, {
          "tenant-id": gateway.tenantId,
          "device-id": gateway.deviceId,
          "received-at": String(start),
          source: "mqtt",
          "content-type": "application/json",
          "device-type-id": gateway.deviceTypeId,
          "type-version": "1"
        })
        assert.deepStrictEqual(yield* transactionsOf(gateway), [
          {
            id: messageId!,
            correlation: "one",
            generation: 1,
            status: "processing",
            chunks: 20 + index,
            claimed: true,
            emitted: true,
            missing: null,
            error: null
          },
          {
            id: wholeMessageId(gateway.deviceId, "two", 1),
            correlation: "two",
            generation: 1,
            status: "processing",
            chunks: 3,
            claimed: true,
            emitted: true,
            missing: null,
            error: null
          }
        ])
        assert.deepStrictEqual(yield* deadLetters(gateway), [])
      }
    }).pipe(Effect.provide(freshBus))
  })

  it.effect("has published a whole long before the next second's tick", () =>
    Effect.gen(function* () {
      const gateway = yield* oneGateway
      yield* run
      yield* publish(chunksOf(gateway, "first", 2))
      yield* untilWhole(gateway, 1)
      const took: Array<number> = []
      for (let round = 0; round < 5; round++) {
        const began = performance.now()
        yield* publish(chunksOf(gateway, `round ${round}`, 2))
        yield* until(
          "it is there",
          Effect.map(wholes(gateway), (all) => all.length >= round + 2)
        )
        took.push(performance.now() - began)
      }
      assert.isBelow(Math.min(...took), 400)
    }).pipe(Effect.provide(freshBus))
  )

  it.effect(
    "fails an incomplete message on partition time: its chunks are dead letters together, an event tells of it",
    () =>
      Effect.gen(function* () {
        const gateway = yield* oneGateway
        yield* run
        // The longest wait: its time is over just after a look for such messages, which the next one is 20 s later.
        yield* publish(chunksOf(gateway, "slow", 5, { without: [2, 4], receivedAt: start + 1 }))
        yield* publish([
          chunkRecord({ gateway, correlationId: "later", seq: 1, total: 2, receivedAt: start + seconds(60) })
        ])
        yield* untilRead
        yield* Effect.sleep("1500 millis")
        assert.deepStrictEqual(yield* deadLetters(gateway), [])
        yield* publish([
          chunkRecord({ gateway, correlationId: "later", seq: 2, total: 2, receivedAt: start + seconds(80) })
        ])
        yield* untilFailed(gateway, 1)
        yield* untilWhole(gateway, 1)
        const dead = yield* deadLetters(gateway)
        assert.deepStrictEqual(
          dead.map(({ headers }) => [
            headers["dlq-reason"],
            headers["dlq-stage"],
            headers["dlq-group"],
            headers["dlq-topic"]
          ]),
          [1, 3, 5].map(() => ["ChunkTimeout", "chunker", Groups.chunker, Topics.gatewayChunked])
        )
        assert.deepStrictEqual(
          dead.map(({ value }) => JSON.parse(new TextDecoder().decode(value)).seq),
          [1, 3, 5]
        )
        assert.strictEqual(new Set(dead.map(({ headers }) => headers["dlq-id"])).size, 3)
        const failed = (yield* transactionsOf(gateway)).find(({ correlation }) => correlation === "slow")!
        assert.strictEqual(failed.status, "failed")
        assert.deepStrictEqual(failed.missing, [2, 4])
        assert.include(failed.error, "2, 4")
        const events = yield* eventsOf(gateway)
        assert.deepStrictEqual(
          events.map(({ payload, type }) => [type, payload.missing, payload.received]),
          [["CHUNK_TIMEOUT", [2, 4], 3]]
        )
        assert.deepStrictEqual(
          (yield* wholes(gateway)).map(({ value }) => beaconsIn(value)),
          [beaconsOfAll("later", 2)]
        )
      }).pipe(Effect.provide(freshBus))
  )

  it.effect("time in which the platform accepted nothing does not count, nor what lies after its last word", () =>
    Effect.gen(function* () {
      const gateway = yield* oneGateway
      const sql = yield* OwnerSql
      const at = (count: number) => new Date((start + seconds(count)) / 1000)
      const passes = Effect.fnUntraced(function* (count: number) {
        yield* publish(chunksOf(gateway, `at ${count}`, 1, { receivedAt: start + seconds(count) }))
        yield* untilRead
        yield* Effect.sleep("1500 millis")
        return (yield* transactionsOf(gateway)).filter(({ status }) => status === "failed").length
      })
      yield* sql`update ingest_heartbeat set accepted_until = ${at(50)}`
      yield* run
      yield* publish(chunksOf(gateway, "cut", 3, { without: [2] }))
      yield* untilRead
      assert.strictEqual(yield* passes(100), 0)
      yield* sql`insert into ingest_gaps ("from", "to") values (${at(50)}, ${at(350)})`
      yield* sql`update ingest_heartbeat set accepted_until = ${at(1_000)}`
      assert.strictEqual(yield* passes(355), 0)
      yield* passes(400)
      yield* untilFailed(gateway, 1)
    }).pipe(Effect.provide(freshBus))
  )

  it.effect("refuses what contradicts its message, and the message is completed all the same", () =>
    Effect.gen(function* () {
      const gateway = yield* oneGateway
      yield* run
      const chunk = (seq: number, total: number, devices?: ReadonlyArray<object>, headers?: Record<string, string>) =>
        chunkRecord({
          gateway,
          correlationId: "m",
          seq,
          total,
          ...(devices && { devices }),
          ...(headers && { headers })
        })
      yield* publish([
        chunk(1, 3),
        chunk(2, 4),
        chunk(1, 3, [{ beaconId: "another" }]),
        chunk(4, 3),
        chunk(0, 3),
        { ...chunk(2, 3), value: Buffer.from("{") },
        chunk(2, 3, undefined, { "type-version": "7" }),
        chunk(2, 3),
        chunk(3, 3)
      ])
      yield* untilWhole(gateway, 1)
      const reasons = (yield* deadLetters(gateway)).map(({ headers }) => headers["dlq-reason"]!)
      const contradictions = Array.from({ length: 4 }, () => "ChunkContradiction")
      assert.deepStrictEqual(
        reasons.toSorted((one, other) => one.localeCompare(other)),
        [...contradictions, "Undecodable", "UnknownProcessingMode"]
      )
      assert.deepStrictEqual(beaconsIn((yield* wholes(gateway))[0]!.value), beaconsOfAll("m", 3))
    }).pipe(Effect.provide(freshBus))
  )

  it.effect("chunks that cannot be merged fail their message together", () =>
    Effect.gen(function* () {
      const gateway = yield* oneGateway
      yield* run
      const odd = chunkRecord({ gateway, correlationId: "odd", seq: 2, total: 2 })
      yield* publish([
        chunkRecord({ gateway, correlationId: "odd", seq: 1, total: 2 }),
        { ...odd, value: Buffer.from('{"correlationId":"odd","seq":2,"total":2,"data":{"devices":7}}') },
        ...chunksOf(gateway, "even", 2)
      ])
      yield* untilFailed(gateway, 1)
      yield* untilWhole(gateway, 1)
      assert.deepStrictEqual(
        (yield* deadLetters(gateway)).map(({ headers }) => headers["dlq-reason"]),
        ["ChunkContradiction", "ChunkContradiction"]
      )
      const failed = (yield* transactionsOf(gateway)).find(({ correlation }) => correlation === "odd")!
      assert.deepStrictEqual([failed.status, failed.missing], ["failed", null])
      assert.include(failed.error, "$.data.devices")
      assert.strictEqual((yield* wholes(gateway)).length, 1)
    }).pipe(Effect.provide(freshBus))
  )

  it.effect(
    "a chunk that comes again after its message is a redelivery; a retry or replay makes one message more, once",
    () =>
      Effect.gen(function* () {
        const gateway = yield* oneGateway
        const sent = chunksOf(gateway, "m", 3)
        const replayed = chunksOf(gateway, "m", 3, { headers: { "replay-job": randomUUID(), "side-effects": "off" } })
        const letters = [randomUUID(), randomUUID(), randomUUID()]
        const retry = (attempts: string) =>
          sent.map((record, index) => ({
            ...record,
            headers: {
              ...record.headers,
              "retry-of": letters[index]!,
              "retry-group": Groups.chunker,
              "dlq-attempts": attempts
            }
          }))
        const first = yield* run
        const steps: ReadonlyArray<readonly [ReadonlyArray<BusRecord>, number]> = [
          [sent, 1],
          [sent, 1],
          [replayed, 2],
          [replayed, 2],
          [retry("1"), 3],
          [retry("1"), 3],
          [retry("2"), 4]
        ]
        for (const [records, expected] of steps) {
          yield* publish(records)
          yield* untilRead
          yield* untilWhole(gateway, expected)
          assert.strictEqual((yield* transactionsOf(gateway)).length, expected)
        }
        yield* first.stop
        yield* run
        yield* publish([...sent, ...replayed])
        yield* untilRead
        const generations = yield* wholes(gateway)
        assert.deepStrictEqual(
          generations.map(({ headers }) => headers["message-id"]),
          [1, 2, 3, 4].map((generation) => wholeMessageId(gateway.deviceId, "m", generation))
        )
        for (const { headers, value } of generations) {
          assert.deepStrictEqual(beaconsIn(value), beaconsOfAll("m", 3))
          assert.deepStrictEqual(
            Object.keys(headers).filter((name) => /^(dlq|retry)-/.test(name)),
            []
          )
        }
        assert.deepStrictEqual(
          generations.map(({ headers }) => headers["side-effects"]),
          [undefined, "off", undefined, undefined]
        )
      }).pipe(Effect.provide(freshBus))
  )

  it.effect("goes on after a restart with what it had: open messages, and claims that are not published yet", () =>
    Effect.gen(function* () {
      const gateway = yield* oneGateway
      const faulty = yield* refusing((records) => records.some(({ topic }) => topic === Topics.gateway))
      const first = yield* provideBus(run, faulty)
      yield* publish([...chunksOf(gateway, "whole", 3), ...chunksOf(gateway, "open", 3, { without: [2] })])
      yield* until(
        "the claim is stored",
        Effect.map(transactionsOf(gateway), (rows) => rows.some(({ claimed }) => claimed))
      )
      yield* first.stop
      assert.deepStrictEqual(
        (yield* transactionsOf(gateway)).map(({ claimed, correlation, emitted, status }) => [
          correlation,
          claimed,
          emitted,
          status
        ]),
        [
          ["open", false, false, "pending"],
          ["whole", true, false, "processing"]
        ]
      )
      yield* run
      yield* untilWhole(gateway, 1)
      yield* publish([chunkRecord({ gateway, correlationId: "open", seq: 2, total: 3 })])
      yield* untilWhole(gateway, 2)
      assert.deepStrictEqual(
        (yield* wholes(gateway)).map(({ value }) => beaconsIn(value)),
        [beaconsOfAll("whole", 3), beaconsOfAll("open", 3)]
      )
    }).pipe(Effect.provide(freshBus))
  )

  it.effect("fails nothing whose chunks are in the log when it comes back after an outage", () =>
    Effect.gen(function* () {
      const { partitions } = yield* Bus
      const gateway = yield* oneGateway
      const first = yield* run
      yield* publish(chunksOf(gateway, "before", 4, { without: [3, 4] }))
      yield* untilRead
      yield* first.stop
      // All others are five minutes further, and so are the first records behind what the log still holds of the message.
      const sql = yield* PipelineSql
      yield* sql`insert into consumer_offsets ("group", topic, partition, partition_time)
        select ${Groups.dispatcher}, ${Topics.raw}, partition, to_timestamp(${(start + seconds(300)) / 1e6})
        from generate_series(0, ${partitions - 1}) as partition`
      const between = Array.from({ length: 2_100 }, (_, index) =>
        chunkRecord({
          gateway,
          correlationId: `between ${index}`,
          seq: 1,
          total: 1,
          receivedAt: start + seconds(1) + index
        })
      )
      yield* publish(between)
      yield* publish(chunksOf(gateway, "before", 4, { without: [1, 2], receivedAt: start + seconds(20) }))
      yield* publish([
        chunkRecord({ gateway, correlationId: "after", seq: 1, total: 1, receivedAt: start + seconds(299) })
      ])
      yield* run
      yield* untilWhole(gateway, 2_102)
      assert.deepStrictEqual(yield* deadLetters(gateway), [])
      const rows = yield* transactionsOf(gateway)
      assert.isTrue(rows.every(({ missing, status }) => status === "processing" && missing === null))
    }).pipe(Effect.provide(freshBus))
  )

  it.effect("nor after five minutes in which only the bridge ran, whoever of the others is back first", () =>
    Effect.gen(function* () {
      const gateway = yield* oneGateway
      const before = Date.now() * 1_000 - seconds(300)
      const first = yield* run
      yield* publish([
        ...chunksOf(gateway, "all in the log", 4, { without: [3, 4], receivedAt: before }),
        ...chunksOf(gateway, "one never sent", 2, { without: [2], receivedAt: before })
      ])
      yield* untilRead
      yield* first.stop
      const inRaw = chunksOf(gateway, "all in the log", 4, { without: [1, 2], receivedAt: before + seconds(20) })
      yield* publish(inRaw.map((record) => ({ ...record, topic: Topics.raw })))
      yield* run
      // Time passes for a chunker that has nothing to read.
      yield* Effect.sleep("2500 millis")
      yield* Effect.flatMap(dispatcher, startConsumer)
      yield* untilWhole(gateway, 1)
      yield* untilFailed(gateway, 1)
      const rows = yield* transactionsOf(gateway)
      assert.deepStrictEqual(
        rows.map(({ correlation, missing, status }) => [correlation, status, missing]),
        [
          ["all in the log", "processing", null],
          ["one never sent", "failed", [2]]
        ]
      )
    }).pipe(Effect.provide(freshBus))
  )

  it.effect("read again from the beginning of the log it publishes nothing anew and fails nothing", () =>
    Effect.gen(function* () {
      const gateway = yield* oneGateway
      const sql = yield* OwnerSql
      const first = yield* run
      yield* publish(chunksOf(gateway, "early", 3, { receivedAt: start }))
      yield* publish(chunksOf(gateway, "late", 3, { receivedAt: start + seconds(1_000) }))
      yield* untilWhole(gateway, 2)
      yield* first.stop
      yield* sql`update consumer_offsets set next = 0, last_message_id = null`
      const second = yield* run
      yield* untilRead
      yield* Effect.sleep("1500 millis")
      yield* second.stop
      assert.strictEqual((yield* wholes(gateway)).length, 2)
      assert.strictEqual((yield* transactionsOf(gateway)).length, 2)
      // the same with nothing left of the chunks, as long after they were sent
      yield* sql`delete from telemetry_chunks`
      yield* sql`update consumer_offsets set next = 0, last_message_id = null`
      yield* run
      yield* untilWhole(gateway, 4)
      assert.deepStrictEqual(yield* deadLetters(gateway), [])
      const ids = (yield* wholes(gateway)).map(({ headers }) => headers["message-id"])
      assert.strictEqual(new Set(ids).size, 4)
    }).pipe(Effect.provide(freshBus))
  )

  it.effect(
    "removes the chunks of finished messages when their topic cannot deliver them again, those of open ones never",
    () =>
      Effect.gen(function* () {
        const gateway = yield* oneGateway
        const retention = topicTable.get(Topics.gatewayChunked)!.retentionMillis * 1_000
        yield* run
        yield* publish(chunksOf(gateway, "old", 4))
        yield* untilWhole(gateway, 1)
        yield* publish(chunksOf(gateway, "next", 1, { receivedAt: start + retention + seconds(50) }))
        yield* untilWhole(gateway, 2)
        yield* Effect.sleep("1500 millis")
        assert.strictEqual(yield* chunkCount(gateway), 5)
        yield* publish(chunksOf(gateway, "open", 3, { without: [1], receivedAt: start + retention + seconds(100) }))
        yield* until(
          "the old ones are gone",
          Effect.map(chunkCount(gateway), (count) => count === 3)
        )
        yield* publish(chunksOf(gateway, "old", 4, { receivedAt: start + retention + seconds(101) }))
        yield* untilWhole(gateway, 3)
        assert.deepStrictEqual(
          (yield* transactionsOf(gateway))
            .filter(({ correlation }) => correlation === "old")
            .map(({ generation }) => generation),
          [1, 2]
        )
      }).pipe(Effect.provide(freshBus))
  )
})
