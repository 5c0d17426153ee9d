/**
 * The index of the dead letters and their retries, on a real log and a real database, with a consumer group that can be
 * mended.
 */
import { BRIDGE_GROUP, deadLetterRecord, type Failure } from "@argusiq/domain/dead-letter.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { deadLetterIndex } from "@argusiq/jobs/DeadLetterIndex.ts"
import { forgetRemoved, measureDeadLetters } from "@argusiq/jobs/deadLetterCare.ts"
import { publishRetries, recoverRetries, settleRetries } from "@argusiq/jobs/deadLetterRetries.ts"
import { Bus, type BusRecord, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { type Consumer } from "@argusiq/layers/bus/Consumer.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { DeadLetters } from "@argusiq/layers/dead-letters/DeadLetters.ts"
import * as RetryQueue from "@argusiq/layers/dead-letters/RetryQueue.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { newGroup, provideBus, recordsOf, refusing, start, until } from "../../layers/bus/ConsumerWorld.ts"
import { testDatabase } from "../../support/postgres.ts"
import { testBus } from "../dispatcher/topics.ts"

const world = DeadLetters.layer.pipe(
  Layer.provideMerge(ProfileCache.layer({ size: 100 })),
  Layer.provideMerge(Layer.merge(testBus, testDatabase))
)

const text = (value: Uint8Array) => new TextDecoder().decode(value)

const makeTenant = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const tenantId = randomUUID() as TenantId
  yield* sql`insert into organizations (id, name, slug) values (${tenantId}, 'T', ${tenantId})`
  return { tenantId, userId: undefined, isPlatformAdmin: false }
})

const rows = (tenantId: string) =>
  Effect.flatMap(
    OwnerSql,
    (sql) =>
      sql<{ id: string; state: string; attempts: number; retries: number; offset: bigint; message: string }>`
        select id, state, attempts, retries, "offset", message from dead_letters where tenant_id = ${tenantId}::uuid
        order by failed_at, id`
  )
const statesOf = (tenantId: string) => Effect.map(rows(tenantId), (all) => all.map(({ state }) => state))

const message = (tenantId: string, key: string, payload: string): BusRecord => ({
  topic: Topics.endpoint,
  key,
  value: Buffer.from(payload),
  headers: {
    "message-id": randomUUID(),
    "tenant-id": tenantId,
    "device-id": key,
    "received-at": String(Date.now() * 1_000),
    source: "mqtt"
  }
})

const failure = (record: BusRecord, more: Partial<Failure> = {}): Failure => ({
  record,
  error: new Poison({ reason: "ExtractionFailed", message: "no temperature" }),
  group: "argusiq.normalizer",
  stage: "normalizer",
  failedAt: Date.now() * 1_000,
  ...more
})

/** A group that refuses what is "bad" until it is mended, and all that it has taken. */
const mendable = Effect.gen(function* () {
  const group = newGroup()
  const taken: Array<StoredRecord> = []
  const state = { mended: false }
  const consumer: Consumer = {
    service: "test",
    group,
    topics: [Topics.endpoint],
    offsets: "bus",
    process: ({ records }) =>
      Effect.sync(() => {
        const bad = records.filter(({ value }) => !state.mended && text(value).includes("bad"))
        taken.push(...records.filter((record) => !bad.includes(record)))
        const error = new Poison({ reason: "ExtractionFailed", message: "bad" })
        return { publish: [], deadLetters: bad.map((record) => ({ record, error })) }
      })
  }
  const { stop } = yield* start(consumer)
  const takenOf = (key: string) => taken.filter((record) => record.key === key).map(({ value }) => text(value))
  return { group, mend: () => (state.mended = true), takenOf, taken, stop }
})

const indexing = Effect.flatMap(deadLetterIndex, start)

