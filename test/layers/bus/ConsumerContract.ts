/**
 * What the consumer loop promises, on any bus and a real PostgreSQL.
 * @module
 */
import { DatabaseUnavailable, DeadLetterHeaders, Poison } from "@argusiq/domain/errors.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { partitionOf as murmurOf } from "@argusiq/layers/bus/murmur2.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer } from "@argusiq/layers/bus/Consumer.ts"
import { rewind } from "@argusiq/layers/bus/consumer/Offsets.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { allSafeguards, Safeguards } from "@argusiq/layers/Safeguards.ts"
import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Layer, Logger, Schema } from "effect"
import { testDatabase } from "../../support/postgres.ts"
import {
  besides,
  forwarding,
  makeTable,
  gathered,
  messageIdOf,
  minute,
  newGroup,
  numbered,
  numberOf,
  numbers,
  offsetOf,
  partitionOf,
  provideBus,
  recordsOf,
  refusing,
  seconds,
  start,
  storedOf,
  storeRows,
  storing,
  until
} from "./ConsumerWorld.ts"

export interface BusUnderTest {
  /** A bus of its own for one test. */
  readonly bus: Layer.Layer<Bus>
  /** A bus whose raw topic forgets records at once, when told to. */
  readonly forgetful: Layer.Layer<Bus | Forgetting>
}
export class Forgetting extends Context.Service<Forgetting, { readonly run: Effect.Effect<unknown, unknown> }>()(
  "argusiq/test/Forgetting"
) {}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index)
/** In several partitions. */
const keys = range(0, 30).map((index) => `key-${index}`)

const untilStored = (group: string, rows: number) =>
  until(
    `${rows} rows are stored`,
    Effect.flatMap(PipelineSql, (sql) =>
      Effect.map(sql`select from stored where "group" = ${group}`, (stored) => stored.length >= rows)
    )
  )

/** Collects what is logged as an error. */
const listen = () => {
  const errors: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    if (logLevel === "Error" || logLevel === "Warn") errors.push(`${logLevel} ${String(message)}`)
  })
  return { errors, layer: Logger.layer([logger]) }
}

