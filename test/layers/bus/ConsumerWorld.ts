/**
 * What the tests of the consumer loop stand on: records, loops, a table that rows go to, and faults put into a real bus.
 * @module
 */
import { BusUnavailable, DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import { type Batch, Bus, type BusRecord, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { type Consumer, type Outcome, runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import { ConsumerStatus, StatusRegistry } from "@argusiq/layers/bus/consumer/ConsumerStatus.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { type Context, Effect, Fiber, Stream } from "effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

export const minute = 1_763_700_000_000_000
export const seconds = (count: number) => count * 1_000_000

/** A name for a group that no other test uses. */
let groups = 0
export const newGroup = () => `argusiq.test.${process.pid}.${++groups}`

export const messageIdOf = (key: string, value: number) =>
  uuidV5("6f0c4b58-3a0e-5a53-9a5e-0d6a3ad5c0de", `${key} ${value}`)

/** A record whose payload is a number, received that many seconds after {@link minute}. */
export const numbered = (key: string, value: number, more: Partial<BusRecord> = {}): BusRecord => ({
  topic: Topics.raw,
  key,
  value: new TextEncoder().encode(String(value)),
  ...more,
  headers: {
    "message-id": messageIdOf(key, value),
    "received-at": String(minute + seconds(value)),
    ...more.headers
  }
})
export const numbers = (key: string, from: number, to: number, more: Partial<BusRecord> = {}) =>
  Array.from({ length: to - from }, (_, index) => numbered(key, from + index, more))

export const numberOf = (record: StoredRecord) => Number(new TextDecoder().decode(record.value))

/** Rows that the tests' consumers store: refuses numbers below zero, and notices doubles. */
export const makeTable = Effect.gen(function* () {
  const sql = yield* OwnerSql
  yield* sql`create table stored (sequence bigint generated always as identity, "group" text, key text,
    number int check (number >= 0), transaction xid8 default pg_current_xact_id())`
  yield* sql`grant select, insert on stored to argusiq_pipeline`
})

export const storeRows = (group: string, records: ReadonlyArray<StoredRecord>) =>
  Effect.gen(function* () {
    const sql = yield* PipelineSql
    yield* sql`insert into stored ("group", key, number)
      select ${group}, key, number from unnest(${records.map(({ key }) => key)}::text[],
        ${records.map(numberOf)}::int[]) as given (key, number)`
  }).pipe(Effect.catchTag("SqlError", (cause) => Effect.fail(new DatabaseUnavailable({ cause }))))

/** What a group has stored of a key, in the order in which it was inserted. */
export const storedOf = (group: string, key: string) =>
  Effect.gen(function* () {
    const sql = yield* PipelineSql
    const rows = yield* sql<{ number: number }>`select number from stored where "group" = ${group} and key = ${key}
      order by sequence`
    return rows.map(({ number }) => number)
  })

export const offsetOf = (group: string, partition: number, topic: string = Topics.raw) =>
  Effect.gen(function* () {
    const sql = yield* PipelineSql
    const rows = yield* sql<{ epoch: bigint; next: bigint; last: string; time: bigint }>`
      select epoch, next, last_message_id::text as last, (extract(epoch from partition_time) * 1000000)::bigint as time
      from consumer_offsets where "group" = ${group} and topic = ${topic} and partition = ${partition}`
    return rows[0]
  })

type Rows = PipelineSql

/** To be stored with those of other partitions. */
export const gathered = (group: string, records: ReadonlyArray<StoredRecord>) => ({
  values: records,
  store: (all: ReadonlyArray<StoredRecord>) => storeRows(group, all)
})

/** A consumer that stores each record as a row. */
export const storing = (
  group: string,
  process: (batch: Batch, time: number) => Effect.Effect<Outcome<Rows>, never, Rows> = (batch) =>
    Effect.succeed({ publish: [], deadLetters: [], rows: gathered(group, batch.records) })
): Consumer<Rows> => ({ service: "test", group, topics: [Topics.raw], offsets: "postgres", process })

/** A consumer that passes each record on to the next topic. */
export const forwarding = (group: string, more: Partial<Consumer<Rows>> = {}): Consumer<Rows> => ({
  service: "test",
  group,
  topics: [Topics.raw],
  offsets: "bus",
  process: (batch) =>
    Effect.succeed({
      publish: batch.records.map(({ key, value, headers }) => ({ topic: Topics.endpoint, key, value, headers })),
      deadLetters: []
    }),
  ...more
})

/** Runs a consumer until the test ends, with a registry of its own. */
export const start = <R>(consumer: Consumer<R>) =>
  Effect.gen(function* () {
    const status = new StatusRegistry()
    const fiber = yield* Effect.forkScoped(runConsumer(consumer).pipe(Effect.provideService(ConsumerStatus, status)), {
      startImmediately: true
    })
    return { status, stop: Fiber.interrupt(fiber) }
  })

/** Waits until it holds. */
export const until = <E, R>(what: string, holds: Effect.Effect<boolean, E, R>, within = 30_000) =>
  Effect.gen(function* () {
    const deadline = Date.now() + within
    while (!(yield* holds)) {
      if (Date.now() > deadline) return yield* Effect.die(new Error(`Waited in vain until ${what}`))
      yield* Effect.sleep(10)
    }
  })

/** All that a topic holds of a key. */
export const recordsOf = (topic: string, key: string) =>
  Effect.gen(function* () {
    const bus = yield* Bus
    const found: Array<StoredRecord> = []
    for (let partition = 0; partition < bus.partitions; partition++) {
      const { start, end } = yield* bus.range({ topic, partition })
      const records = yield* Stream.runCollect(bus.read({ topic, partition }, start, end))
      found.push(...[...records].filter((record) => record.key === key))
    }
    return found
  })

/** The partition that a key's records lie in. */
export const partitionOf = (key: string) =>
  Effect.map(recordsOf(Topics.raw, key), (records) => records[0]?.partition ?? Number.NaN)

/** The real bus, whose publishes are refused as long as `refuses` says so. */
export const refusing = (refuses: (records: ReadonlyArray<BusRecord>) => boolean) =>
  Effect.map(Bus, (bus) =>
    Bus.of({
      ...bus,
      publish: (records) =>
        Effect.suspend(() =>
          refuses(records) ? Effect.fail(new BusUnavailable({ cause: new Error("refused") })) : bus.publish(records)
        )
    })
  )

/** The real bus, to which this member's group is another one: two members can have the same partitions, as after a pause. */
export const besides = Effect.map(Bus, (bus) =>
  Bus.of({
    ...bus,
    subscribe: (options, handle) => bus.subscribe({ ...options, group: `${options.group}.other` }, handle)
  })
)

export const provideBus = <A, E, R>(effect: Effect.Effect<A, E, R>, bus: Context.Service.Shape<typeof Bus>) =>
  Effect.provideService(effect, Bus, bus)

/** Removed with the scope. */
export const freshDirectory = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "argusiq-consumer-"))),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true }))
)