/** What a test begins with: an organisation of its own, and the index at work until the test ends. */
const setUp = Effect.gen(function* () {
  const actor = yield* makeTenant
  const { tenantId } = actor
  return {
    actor,
    tenantId,
    bus: yield* Bus,
    letters: yield* DeadLetters,
    index: yield* indexing,
    /** Waits until the organisation has so many entries. */
    indexed: (count: number) =>
      until(
        `${count} are indexed`,
        Effect.map(rows(tenantId), (all) => all.length === count)
      )
  }
})

/** Rows without records. */
const fill = (tenantId: string, count: number) =>
  Effect.flatMap(
    OwnerSql,
    (sql) => sql`insert into dead_letters (id, tenant_id, "group", stage, reason, message, topic, partition, "offset",
        headers, size, attempts, failed_at, received_at)
      select gen_random_uuid(), ${tenantId}::uuid, 'argusiq.normalizer', 'normalizer', 'Undecodable', '',
        ${deadLetterTopic(Topics.endpoint)}, 0, 1000000 + number, '{}', 1, 1, now(), now()
      from generate_series(1, ${count}::int) as number`
  )

layer(world, { excludeTestServices: true })("dead letters", (it) => {
  describe("the index of them", () => {
    it.effect("has one entry for a failure however often it is told, and opens it again when a retry fails", () =>
      Effect.gen(function* () {
        const { bus, indexed, tenantId } = yield* setUp
        const record = message(tenantId, randomUUID(), "x")
        const first = deadLetterRecord(failure(record))
        yield* bus.publish([first])
        yield* indexed(1)
        const sql = yield* OwnerSql
        yield* sql`update dead_letters set state = 'resolved', resolved_at = now() where tenant_id = ${tenantId}`
        const [before] = yield* rows(tenantId)
        yield* bus.publish([first])
        yield* until(
          "its place is the last record's",
          Effect.map(rows(tenantId), ([row]) => row!.offset > before!.offset)
        )
        assert.deepInclude((yield* rows(tenantId))[0], { state: "resolved", attempts: 1, retries: 0 })
        const retry = { "retry-of": first.headers["dlq-id"], "retry-group": "argusiq.normalizer", "dlq-attempts": "1" }
        const error = new Poison({ reason: "SchemaMismatch", message: "another fault" })
        yield* bus.publish([
          deadLetterRecord(failure({ ...record, headers: { ...record.headers, ...retry } }, { error }))
        ])
        yield* until(
          "it is open again",
          Effect.map(statesOf(tenantId), ([state]) => state === "open")
        )
        const all = yield* rows(tenantId)
        assert.lengthOf(all, 1)
        assert.deepInclude(all[0], { attempts: 2, retries: 1, message: "another fault" })
      })
    )

    it.effect("passes by what is no dead letter or cannot be stored, and goes on", () =>
      Effect.gen(function* () {
        const { bus, indexed, tenantId } = yield* setUp
        const key = randomUUID()
        const letter = (payload: string) => deadLetterRecord(failure(message(tenantId, key, payload)))
        yield* bus.publish([
          letter("1"),
          { topic: deadLetterTopic(Topics.endpoint), key, value: Buffer.from("no letter"), headers: {} },
          { ...letter("2"), headers: { ...letter("2").headers, "dlq-attempts": "many" } },
          { ...letter("3"), headers: { ...letter("3").headers, "client-id": "a\0b" } },
          letter("4")
        ])
        yield* indexed(3)
      })
    )

    it.effect("read again from the start, twice, it is what it was", () =>
      Effect.gen(function* () {
        const { bus, index, tenantId } = yield* setUp
        const sql = yield* OwnerSql
        const letters = Array.from({ length: 50 }, (_, index) =>
          deadLetterRecord(failure(message(tenantId, randomUUID(), String(index))))
        )
        yield* bus.publish([...letters, ...letters.slice(0, 20)])
        const partitions = Array.from({ length: bus.partitions }, (_, partition) => partition)
        const written = yield* Effect.forEach(partitions, (partition) =>
          Effect.map(bus.range({ topic: deadLetterTopic(Topics.endpoint), partition }), ({ end }) => Number(end))
        )
        const total = written.reduce((sum, end) => sum + end, 0)
        const allRead = Effect.map(
          sql<{ n: number }>`select sum(next)::int as n from consumer_offsets where "group" = ${Groups.deadLetters}`,
          ([row]) => row?.n === total
        )
        yield* until("all is read", allRead)
        yield* index.stop
        const before = yield* rows(tenantId)
        assert.lengthOf(before, 50)
        for (let round = 0; round < 2; round++) {
          yield* sql`update consumer_offsets set next = 0, last_message_id = null where "group" = ${Groups.deadLetters}`
          const again = yield* indexing
          yield* until("all is read again", allRead)
          yield* again.stop
        }
        assert.deepStrictEqual(yield* rows(tenantId), before)
      })
    )
  })

  describe("a retry", () => {
    it.effect(
      "goes once to the group that failed and to no other, whoever presses at the same time, and is resolved when taken",
      () =>
        Effect.gen(function* () {
          const { actor, bus, indexed, letters, tenantId } = yield* setUp
          const [failing, other] = [yield* mendable, yield* mendable]
          other.mend()
          const key = randomUUID()
          for (const payload of ["1", "bad 2", "3", "bad 4", "5"]) yield* bus.publish([message(tenantId, key, payload)])
          yield* indexed(2)
          assert.deepStrictEqual(failing.takenOf(key), ["1", "3", "5"])

          const retryAll = letters.retry(actor, { all: true })
          const answers = yield* Effect.all([retryAll, retryAll, retryAll], { concurrency: "unbounded" })
          assert.strictEqual(
            answers.reduce((sum, { retried }) => sum + retried, 0),
            2
          )
          assert.strictEqual(answers.filter(({ alreadyRetrying }) => alreadyRetrying === 2).length, 2)
          assert.strictEqual(yield* publishRetries, 2)
          assert.strictEqual(yield* publishRetries, 0)
          yield* until(
            "they have failed again",
            Effect.map(rows(tenantId), (all) => all.every(({ attempts, state }) => attempts === 2 && state === "open"))
          )
          assert.deepStrictEqual(
            (yield* rows(tenantId)).map(({ retries }) => retries),
            [1, 1]
          )

          failing.mend()
          assert.strictEqual((yield* letters.retry(actor, { all: true })).retried, 2)
          yield* publishRetries
          yield* until(
            "they are resolved",
            Effect.andThen(
              settleRetries,
              Effect.map(statesOf(tenantId), (states) => states.every((state) => state === "resolved"))
            )
          )
          assert.deepStrictEqual(failing.takenOf(key), ["1", "3", "5", "bad 2", "bad 4"])
          assert.deepStrictEqual(other.takenOf(key), ["1", "bad 2", "3", "bad 4", "5"])
          const again = yield* letters.retry(actor, { all: true })
          assert.deepInclude(again, { retried: 0, alreadyRetrying: 0 })
        })
    )

    it.effect("is not resolved before its group has come to it", () =>
      Effect.gen(function* () {
        const { actor, bus, indexed, letters } = yield* setUp
        const failing = yield* mendable
        yield* bus.publish([message(actor.tenantId, randomUUID(), "bad")])
        yield* indexed(1)
        yield* Effect.sleep(300)
        yield* failing.stop
        yield* letters.retry(actor, { all: true })
        yield* publishRetries
        for (let tries = 0; tries < 3; tries++) yield* settleRetries
        assert.deepStrictEqual(yield* statesOf(actor.tenantId), ["retrying"])
      })
    )

    it.effect("that failed again is not taken for resolved while the index has not come to that", () =>
      Effect.gen(function* () {
        const { actor, bus, index, indexed, letters } = yield* setUp
        const failing = yield* mendable
        const record = message(actor.tenantId, randomUUID(), "bad")
        yield* bus.publish([record])
        yield* indexed(1)
        yield* index.stop
        yield* letters.retry(actor, { all: true })
        yield* publishRetries
        yield* until(
          "the group is past the retry",
          Effect.map(bus.lag(failing.group), (places) => places.every(({ records }) => records === 0n))
        )
        assert.lengthOf(yield* recordsOf(deadLetterTopic(Topics.endpoint), record.key), 2)
        yield* settleRetries
        assert.deepStrictEqual(yield* statesOf(actor.tenantId), ["retrying"])
        yield* indexing
        yield* until(
          "it is open again",
          Effect.map(statesOf(actor.tenantId), ([state]) => state === "open")
        )
        yield* settleRetries
        assert.deepStrictEqual(yield* statesOf(actor.tenantId), ["open"])
      })
    )

    it.effect("waits while the bus is away, and is published once when it is back", () =>
      Effect.gen(function* () {
        const { actor, bus, indexed, letters } = yield* setUp
        const record = message(actor.tenantId, randomUUID(), "x")
        yield* bus.publish([deadLetterRecord(failure(record))])
        yield* indexed(1)
        yield* letters.retry(actor, { all: true })
        const away = yield* refusing(() => true)
        assert.strictEqual((yield* Effect.flip(provideBus(publishRetries, away)))._tag, "BusUnavailable")
        assert.deepStrictEqual(yield* statesOf(actor.tenantId), ["publishing"])
        yield* recoverRetries
        assert.deepStrictEqual(yield* statesOf(actor.tenantId), ["queued"])
        yield* publishRetries
        yield* recoverRetries
        assert.deepStrictEqual(yield* statesOf(actor.tenantId), ["retrying"])
        assert.lengthOf(yield* recordsOf(Topics.endpoint, record.key), 1)
      })
    )

    it.effect("whose end was not marked is found on the bus and not published again", () =>
      Effect.gen(function* () {
        const { actor, bus, indexed, letters } = yield* setUp
        const sql = yield* OwnerSql
        const record = message(actor.tenantId, randomUUID(), "x")
        yield* bus.publish([deadLetterRecord(failure(record))])
        yield* indexed(1)
        yield* letters.retry(actor, { all: true })
        yield* publishRetries
        yield* sql`update dead_letters set state = 'publishing', retry_until = null where tenant_id = ${actor.tenantId}`
        yield* recoverRetries
        assert.deepStrictEqual(yield* statesOf(actor.tenantId), ["retrying"])
        assert.strictEqual(yield* publishRetries, 0)
        const published = yield* recordsOf(Topics.endpoint, record.key)
        assert.lengthOf(published, 1)
        assert.deepInclude(published[0]!.headers, { "retry-group": "argusiq.normalizer", "dlq-attempts": "1" })
      })
    )

    it.effect("of one entry leaves a message that failed as a whole open", () =>
      Effect.gen(function* () {
        const { actor, bus, indexed, letters } = yield* setUp
        const failing = yield* mendable
        const record = message(actor.tenantId, randomUUID(), "bad")
        yield* bus.publish([record])
        yield* indexed(1)
        failing.mend()
        const [letter] = yield* rows(actor.tenantId)
        yield* letters.retry(actor, { ids: [letter!.id], entry: 4 })
        yield* publishRetries
        assert.strictEqual((yield* recordsOf(Topics.endpoint, record.key)).at(-1)?.headers["retry-entry"], "4")
        yield* until(
          "it is open again",
          Effect.andThen(
            settleRetries,
            Effect.map(statesOf(actor.tenantId), ([state]) => state === "open")
          )
        )
        assert.strictEqual((yield* rows(actor.tenantId))[0]?.attempts, 1)
      })
    )

    it.effect("of what the bridge refused runs its checks again: refused once more, or in, to all groups", () =>
      Effect.gen(function* () {
        const { actor, bus, letters, tenantId } = yield* setUp
        const sql = yield* OwnerSql
        const operator = { ...actor, isPlatformAdmin: true }
        const [deviceId, typeId, messageId] = [randomUUID(), randomUUID(), randomUUID()]
        const headers = {
          "message-id": messageId,
          "received-at": "1763700000000000",
          source: "mqtt",
          "mqtt-topic": `devices/${deviceId}/telemetry`
        }
        const record = { topic: Topics.raw, key: messageId, value: Buffer.from('{"t":1}'), headers }
        const error = new Poison({ reason: "UnknownDevice", message: "no such device" })
        yield* bus.publish([deadLetterRecord(failure(record, { error, group: BRIDGE_GROUP, stage: "bridge" }))])
        const one = Effect.map(letters.list(operator, { messageId, state: "all" }), ({ items }) => items[0])
        yield* until(
          "it is indexed",
          Effect.map(one, (item) => item?.state === "open")
        )
        assert.strictEqual((yield* letters.retry(actor, { all: true })).retried, 0)

        const { repairsHistory, retried } = yield* letters.retry(operator, { filter: { reason: "UnknownDevice" } })
        assert.deepStrictEqual([retried, repairsHistory], [1, 1])
        yield* publishRetries
        yield* until(
          "it is refused once more",
          Effect.map(one, (item) => item?.state === "open" && item.retries === 1)
        )

        yield* sql`insert into device_types (id, tenant_id, name) values (${typeId}, ${tenantId}, 'a type')`
        yield* sql`insert into devices (id, tenant_id, name, device_type_id) values (${deviceId}, ${tenantId}, 'D', ${typeId})`
        yield* letters.retry(operator, { filter: { reason: "UnknownDevice" } })
        yield* publishRetries
        assert.strictEqual((yield* one)?.state, "resolved")
        const [entered, ...others] = yield* recordsOf(Topics.raw, deviceId)
        assert.lengthOf(others, 0)
        assert.strictEqual(text(entered!.value), '{"t":1}')
        assert.deepInclude(entered!.headers, { ...headers, "device-id": deviceId, "tenant-id": tenantId })
        assert.notProperty(entered!.headers, "retry-group")
      })
    )

    it.effect("of a record that its topic no longer holds is given up, and the entry with it", () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const letters = yield* DeadLetters
        const actor = yield* makeTenant
        yield* fill(actor.tenantId, 1)
        assert.strictEqual((yield* letters.retry(actor, { all: true })).retried, 1)
        yield* publishRetries
        assert.deepStrictEqual(yield* rows(actor.tenantId), [])
        assert.strictEqual(yield* forgetRemoved, 0)
        assert.lengthOf(yield* RetryQueue.interrupted(sql), 0)
      })
    )
  })

  describe("too many of them", () => {
    it.effect("are told of once, until they were few in between", () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const { tenantId } = yield* makeTenant
        const { tenantId: neighbour } = yield* makeTenant
        const told = Effect.map(
          sql<{ tenant_id: string; payload: object }>`select tenant_id, payload from system_events
          where event_type = 'DLQ_HIGH' order by sequence`,
          (events) => events.map(({ payload, tenant_id }) => [tenant_id, payload])
        )
        const high = (deadLetters: number) => [tenantId, { topic: deadLetterTopic(Topics.endpoint), deadLetters }]
        const resolve = (count: number) =>
          sql`update dead_letters set state = 'resolved' where id in (select id from dead_letters
          where tenant_id = ${tenantId} and state = 'open' limit ${count})`
        yield* fill(tenantId, 100)
        yield* fill(neighbour, 100)
        yield* measureDeadLetters
        assert.deepStrictEqual(yield* told, [])
        yield* fill(tenantId, 1)
        yield* measureDeadLetters
        yield* measureDeadLetters
        yield* resolve(20)
        yield* measureDeadLetters
        yield* fill(tenantId, 60)
        yield* measureDeadLetters
        assert.deepStrictEqual(yield* told, [high(101)])
        yield* resolve(61)
        yield* measureDeadLetters
        yield* fill(tenantId, 30)
        yield* measureDeadLetters
        assert.deepStrictEqual(yield* told, [high(101), high(110)])
      })
    )

    it.effect("of an organization that no longer exists trouble nobody", () =>
      Effect.gen(function* () {
        yield* fill(randomUUID(), 101)
        yield* measureDeadLetters
      })
    )
  })
})