export const consumerContract = (name: string, { bus: busLayer, forgetful }: BusUnderTest) => {
  const database = Layer.provideMerge(Layer.effectDiscard(Effect.orDie(makeTable)), testDatabase)
  layer(database, { excludeTestServices: true, concurrent: true })(`the consumer loop on ${name}`, (it) => {
    it.effect("stores the records of each key in their order, once", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        yield* start(storing(group))
        const keys = range(0, 30).map((index) => `key-${index}`)
        for (let round = 0; round < 10; round++) {
          yield* bus.publish(keys.flatMap((key) => numbers(key, round * 10, round * 10 + 10)))
        }
        for (const key of keys) {
          yield* until(
            "all are stored",
            Effect.map(storedOf(group, key), (rows) => rows.length >= 100)
          )
          assert.deepStrictEqual(yield* storedOf(group, key), range(0, 100))
        }
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("goes on where it was after a restart", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        yield* bus.publish(numbers("a", 0, 50))
        const first = yield* start(storing(group))
        yield* until(
          "the first are stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 50)
        )
        yield* first.stop
        yield* bus.publish(numbers("a", 50, 100))
        yield* start(storing(group))
        yield* until(
          "the rest is stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 100)
        )
        assert.deepStrictEqual(yield* storedOf(group, "a"), range(0, 100))
        const offset = yield* offsetOf(group, yield* partitionOf("a"))
        assert.strictEqual(offset?.next, 100n)
        assert.strictEqual(offset?.last, messageIdOf("a", 99))
        assert.strictEqual(offset?.epoch, 2n)
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("repeats a batch while something is unavailable, other partitions go on, and it is told once", () => {
      const { errors, layer: logs } = listen()
      return Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        let attempts = 0
        let isAway = true
        yield* bus.publish([...numbers("a", 0, 5), ...numbers("c", 0, 5)])
        const [a, c] = [yield* partitionOf("a"), yield* partitionOf("c")]
        assert.notStrictEqual(a, c)
        const { status } = yield* start({
          ...storing(group),
          process: (batch) =>
            batch.partition === a && (attempts++, isAway)
              ? Effect.fail(new DatabaseUnavailable({ cause: new Error("away") }))
              : Effect.succeed({ publish: [], deadLetters: [], store: storeRows(group, batch.records) })
        })
        yield* until(
          "c is stored",
          Effect.map(storedOf(group, "c"), (rows) => rows.length === 5)
        )
        yield* until(
          "a is tried again and again",
          Effect.sync(() => attempts >= 4)
        )
        const waiting = status.all().find(({ partition }) => partition === a)
        assert.strictEqual(waiting?.status._tag, "Waiting")
        isAway = false
        yield* until(
          "a is stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length === 5)
        )
        assert.strictEqual(status.all().find(({ partition }) => partition === a)?.status._tag, "Running")
        assert.strictEqual(errors.filter((line) => line.includes("away")).length, 1)
      }).pipe(Effect.provide(busLayer), Effect.provide(logs))
    })

    it.effect("repeats a batch whose connection was cut in its transaction, without doubling it", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const sql = yield* PipelineSql
        let cuts = 0
        yield* bus.publish(numbers("a", 0, 20))
        yield* start(
          storing(group, (batch) =>
            Effect.succeed({
              publish: [],
              deadLetters: [],
              store: Effect.gen(function* () {
                yield* storeRows(group, batch.records)
                if (++cuts <= 2) yield* Effect.orDie(sql`select pg_terminate_backend(pg_backend_pid())`)
              })
            })
          )
        )
        yield* until(
          "all are stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 20)
        )
        assert.strictEqual(cuts, 3)
        assert.deepStrictEqual(yield* storedOf(group, "a"), range(0, 20))
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("a commit whose answer was lost is recognised and not repeated", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const sql = yield* PipelineSql
        yield* bus.publish(numbers("a", 0, 20))
        let attempts = 0
        // The transaction commits; the caller hears of a lost connection.
        const withGuard: typeof sql.withGuard = (guard, rest) =>
          Effect.suspend(() => {
            attempts++
            return sql.withGuard(guard, rest)
          }).pipe(
            Effect.tap(() => (attempts === 1 ? new DatabaseUnavailable({ cause: new Error("cut") }) : Effect.void))
          ) as ReturnType<typeof sql.withGuard<never, never, never, never>>
        const deaf = new Proxy(sql, {
          get: (target, property, receiver) =>
            property === "withGuard" ? withGuard : Reflect.get(target, property, receiver)
        })
        yield* start(storing(group)).pipe(Effect.provideService(PipelineSql, deaf))
        yield* until(
          "the batch was tried again",
          Effect.sync(() => attempts >= 2)
        )
        yield* bus.publish(numbers("a", 20, 25))
        yield* until(
          "the rest is stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 25)
        )
        assert.deepStrictEqual(yield* storedOf(group, "a"), range(0, 25))
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("a poison record goes to the dead letters with its bytes, its neighbours are stored", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        yield* bus.publish(numbers("a", 0, 10))
        yield* start(
          storing(group, ({ records }) =>
            Effect.succeed({
              publish: [],
              deadLetters: records
                .filter((record) => numberOf(record) === 4)
                .map((record) => ({
                  record,
                  error: new Poison({ reason: "Undecodable", message: "four", path: "$.x" })
                })),
              store: storeRows(
                group,
                records.filter((record) => numberOf(record) !== 4)
              )
            })
          )
        )
        yield* until(
          "the others are stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 9)
        )
        assert.deepStrictEqual(yield* storedOf(group, "a"), [0, 1, 2, 3, 5, 6, 7, 8, 9])
        const dead = yield* recordsOf(deadLetterTopic(Topics.raw), "a")
        assert.strictEqual(dead.length, 1)
        assert.deepStrictEqual(dead[0]!.value, numbered("a", 4).value)
        assert.strictEqual(dead[0]!.headers["message-id"], messageIdOf("a", 4))
        const headers = yield* Schema.decodeUnknownEffect(DeadLetterHeaders)(dead[0]!.headers)
        assert.strictEqual(headers["dlq-group"], group)
        assert.strictEqual(headers["dlq-reason"], "Undecodable")
        assert.strictEqual(headers["dlq-offset"], "4")
        assert.strictEqual(headers["dlq-topic"], Topics.raw)
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("the offset waits for a dead letter that cannot be published", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        let refused = 0
        let open = false
        const faulty = yield* refusing((records) => {
          const refuse = !open && records.some(({ topic }) => topic.endsWith(".dlq"))
          if (refuse) refused++
          return refuse
        })
        yield* bus.publish(numbers("a", 0, 10))
        const partition = yield* partitionOf("a")
        yield* start(
          forwarding(group, {
            offsets: "postgres",
            process: ({ records }) =>
              Effect.succeed({
                publish: records.map((record) => ({ ...record, topic: Topics.endpoint })),
                deadLetters: [{ record: records[0]!, error: new Poison({ reason: "Undecodable", message: "bad" }) }],
                store: storeRows(group, records)
              })
          })
        ).pipe((loop) => provideBus(loop, faulty))
        yield* until(
          "it was refused several times",
          Effect.sync(() => refused >= 3)
        )
        assert.strictEqual((yield* offsetOf(group, partition))?.next, 0n)
        assert.deepStrictEqual(yield* storedOf(group, "a"), [])
        open = true
        yield* until(
          "all are stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 10)
        )
        assert.strictEqual((yield* recordsOf(deadLetterTopic(Topics.raw), "a")).length, 1)
        assert.strictEqual((yield* recordsOf(Topics.endpoint, "a")).length, 10)
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("a group on the bus does not commit before its records and dead letters are out", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        let open = false
        let refused = 0
        const faulty = yield* refusing(() => {
          if (!open) refused++
          return !open
        })
        yield* bus.publish(numbers("a", 0, 10))
        const loop = yield* provideBus(start(forwarding(group)), faulty)
        yield* until(
          "it was refused several times",
          Effect.sync(() => refused >= 3)
        )
        yield* loop.stop
        const committed = (yield* bus.lag(group)).reduce((sum, { records }) => sum + records, 0n)
        assert.strictEqual(committed, 10n)
        open = true
        yield* provideBus(start(forwarding(group)), faulty)
        yield* until(
          "all are out",
          Effect.map(recordsOf(Topics.endpoint, "a"), (records) => records.length >= 10)
        )
        yield* until(
          "it is committed",
          Effect.map(bus.lag(group), (lag) => lag.every(({ records }) => records === 0n))
        )
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("a row that is refused of one partition hurts none that is stored together with it", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        yield* bus.publish(keys.flatMap((key) => numbers(key, 0, 20)))
        yield* bus.publish([...numbers("key-0", 20, 25), numbered("key-0", -7), ...numbers("key-0", 25, 30)])
        yield* start(storing(group))
        yield* untilStored(group, keys.length * 20 + 10)
        for (const key of keys) assert.deepStrictEqual(yield* storedOf(group, key), range(0, key === "key-0" ? 30 : 20))
        assert.deepStrictEqual((yield* recordsOf(deadLetterTopic(Topics.raw), "key-0")).map(numberOf), [-7])
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("partitions that have rows at the same time store them together", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const sql = yield* PipelineSql
        yield* bus.publish(keys.flatMap((key) => numbers(key, 0, 20)))
        const busy = new Set(keys.map((key) => murmurOf(bus.partitions, Buffer.from(key)))).size
        const seen = new Set<number>()
        // Whoever is first is not stored before the others have something to store.
        const allSeen = yield* Deferred.make<void>()
        yield* start(
          storing(group, ({ partition, records }) => {
            seen.add(partition)
            if (seen.size >= busy) Deferred.doneUnsafe(allSeen, Exit.void)
            return Effect.as(Deferred.await(allSeen), { publish: [], deadLetters: [], rows: gathered(group, records) })
          })
        )
        yield* untilStored(group, keys.length * 20)
        const rows = yield* sql<{ transactions: number }>`
          select count(distinct transaction)::int as transactions from stored where "group" = ${group}`
        assert.isAtMost(rows[0]!.transactions, 4, `transactions of ${busy} partitions`)
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("a row that PostgreSQL refuses is found by halving, its neighbours are stored in order", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        yield* bus.publish([...numbers("a", 0, 100), numbered("a", -7), ...numbers("a", 100, 300)])
        yield* start(storing(group))
        yield* until(
          "the others are stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 300)
        )
        assert.deepStrictEqual(yield* storedOf(group, "a"), range(0, 300))
        const dead = yield* recordsOf(deadLetterTopic(Topics.raw), "a")
        assert.deepStrictEqual(dead.map(numberOf), [-7])
        assert.strictEqual(dead[0]!.headers["dlq-reason"], "Unstorable")
        assert.include(dead[0]!.headers["dlq-message"], "23514")
        assert.strictEqual((yield* offsetOf(group, dead[0]!.partition))?.next, 301n)
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("a record on which our code throws is dead-lettered as a fault of ours, the rest goes on", () => {
      const { errors, layer: logs } = listen()
      return Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        yield* bus.publish(numbers("a", 0, 20))
        yield* start(
          storing(group, ({ records }) => {
            if (records.some((record) => numberOf(record) === 13)) throw new TypeError("thirteen")
            return Effect.succeed({ publish: [], deadLetters: [], store: storeRows(group, records) })
          })
        )
        yield* until(
          "the others are stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 19)
        )
        const dead = yield* recordsOf(deadLetterTopic(Topics.raw), "a")
        assert.deepStrictEqual(dead.map(numberOf), [13])
        assert.include(dead[0]!.headers["dlq-message"], "fault of the platform")
        assert.isTrue(errors.some((line) => line.includes("offset 13") && line.includes("thirteen")))
      }).pipe(Effect.provide(busLayer), Effect.provide(logs))
    })

    it.effect("a record that becomes too large for a topic is dead-lettered, the rest goes on", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        yield* bus.publish(numbers("a", 0, 10))
        yield* start(
          forwarding(group, {
            process: ({ records }) =>
              Effect.succeed({
                publish: records.map((record) =>
                  numberOf(record) === 3
                    ? { ...record, topic: Topics.endpoint, value: new Uint8Array(17 * 1_048_576) }
                    : { ...record, topic: Topics.endpoint }
                ),
                deadLetters: []
              })
          })
        )
        const dead = recordsOf(deadLetterTopic(Topics.raw), "a")
        yield* until(
          "it is dead-lettered",
          Effect.map(dead, (records) => records.length >= 1)
        )
        assert.deepStrictEqual((yield* dead).map(numberOf), [3])
        assert.strictEqual((yield* dead)[0]!.headers["dlq-reason"], "RecordTooLarge")
        yield* until(
          "the others are out",
          Effect.map(recordsOf(Topics.endpoint, "a"), (records) => new Set(records.map(numberOf)).size === 9)
        )
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("records retried for another group are passed by, and a restart goes on behind them", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        yield* bus.publish([
          numbered("a", 1, { headers: { "retry-group": "argusiq.other" } }),
          numbered("a", 2, { headers: { "retry-group": group } }),
          numbered("a", 3),
          numbered("a", 4, { headers: { "retry-group": "argusiq.other" } })
        ])
        const first = yield* start(storing(group))
        const partition = yield* partitionOf("a")
        yield* until(
          "the offset is past them",
          Effect.map(offsetOf(group, partition), (row) => row?.next === 4n)
        )
        assert.deepStrictEqual(yield* storedOf(group, "a"), [2, 3])
        yield* first.stop
        yield* bus.publish([numbered("a", 5)])
        yield* start(storing(group))
        yield* until(
          "the next is stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length === 3)
        )
      }).pipe(Effect.provide(busLayer))
    )

    /** Another member takes over what one holds, stores it, and then the first goes on; gives how often that one stored. */
    const takenOver = Effect.fnUntraced(function* (group: string, wasRefused: () => boolean) {
      const bus = yield* Bus
      const held = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      let zombieStored = 0
      yield* bus.publish(numbers("a", 0, 10))
      const zombie = yield* start(
        storing(group, ({ records }) =>
          Effect.gen(function* () {
            yield* Deferred.succeed(held, undefined)
            yield* Deferred.await(release)
            return {
              publish: [],
              deadLetters: [],
              store: Effect.andThen(storeRows(group, records), () => Effect.sync(() => void zombieStored++))
            }
          })
        )
      )
      yield* Deferred.await(held)
      yield* provideBus(start(storing(group)), yield* besides)
      yield* until(
        "the new member has stored all",
        Effect.map(storedOf(group, "a"), (rows) => rows.length >= 10)
      )
      yield* Deferred.succeed(release, undefined)
      yield* until(
        "the old one was refused or has stored",
        Effect.sync(() => zombieStored > 0 || wasRefused())
      )
      yield* zombie.stop
      return zombieStored
    })

    it.effect(
      "a member that lost its partitions cannot commit: what it held is rolled back and nothing is doubled",
      () => {
        const { errors, layer: logs } = listen()
        return Effect.gen(function* () {
          const group = newGroup()
          const zombieStored = yield* takenOver(group, () => errors.some((line) => line.includes("was refused")))
          assert.strictEqual(zombieStored, 0)
          assert.deepStrictEqual(yield* storedOf(group, "a"), range(0, 10))
        }).pipe(Effect.provide(busLayer), Effect.provide(logs))
      }
    )

    it.effect("control: were its offset to move unconditionally, such a member would store again", () =>
      Effect.gen(function* () {
        const zombieStored = yield* takenOver(newGroup(), () => false)
        assert.isAbove(zombieStored, 0)
      }).pipe(
        Effect.provide(busLayer),
        Effect.provideService(Safeguards, { ...allSafeguards, conditionalOffsets: false })
      )
    )

    const misfits = [
      { what: "beyond the log's end", change: { next: "next + 5" } },
      { what: "of another log", change: { log_id: "'another'" } },
      {
        what: "after another record than the one remembered",
        change: { last_message_id: "'00000000-0000-5000-8000-000000000000'" }
      }
    ]
    for (const { what, change } of misfits) {
      it.effect(`an offset ${what} stops its partition, loudly, and no other`, () => {
        const { errors, layer: logs } = listen()
        return Effect.gen(function* () {
          const group = newGroup()
          const bus = yield* Bus
          const sql = yield* PipelineSql
          yield* bus.publish([...numbers("a", 0, 10), ...numbers("c", 0, 10)])
          const first = yield* start(storing(group))
          for (const key of ["a", "c"]) {
            yield* until(
              "it is stored",
              Effect.map(storedOf(group, key), (rows) => rows.length === 10)
            )
          }
          yield* first.stop
          const [a, c] = [yield* partitionOf("a"), yield* partitionOf("c")]
          const [column, value] = Object.entries(change)[0]!
          yield* sql.unsafe(`update consumer_offsets set ${column} = ${value} where "group" = $1 and partition = $2`, [
            group,
            a
          ])
          const before = yield* offsetOf(group, a)
          const second = yield* start(storing(group))
          yield* bus.publish([...numbers("a", 10, 20), ...numbers("c", 10, 20)])
          yield* until(
            "c goes on",
            Effect.map(storedOf(group, "c"), (rows) => rows.length === 20)
          )
          assert.deepStrictEqual(yield* storedOf(group, "a"), range(0, 10))
          assert.strictEqual((yield* offsetOf(group, a))?.next, before?.next)
          const report = second.status.all().find(({ partition }) => partition === a)
          assert.strictEqual(report?.status._tag, "Stopped")
          assert.strictEqual(second.status.all().find(({ partition }) => partition === c)?.status._tag, "Running")
          assert.isTrue(errors.some((line) => line.includes("has stopped") && line.includes("argusiq doctor")))
        }).pipe(Effect.provide(busLayer), Effect.provide(logs))
      })
    }

    it.effect("a stopped partition goes on at the oldest record of the log when that is accepted", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const sql = yield* PipelineSql
        yield* bus.publish(numbers("a", 0, 10))
        const partition = yield* partitionOf("a")
        yield* sql`insert into consumer_offsets ("group", topic, partition, log_id, next)
          values (${group}, ${Topics.raw}, ${partition}, ${"another"}, ${40})`
        const { status } = yield* start(storing(group))
        const found = () => status.all().find((report) => report.partition === partition)?.status
        yield* until(
          "it has stopped",
          Effect.sync(() => found()?._tag === "Stopped")
        )
        const stopped = found()
        assert.strictEqual(stopped?._tag === "Stopped" ? yield* stopped.accept : undefined, 0n)
        yield* bus.publish(numbers("a", 10, 20))
        yield* until(
          "all is stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 20)
        )
        assert.deepStrictEqual(yield* storedOf(group, "a"), range(0, 20))
        assert.strictEqual(found()?._tag, "Running")
        assert.strictEqual((yield* offsetOf(group, partition))?.next, 20n)
      }).pipe(Effect.provide(busLayer))
    )

    it.effect(
      "a partition that is set past all its records ticks again before the next one comes, and takes that",
      () =>
        Effect.gen(function* () {
          const bus = yield* Bus
          const sql = yield* PipelineSql
          const [inRows, onBus] = [newGroup(), newGroup()]
          const held = yield* Deferred.make<void>()
          yield* bus.publish(numbers("a", 0, 10))
          const partition = yield* partitionOf("a")
          const ticked = new Map<string, number>()
          const ticking = (group: string): Pick<Consumer, "tick"> => ({
            tick: (at, time) =>
              Effect.sync(() => {
                if (at.partition === partition) ticked.set(group, time)
                return { publish: [], deadLetters: [] }
              })
          })
          yield* sql`insert into consumer_offsets ("group", topic, partition, log_id, next)
          values (${inRows}, ${Topics.raw}, ${partition}, ${"another"}, ${40})`
          const { status } = yield* start({ ...storing(inRows), ...ticking(inRows) })
          const found = () => status.all().find((report) => report.partition === partition)?.status._tag
          const forward = forwarding(onBus)
          yield* start({
            ...forward,
            ...ticking(onBus),
            process: (...given) => Effect.andThen(Deferred.await(held), forward.process(...given))
          })
          yield* until(
            "one has stopped",
            Effect.sync(() => found() === "Stopped")
          )
          yield* bus.publish(numbers("a", 10, 20))
          const end = { topic: Topics.raw, partition, offset: 20n }
          assert.strictEqual(yield* rewind(sql, inRows, [end], bus.logId), 1)
          yield* bus.seek(inRows, [end])
          yield* bus.seek(onBus, [end])
          yield* Deferred.succeed(held, undefined)
          const passed = (group: string) => (ticked.get(group) ?? 0) > minute + seconds(60)
          yield* until(
            "both tick by the clock",
            Effect.sync(() => passed(inRows) && passed(onBus))
          )
          assert.strictEqual(found(), "Running")
          yield* bus.publish(numbers("a", 20, 25))
          yield* until(
            "the rest is stored",
            Effect.map(storedOf(inRows, "a"), (rows) => rows.length >= 5)
          )
          assert.deepStrictEqual(yield* storedOf(inRows, "a"), range(20, 25))
        }).pipe(Effect.provide(busLayer))
    )

    it.effect("a group whose offsets are in rows skips nothing when it is sought past them on the bus", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const [processing, held] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        yield* bus.publish(numbers("a", 0, 10))
        const partition = yield* partitionOf("a")
        yield* start(
          storing(group, ({ records }) =>
            Effect.as(Effect.andThen(Deferred.succeed(processing, undefined), Deferred.await(held)), {
              publish: [],
              deadLetters: [],
              store: storeRows(group, records)
            })
          )
        )
        yield* Deferred.await(processing)
        yield* bus.publish(numbers("a", 10, 20))
        yield* bus.seek(group, [{ topic: Topics.raw, partition, offset: 15n }])
        yield* Deferred.succeed(held, undefined)
        yield* until(
          "all is stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 20)
        )
        assert.deepStrictEqual(yield* storedOf(group, "a"), range(0, 20))
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("partition time is that of the latest record, replays and retries not counted, and never goes back", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const times: Array<number> = []
        yield* start({
          ...storing(group, ({ records }, time) => {
            times.push(time)
            return Effect.succeed({ publish: [], deadLetters: [], store: storeRows(group, records) })
          }),
          topics: [Topics.normalized]
        })
        const topic = Topics.normalized
        const send = (value: number, headers: Record<string, string> = {}) =>
          Effect.gen(function* () {
            const before = times.length
            yield* bus.publish([numbered("a", value, { topic, headers })])
            yield* until(
              "it is processed",
              Effect.sync(() => times.length > before)
            )
          })
        yield* send(10)
        yield* send(20, { "replay-job": messageIdOf("job", 1) })
        yield* send(30, { "retry-of": messageIdOf("letter", 1) })
        yield* send(5)
        yield* send(12)
        assert.deepStrictEqual(
          times.map((time) => (time - minute) / seconds(1)),
          [10, 10, 10, 10, 12]
        )
        const partition = (yield* recordsOf(topic, "a"))[0]!.partition
        yield* until(
          "it is stored with the offset",
          Effect.map(offsetOf(group, partition, topic), (row) => row?.time === BigInt(minute + seconds(12)))
        )
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("without lag the first topic's time is the clock, with lag it is not", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const ticks = new Map<number, Array<number>>()
        const release = yield* Deferred.make<void>()
        yield* bus.publish([...numbers("a", 0, 3)])
        const partition = yield* partitionOf("a")
        yield* start({
          ...storing(group, ({ records }) =>
            Effect.as(Deferred.await(release), { publish: [], deadLetters: [], store: storeRows(group, records) })
          ),
          tick: (at, time) =>
            Effect.sync(() => {
              ticks.set(at.partition, [...(ticks.get(at.partition) ?? []), time])
              return { publish: [], deadLetters: [] }
            })
        })
        yield* until(
          "idle partitions tick",
          Effect.sync(() => (ticks.get((partition + 1) % bus.partitions)?.length ?? 0) >= 2)
        )
        assert.isUndefined(ticks.get(partition))
        assert.isAbove(ticks.get((partition + 1) % bus.partitions)![0]!, (Date.now() - 10_000) * 1_000)
        yield* Deferred.succeed(release, undefined)
        yield* until(
          "it ticks as well",
          Effect.sync(() => (ticks.get(partition)?.at(-1) ?? 0) > minute + seconds(60))
        )
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("without lag a partition's time is the smallest of the groups that feed it", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const sql = yield* PipelineSql
        const partition = (yield* Effect.andThen(bus.publish([numbered("a", 1)]), partitionOf("a"))) as number
        let latest = 0
        yield* start({
          ...storing(group),
          topics: [Topics.endpoint],
          tick: (at, time) =>
            Effect.sync(() => {
              if (at.partition === partition) latest = time
              return { publish: [], deadLetters: [] }
            })
        })
        const feed = (topic: string, feeder: string, at: number) =>
          sql`insert into consumer_offsets ("group", topic, partition, partition_time)
            values (${feeder}, ${topic}, ${partition}, to_timestamp(${(minute + seconds(at)) / 1_000_000}))
            on conflict ("group", topic, partition) do update set partition_time = excluded.partition_time`
        yield* Effect.sleep("2500 millis")
        assert.strictEqual(latest, 0)
        yield* feed(Topics.raw, Groups.dispatcher, 50)
        yield* until(
          "the dispatcher's time arrives",
          Effect.sync(() => latest === minute + seconds(50))
        )
        yield* bus.publish([numbered("a", 70, { topic: Topics.endpoint })])
        yield* until(
          "a record takes it further",
          Effect.sync(() => latest === minute + seconds(70))
        )
        yield* feed(Topics.raw, Groups.dispatcher, 60)
        yield* Effect.sleep("1500 millis")
        assert.strictEqual(latest, minute + seconds(70))
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("a tick's rows are stored, one at a time, and a tick that throws comes again", () => {
      const { errors, layer: logs } = listen()
      return Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const sql = yield* PipelineSql
        let ticks = 0
        let inside = 0
        yield* bus.publish(numbers("a", 0, 3))
        const partition = yield* partitionOf("a")
        yield* start({
          ...storing(group),
          tick: (at) =>
            Effect.gen(function* () {
              if (at.partition !== partition) return { publish: [], deadLetters: [] }
              if (++ticks === 1) throw new TypeError("the first tick")
              assert.strictEqual(++inside, 1)
              return {
                publish: [numbered("tick", ticks, { topic: Topics.endpoint })],
                deadLetters: [],
                store: sql`insert into stored ("group", key, number) values (${group}, 'tick', ${ticks})`.pipe(
                  Effect.mapError((cause) => new DatabaseUnavailable({ cause })),
                  Effect.andThen(Effect.sync(() => void inside--))
                )
              }
            })
        })
        yield* until(
          "two ticks are stored",
          Effect.map(storedOf(group, "tick"), (rows) => rows.length >= 2)
        )
        assert.deepStrictEqual((yield* storedOf(group, "tick")).slice(0, 2), [2, 3])
        assert.isAtLeast((yield* recordsOf(Topics.endpoint, "tick")).length, 2)
        assert.isTrue(errors.some((line) => line.includes("the first tick")))
        assert.deepStrictEqual(yield* storedOf(group, "a"), [0, 1, 2])
      }).pipe(Effect.provide(busLayer), Effect.provide(logs))
    })

    it.effect(
      "a tick that is asked for comes before the next batch, again as long as ticks ask, each after its rows",
      () =>
        Effect.gen(function* () {
          const group = newGroup()
          const bus = yield* Bus
          const [processing, held] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const happened: Array<string> = []
          let wanted = 0
          yield* bus.publish(numbers("a", 0, 1))
          const partition = yield* partitionOf("a")
          yield* start({
            ...storing(group, ({ records }) =>
              Effect.gen(function* () {
                yield* Deferred.succeed(processing, undefined)
                yield* Deferred.await(held)
                happened.push(`batch ${records.map(numberOf).join()}`)
                wanted = 2
                return {
                  publish: [],
                  deadLetters: [],
                  store: storeRows(group, records),
                  stored: () => void happened.push("stored"),
                  tickAtOnce: true
                }
              })
            ),
            tick: (at) =>
              Effect.gen(function* () {
                if (at.partition !== partition || wanted === 0) return { publish: [], deadLetters: [] }
                wanted--
                const rows = yield* Effect.orDie(storedOf(group, "a"))
                happened.push(`tick after ${rows.length}`)
                return {
                  publish: [],
                  deadLetters: [],
                  store: Effect.void,
                  stored: () => void happened.push("ticked"),
                  tickAtOnce: wanted > 0
                }
              })
          })
          yield* Deferred.await(processing)
          yield* bus.publish(numbers("a", 1, 3))
          yield* Deferred.succeed(held, undefined)
          yield* until(
            "all have ticked",
            Effect.sync(() => happened.length >= 12)
          )
          const after = (rows: number) => ["stored", ...[1, 2].flatMap(() => [`tick after ${rows}`, "ticked"])]
          assert.deepStrictEqual(happened, ["batch 0", ...after(1), "batch 1,2", ...after(3)])
        }).pipe(Effect.provide(busLayer))
    )

    it.effect("what was stored is told once, and only of what was: not of a batch that PostgreSQL refused", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const told: Array<number> = []
        yield* bus.publish([...numbers("a", 0, 10), numbered("a", -7), ...numbers("a", 10, 20)])
        yield* start(
          storing(group, ({ records }) =>
            Effect.succeed({
              publish: [],
              deadLetters: [],
              store: storeRows(group, records),
              stored: () => void told.push(...records.map(numberOf))
            })
          )
        )
        const partition = yield* partitionOf("a")
        yield* until(
          "all is read",
          Effect.map(offsetOf(group, partition), (row) => row?.next === 21n)
        )
        assert.deepStrictEqual(told, yield* storedOf(group, "a"))
        assert.deepStrictEqual(told, range(0, 20))
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("batches and ticks are told the epoch of their assignment, which rises with each", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const epochs = new Set<bigint>()
        let ticked = 0n
        yield* bus.publish(numbers("a", 0, 1))
        const partition = yield* partitionOf("a")
        const consumer: Consumer<PipelineSql> = {
          ...storing(group),
          process: ({ records }, _, epoch) =>
            Effect.sync(() => {
              epochs.add(epoch)
              return { publish: [], deadLetters: [], store: storeRows(group, records) }
            }),
          tick: (at, _, epoch) =>
            Effect.sync(() => {
              if (at.partition === partition) ticked = epoch
              return { publish: [], deadLetters: [] }
            })
        }
        for (const round of [1, 2]) {
          const member = yield* start(consumer)
          yield* bus.publish(numbers("a", round, round + 1))
          yield* until(
            "it has ticked in a new assignment",
            Effect.sync(() => epochs.size >= round && [...epochs].at(-1) === ticked)
          )
          yield* member.stop
        }
        assert.deepStrictEqual(
          [...epochs],
          [...epochs].toSorted((one, other) => Number(one - other))
        )
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("the offset on the bus follows that of the rows, but not before the rows are flushed", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const bus = yield* Bus
        const flush = yield* Deferred.make<void>()
        const slow = Bus.of({
          ...bus,
          subscribe: (options, handle) =>
            bus.subscribe(
              { ...options, beforeCommit: Effect.andThen(Deferred.await(flush), options.beforeCommit ?? Effect.void) },
              handle
            )
        })
        yield* bus.publish(numbers("a", 0, 10))
        yield* provideBus(start(storing(group)), slow)
        yield* until(
          "all are stored",
          Effect.map(storedOf(group, "a"), (rows) => rows.length >= 10)
        )
        const behind = Effect.map(bus.lag(group), (lag) => lag.reduce((sum, { records }) => sum + records, 0n))
        yield* Effect.sleep("1500 millis")
        assert.strictEqual(yield* behind, 10n)
        yield* Deferred.succeed(flush, undefined)
        yield* until(
          "the bus knows",
          Effect.map(behind, (records) => records === 0n)
        )
      }).pipe(Effect.provide(busLayer))
    )

    it.effect("an offset below the log's start stops its partition; with the record before it gone all is well", () =>
      Effect.gen(function* () {
        const bus = yield* Bus
        const sql = yield* PipelineSql
        const [below, fits] = [newGroup(), newGroup()]
        yield* bus.publish(numbers("a", 0, 10))
        const partition = yield* partitionOf("a")
        for (const [group, next] of [
          [below, 4],
          [fits, 10]
        ] as const) {
          yield* sql`insert into consumer_offsets ("group", topic, partition, log_id, next, last_message_id)
            values (${group}, ${Topics.raw}, ${partition}, ${bus.logId}, ${next}, ${messageIdOf("a", next - 1)})`
        }
        yield* (yield* Forgetting).run
        assert.strictEqual((yield* bus.range({ topic: Topics.raw, partition })).start, 10n)
        const [stopped] = [yield* start(storing(below)), yield* start(storing(fits))]
        yield* bus.publish(numbers("a", 10, 20))
        yield* until(
          "the other group goes on",
          Effect.map(storedOf(fits, "a"), (rows) => rows.length >= 10)
        )
        assert.deepStrictEqual(yield* storedOf(fits, "a"), range(10, 20))
        assert.deepStrictEqual(yield* storedOf(below, "a"), [])
        const report = stopped.status.all().find((found) => found.partition === partition)
        assert.strictEqual(report?.status._tag, "Stopped")
      }).pipe(Effect.provide(forgetful))
    )
  })
}
