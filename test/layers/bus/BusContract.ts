/**
 * What every adapter of the bus owes its users, as tests that any adapter can be put through.
 * @module
 */
import { BusUnavailable, OffsetOutOfLog } from "@argusiq/domain/errors.ts"
import { type Topic } from "@argusiq/domain/topics.ts"
import {
  type Batch,
  Bus,
  type BusRecord,
  type Following,
  type StoredRecord,
  type Subscription,
  type TopicPartition
} from "@argusiq/layers/bus/Bus.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, type Layer, Logger, Result, type Scope, Stream } from "effect"

/** What a test can ask of an adapter beyond the port. */
export class Adapter extends Context.Service<
  Adapter,
  {
    /** Applies retention now, to the topics given or to all. */
    readonly retain: (topics?: ReadonlyArray<string>) => Effect.Effect<void, unknown>
  }
>()("argusiq/test/layers/bus/Adapter") {}

/** What not every adapter can do: its tests are not there for one that cannot. */
export interface Abilities {
  /** Retention removes nothing that a group has yet to handle. */
  readonly retainsForGroups: boolean
}

export interface BusInstance {
  /** Provided again after its scope has closed, it is the same bus after a restart. */
  readonly layer: Layer.Layer<Bus | Adapter, unknown>
  /** Publishes from another process, which is killed as soon as its publish has completed. The bus is not running here. */
  readonly publishAndKill: (records: ReadonlyArray<BusRecord>) => Effect.Effect<void>
}

export interface BusSetup {
  readonly topics: ReadonlyArray<Topic>
  /** Of each of them. */
  readonly partitions: number
  /** Batches of one subscription handled at the same time. */
  readonly concurrency: number
}

/** An empty bus of its own, removed with the scope. */
export type MakeBus = (setup: BusSetup) => Effect.Effect<BusInstance, never, Scope.Scope>

const topic = (name: string, more: Partial<Topic> = {}): Topic => ({
  name,
  retentionMillis: 86_400_000,
  retentionBytes: 1_073_741_824,
  maxRecordBytes: 100_000,
  ...more
})

const record = (topic: string, key: string, text = "", headers: Record<string, string> = {}): BusRecord => ({
  topic,
  key,
  headers,
  value: new TextEncoder().encode(text)
})

const textOf = ({ value }: { readonly value: Uint8Array }): string => new TextDecoder().decode(value)

const subscription = (more: Partial<Subscription> = {}): Subscription => ({
  group: "group",
  topics: ["one"],
  maxRecords: 2_000,
  maxBytes: 16_777_216,
  maxWaitMillis: 5,
  ...more
})

const quiet = Logger.layer([])

const all = 2n ** 53n - 1n

const readAll = Effect.fnUntraced(function* (topic: string, partition = 0) {
  const bus = yield* Bus
  return yield* Stream.runCollect(bus.read({ topic, partition }, 0n, all))
})

/** Resolves when the condition holds; a test whose condition never does runs into its timeout. */
const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.sleep(2).pipe(Effect.repeat({ while: () => !condition() }), Effect.asVoid)

type Lags = Effect.Success<ReturnType<Context.Service.Shape<typeof Bus>["lag"]>>

/** Waits until what the bus says of a group is so. */
const untilLag = (group: string, holds: (lags: Lags) => boolean) =>
  Effect.flatMap(Bus, (bus) =>
    bus.lag(group).pipe(Effect.delay(5), Effect.repeat({ while: (lags) => !holds(lags) }), Effect.asVoid)
  )

/** Subscribes and keeps what it handles. */
const consume = Effect.fnUntraced(function* (
  more: Partial<Subscription> = {},
  handle: (batch: Batch) => Effect.Effect<void> = () => Effect.void
) {
  const bus = yield* Bus
  const batches: Array<Batch> = []
  const fiber = yield* bus
    .subscribe(subscription(more), (batch) =>
      Effect.andThen(
        Effect.sync(() => batches.push(batch)),
        handle(batch)
      )
    )
    .pipe(Effect.forkScoped)
  const records = (): ReadonlyArray<StoredRecord> => batches.flatMap((batch) => batch.records)
  return { fiber, batches, records, texts: () => records().map(textOf) }
})

/** Follows and keeps what it is handed; completes when it has begun. */
const follow = Effect.fnUntraced(function* (
  more: Partial<Following> = {},
  handle: (batch: Batch) => Effect.Effect<void> = () => Effect.void
) {
  const bus = yield* Bus
  const batches: Array<Batch> = []
  const skipped: Array<TopicPartition> = []
  const started = yield* Deferred.make<void>()
  const fiber = yield* bus
    .follow(
      {
        name: "follower",
        topics: ["one"],
        maxRecords: 2_000,
        maxBytes: 16_777_216,
        maxWaitMillis: 5,
        skipped: (at) => void skipped.push(at),
        started: Effect.asVoid(Deferred.succeed(started, undefined)),
        ...more
      },
      (batch) =>
        Effect.andThen(
          Effect.sync(() => batches.push(batch)),
          handle(batch)
        )
    )
    .pipe(Effect.forkScoped)
  yield* Effect.raceFirst(Deferred.await(started), Effect.asVoid(Fiber.join(fiber)))
  return { fiber, skipped, texts: () => batches.flatMap((batch) => batch.records).map(textOf) }
})

const failureOf = <A, E>(exit: Exit.Exit<A, E>): unknown => {
  assert.isTrue(Exit.isFailure(exit), "it was to fail")
  return Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
}

const partitions = ({ batches }: { readonly batches: ReadonlyArray<Batch> }) =>
  new Set(batches.map((batch) => batch.partition))

export const busContract = (name: string, can: Abilities, make: MakeBus): void => {
  const usual: BusSetup = { topics: [topic("one"), topic("many")], partitions: 1, concurrency: 12 }
  const four = { partitions: 4 }

  /** Runs a test on a bus with topics "one" and "many" of one partition, or as it says. */
  const test = (
    sentence: string,
    body: Effect.Effect<void, unknown, Bus | Adapter | Scope.Scope>,
    setup: Partial<BusSetup> = {}
  ) =>
    it.live(sentence, () =>
      Effect.gen(function* () {
        const { layer } = yield* make({ ...usual, ...setup })
        yield* body.pipe(Effect.provide([layer, quiet]))
      })
    )

  describe.concurrent(name, () => {
    test(
      "gives a record back as it was published, with empty value, empty key and any text in key and headers",
      Effect.gen(function* () {
        const bus = yield* Bus
        const records = [
          record("one", "device", "payload", { "message-id": "m1", empty: "" }),
          record("one", "", ""),
          record("one", "schlüssel €", "ä", { "mqtt-topic": "v1/日本/🙂", ["__proto__"]: "a name like any other" })
        ]
        yield* bus.publish(records)
        const read = yield* readAll("one")
        assert.deepStrictEqual(
          read.map(({ topic, key, headers, value }) => ({
            topic,
            key,
            headers: Object.entries(headers),
            value: [...value]
          })),
          records.map(({ topic, key, headers, value }) => ({
            topic,
            key,
            headers: Object.entries(headers),
            value: [...value]
          }))
        )
        assert.deepStrictEqual(
          read.map(({ offset }) => offset),
          [0n, 1n, 2n]
        )
      })
    )

    test(
      "has as many partitions on every topic as it says, and a key in the same one on all of them",
      Effect.gen(function* () {
        const bus = yield* Bus
        assert.strictEqual(bus.partitions, 3)
        const keys = Array.from({ length: 30 }, (_, i) => `device-${i}`)
        yield* bus.publish(keys.flatMap((key) => [record("one", key), record("many", key)]))
        const found: Array<string> = []
        for (let partition = 0; partition < bus.partitions; partition++) {
          const [ofOne, ofMany] = [yield* readAll("one", partition), yield* readAll("many", partition)]
          assert.isNotEmpty(ofOne)
          assert.deepStrictEqual(
            ofOne.map(({ key }) => key),
            ofMany.map(({ key }) => key)
          )
          for (const { key } of ofOne) {
            assert.strictEqual(partitionOf(bus.partitions, Buffer.from(key)), partition)
            found.push(key)
          }
        }
        assert.sameMembers(found, keys)
        for (const topic of ["one", "many"]) {
          const beyond = yield* Effect.exit(bus.range({ topic, partition: bus.partitions }))
          assert.include(failureOf(beyond), { _tag: "UnknownTopic", topic })
        }
      }),
      { partitions: 3 }
    )

    test(
      "keeps the records of a key in the order of the publish calls, however many are under way",
      Effect.gen(function* () {
        const bus = yield* Bus
        const keys = Array.from({ length: 20 }, (_, i) => `device-${i}`)
        yield* Effect.forEach(
          keys,
          (key) =>
            Effect.forEach(
              Array.from({ length: 50 }, (_, i) => i),
              (i) => bus.publish([record("many", key, `${2 * i}`), record("many", key, `${2 * i + 1}`)]),
              { concurrency: "unbounded" } // started in this order, all at once
            ),
          { concurrency: "unbounded" }
        )
        const seen = new Map<string, Array<number>>()
        for (let partition = 0; partition < bus.partitions; partition++) {
          for (const stored of yield* readAll("many", partition)) {
            seen.set(stored.key, [...(seen.get(stored.key) ?? []), Number(textOf(stored))])
          }
        }
        const expected = Array.from({ length: 100 }, (_, i) => i)
        for (const key of keys) assert.deepStrictEqual(seen.get(key), expected, key)
      }),
      four
    )

    test(
      "appends in an order in which the time of appending never goes back",
      Effect.gen(function* () {
        const bus = yield* Bus
        for (let i = 0; i < 20; i++) yield* bus.publish([record("one", "a")])
        const times = (yield* readAll("one")).map(({ appendedAt }) => appendedAt)
        assert.deepStrictEqual(
          times,
          times.toSorted((a, b) => a - b)
        )
        assert.isTrue(Math.abs((times[0] as number) / 1_000 - Date.now()) < 60_000, "in microseconds")
      })
    )

    test(
      "refuses an oversized record and a topic it does not have, and appends nothing of that call",
      Effect.gen(function* () {
        const bus = yield* Bus
        const large = failureOf(
          yield* Effect.exit(bus.publish([record("one", "a", "fine"), record("one", "a", "x".repeat(100_001))]))
        )
        assert.include(large, { _tag: "RecordTooLarge", topic: "one", limit: 100_000 })
        const unknown = failureOf(yield* Effect.exit(bus.publish([record("one", "a", "fine"), record("other", "a")])))
        assert.include(unknown, { _tag: "UnknownTopic", topic: "other" })
        const headers = failureOf(
          yield* Effect.exit(bus.publish([record("one", "a", "x".repeat(99_990), { header: "x".repeat(20) })]))
        )
        assert.include(headers, { _tag: "RecordTooLarge", topic: "one" }, "headers count")
        const both = yield* Effect.all(
          [bus.publish([record("one", "a", "refused"), record("other", "a")]), bus.publish([record("many", "a")])],
          { concurrency: "unbounded", mode: "result" }
        )
        assert.isTrue(Result.isFailure(both[0]) && Result.isSuccess(both[1]), "calls made together are judged apart")
        assert.deepStrictEqual(yield* bus.range({ topic: "one", partition: 0 }), { start: 0n, end: 0n })
        yield* bus.publish([record("one", "", "x".repeat(100_000))])
        assert.lengthOf(yield* readAll("one"), 1, "a record of exactly the limit is taken")
      })
    )

    test(
      "says which topic it does not have when asked to subscribe, read, measure or search",
      Effect.gen(function* () {
        const bus = yield* Bus
        const at = { topic: "other", partition: 0 }
        for (const attempt of [
          Effect.asVoid(Stream.runDrain(bus.read(at, 0n, 1n))),
          Effect.asVoid(bus.range(at)),
          Effect.asVoid(bus.offsetAt(at, 0)),
          Effect.scoped(bus.subscribe(subscription({ topics: ["one", "other"] }), () => Effect.void)),
          Effect.scoped(follow({ topics: ["one", "other"] }))
        ]) {
          assert.include(failureOf(yield* Effect.exit(attempt)), { _tag: "UnknownTopic", topic: "other" })
        }
      })
    )

    test(
      "hands every follower every record that comes after it has begun, in order, and no one asks for its lag",
      Effect.gen(function* () {
        const bus = yield* Bus
        yield* bus.publish(Array.from({ length: 10 }, (_, i) => record("many", `${i}`, "before")))
        const followers = [yield* follow({ topics: ["many"] }), yield* follow({ topics: ["many", "one"] })]
        const expected = Array.from({ length: 100 }, (_, i) => `${i}`)
        for (const text of expected) yield* bus.publish([record("many", `device-${Number(text) % 7}`, text)])
        for (const { skipped, texts } of followers) {
          yield* until(() => texts().length >= 100)
          yield* Effect.sleep(20)
          assert.sameMembers(texts(), expected)
          for (let device = 0; device < 7; device++) {
            const own = texts().filter((text) => Number(text) % 7 === device)
            assert.deepStrictEqual(
              own.map(Number),
              own.map(Number).toSorted((left, right) => left - right)
            )
          }
          assert.deepStrictEqual(skipped, [])
        }
        assert.deepStrictEqual(yield* bus.lag("follower"), [])
      }),
      four
    )

    test(
      "lets a follower that is behind go on at the end where it wants that, and tells it so; else it gets all",
      Effect.gen(function* () {
        const bus = yield* Bus
        const slowly = () => Effect.sleep(150)
        const impatient = yield* follow({ skipAfterMillis: 100, maxRecords: 1 }, slowly)
        const patient = yield* follow({ maxRecords: 1 }, () => Effect.sleep(30))
        yield* bus.publish(Array.from({ length: 20 }, (_, i) => record("one", "a", `${i}`)))
        yield* until(() => impatient.skipped.length > 0 && patient.texts().length === 20)
        assert.isBelow(impatient.texts().length, 20)
        assert.deepStrictEqual(impatient.skipped[0], { topic: "one", partition: 0 })
        // Again where a busy machine hands it out too late for the impatient one.
        yield* bus
          .publish([record("one", "a", "fresh")])
          .pipe(Effect.delay(300), Effect.repeat({ until: () => impatient.texts().includes("fresh") }))
        yield* until(() => patient.texts().includes("fresh"))
        assert.deepStrictEqual(patient.skipped, [])
      })
    )

    test(
      "does not let a follower end before what it handles has ended",
      Effect.gen(function* () {
        const bus = yield* Bus
        const [begun, mayEnd] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        let hasEnded = false
        const { fiber } = yield* follow({}, () =>
          Effect.gen(function* () {
            yield* Deferred.succeed(begun, undefined)
            yield* Deferred.await(mayEnd)
            hasEnded = true
          })
        )
        yield* bus.publish([record("one", "a")])
        yield* Deferred.await(begun)
        const ending = yield* Effect.forkScoped(Fiber.interrupt(fiber))
        yield* Effect.sleep(50)
        assert.isUndefined(ending.pollUnsafe(), "it has ended before")
        yield* Deferred.succeed(mayEnd, undefined)
        yield* Fiber.join(ending)
        assert.isTrue(hasEnded)
      })
    )

    it.live("still has an acknowledged record when the process is killed right after the acknowledgement", () =>
      Effect.gen(function* () {
        const { layer, publishAndKill } = yield* make(usual)
        const texts: Array<string> = []
        for (let run = 0; run < 3; run++) {
          texts.push(`first of ${run}`, `second of ${run}`)
          yield* publishAndKill(texts.slice(-2).map((text) => record("one", "a", text)))
        }
        const read = yield* readAll("one").pipe(Effect.provide(layer))
        assert.deepStrictEqual(read.map(textOf), texts)
      })
    )

    test(
      "replays from an offset to an offset and from a time",
      Effect.gen(function* () {
        const bus = yield* Bus
        const at = { topic: "one", partition: 0 }
        for (let i = 0; i < 10; i++) {
          yield* bus.publish([record("one", "a", `${i}`)])
          yield* Effect.sleep(3)
        }
        const read = yield* Stream.runCollect(bus.read(at, 3n, 7n))
        assert.deepStrictEqual(read.map(textOf), ["3", "4", "5", "6"])
        const whole = yield* readAll("one")
        for (const { offset, appendedAt } of whole) {
          assert.strictEqual(yield* bus.offsetAt(at, appendedAt), offset, "the record appended at that time")
          assert.strictEqual(yield* bus.offsetAt(at, appendedAt - 1_000), offset, "the first after that time")
        }
        assert.strictEqual(yield* bus.offsetAt(at, 0), 0n)
        assert.strictEqual(yield* bus.offsetAt(at, (Date.now() + 60_000) * 1_000), 10n, "the end when all is older")
        assert.deepStrictEqual(yield* bus.range(at), { start: 0n, end: 10n })
      })
    )

    test(
      "hands every record to every group, in offset order within a partition",
      Effect.gen(function* () {
        const bus = yield* Bus
        const first = yield* consume({ group: "first", topics: ["one", "many"], maxRecords: 7 })
        const second = yield* consume({ group: "second", topics: ["many"] })
        for (let i = 0; i < 100; i++) yield* bus.publish([record("many", `k${i}`), record("one", "a")])
        yield* until(() => first.records().length >= 200 && second.records().length >= 100)
        for (const { batches } of [first, second]) {
          const next = new Map<string, bigint>()
          for (const batch of batches) {
            const at = `${batch.topic}/${batch.partition}`
            for (const { offset, topic, partition } of batch.records) {
              assert.strictEqual(`${topic}/${partition}`, at)
              assert.strictEqual(offset, next.get(at) ?? 0n)
              next.set(at, offset + 1n)
            }
            assert.strictEqual(batch.next, next.get(at))
            assert.isTrue(batch.end >= batch.next)
            assert.isTrue(batch.records.length > 0)
          }
        }
        assert.lengthOf(first.records(), 200)
        assert.lengthOf(second.records(), 100)
        assert.isTrue(first.batches.every((batch) => batch.records.length <= 7))
      }),
      four
    )

    test(
      "handles the batches of a partition one after the other and those of several partitions at once",
      Effect.gen(function* () {
        const bus = yield* Bus
        yield* bus.publish(Array.from({ length: 80 }, (_, i) => record("many", `k${i}`)))
        const busy = new Map<number, number>()
        let most = 0
        let overlapped = false
        const { records } = yield* consume({ topics: ["many"], maxRecords: 5 }, ({ partition }) =>
          Effect.gen(function* () {
            busy.set(partition, (busy.get(partition) ?? 0) + 1)
            overlapped ||= (busy.get(partition) as number) > 1
            most = Math.max(
              most,
              busy.values().reduce((a, b) => a + b, 0)
            )
            yield* Effect.sleep(5)
            busy.set(partition, (busy.get(partition) as number) - 1)
          })
        )
        yield* until(() => records().length >= 80)
        assert.isFalse(overlapped)
        assert.strictEqual(most, 4)
      }),
      four
    )

    const alphabet = ["a", "b", "c", "d", "e", "f"]
    test(
      "takes the partition whose next record is oldest first",
      Effect.gen(function* () {
        const bus = yield* Bus
        const order = ["d", "a", "f", "b", "e", "c", "d", "f", "a", "c", "b", "e"]
        for (const name of order) {
          yield* bus.publish([record(name, "k")])
          yield* Effect.sleep(3)
        }
        const { batches } = yield* consume({ topics: alphabet, maxRecords: 1, maxWaitMillis: 0 })
        yield* until(() => batches.length >= order.length)
        assert.deepStrictEqual(
          batches.map((batch) => batch.topic),
          order
        )
      }),
      { topics: alphabet.map((name) => topic(name)), concurrency: 1 }
    )

    test(
      "hands out no more than is asked for at a time, in records and in bytes, and a larger record alone",
      Effect.gen(function* () {
        const bus = yield* Bus
        yield* bus.publish(Array.from({ length: 10 }, () => record("one", "a", "x".repeat(1_000))))
        yield* bus.publish([record("one", "a", "x".repeat(50_000)), record("one", "a", "y")])
        const { batches, records } = yield* consume({ maxBytes: 4_000 })
        yield* until(() => records().length >= 12)
        for (const { records } of batches) {
          const bytes = records.reduce((sum, { value }) => sum + value.length, 0)
          assert.isTrue(bytes <= 4_000 || records.length === 1, `${records.length} records of ${bytes} bytes`)
        }
        assert.isTrue(batches.length < 12, "records share batches where they fit")
      })
    )

    test(
      "delivers a record at once when nothing else is coming, however long a batch may wait to fill",
      Effect.gen(function* () {
        const bus = yield* Bus
        const { records } = yield* consume({ maxWaitMillis: 5_000 })
        yield* Effect.sleep(50)
        const start = performance.now()
        yield* bus.publish([record("one", "a")])
        yield* until(() => records().length === 1)
        assert.isBelow(performance.now() - start, 4_000)
      })
    )

    test(
      "hands out of the other partitions although as many as may be handled at once wait for something",
      Effect.gen(function* () {
        const bus = yield* Bus
        const gate = yield* Deferred.make<void>()
        const waiting = new Set<number>()
        const seen = yield* consume({ topics: ["many"] }, ({ partition }) => {
          if (waiting.size === 2 && !waiting.has(partition)) return Effect.void
          waiting.add(partition)
          return Deferred.await(gate)
        })
        for (let i = 0; i < 40; i++) yield* bus.publish([record("many", `k${i}`, `${i}`)])
        const others = () => [...partitions(seen)].filter((partition) => !waiting.has(partition))
        yield* until(() => others().length === 2)
        assert.strictEqual(waiting.size, 2)
        yield* Deferred.succeed(gate, undefined)
        yield* until(() => seen.records().length === 40)
      }),
      { ...four, concurrency: 2 }
    )

    test(
      "lets a slow handler fall behind without handing it more, and appends go on meanwhile",
      Effect.gen(function* () {
        const bus = yield* Bus
        const gate = yield* Deferred.make<void>()
        const { batches, texts } = yield* consume({ maxRecords: 3, maxWaitMillis: 0 }, () => Deferred.await(gate))
        for (let i = 0; i < 50; i++) yield* bus.publish([record("one", "a", `${i}`)])
        yield* until(() => batches.length > 0)
        yield* Effect.sleep(20)
        assert.lengthOf(batches, 1)
        assert.isTrue((batches[0] as Batch).records.length <= 3)
        yield* Deferred.succeed(gate, undefined)
        yield* until(() => texts().length >= 50)
        assert.deepStrictEqual(
          texts(),
          Array.from({ length: 50 }, (_, i) => `${i}`)
        )
      })
    )

    test(
      "hands a batch out again when its handler has failed, to the next subscription of the group",
      Effect.gen(function* () {
        const bus = yield* Bus
        yield* bus.publish([record("one", "a", "0"), record("one", "a", "1")])
        const failed = yield* Effect.exit(
          Effect.scoped(bus.subscribe(subscription(), () => Effect.fail("the handler's own error")))
        )
        assert.strictEqual(failureOf(failed), "the handler's own error")
        const { texts } = yield* consume()
        yield* until(() => texts().length >= 2)
        assert.deepStrictEqual(texts(), ["0", "1"])
      })
    )

    test(
      "lets the running batch end when the subscription is interrupted, and counts it",
      Effect.gen(function* () {
        const bus = yield* Bus
        let ended = false
        yield* bus.publish([record("one", "a", "0")])
        const first = yield* consume({}, () =>
          Effect.andThen(
            Effect.sleep(100),
            Effect.sync(() => void (ended = true))
          )
        )
        yield* until(() => first.batches.length === 1)
        yield* Fiber.interrupt(first.fiber)
        assert.isTrue(ended, "interruption waits for the batch")
        yield* bus.publish([record("one", "a", "1")])
        const second = yield* consume()
        yield* until(() => second.texts().length >= 1)
        assert.deepStrictEqual(second.texts(), ["1"])
      })
    )

    it.live("goes on after a restart where each group has committed, with the same log id", () =>
      Effect.gen(function* () {
        const { layer } = yield* make(usual)
        const logIds: Array<string> = []
        const run = (text: string, expected: ReadonlyArray<string>) =>
          Effect.gen(function* () {
            const bus = yield* Bus
            logIds.push(bus.logId)
            yield* bus.publish([record("one", "a", text)])
            const { texts, fiber } = yield* consume()
            yield* until(() => texts().length >= expected.length)
            yield* Fiber.interrupt(fiber)
            assert.deepStrictEqual(texts(), expected)
          }).pipe(Effect.scoped, Effect.provide([layer, quiet]))
        yield* run("0", ["0"])
        yield* run("1", ["1"])
        yield* Effect.scoped(
          Effect.flatMap(Bus, (bus) => bus.publish([record("one", "a", "2")])).pipe(Effect.provide(layer))
        )
        yield* run("3", ["2", "3"])
        assert.strictEqual(new Set(logIds).size, 1)
      })
    )

    test(
      "moves a group by seek, forwards and back, also while it is subscribed",
      Effect.gen(function* () {
        const bus = yield* Bus
        const at = { topic: "one", partition: 0 }
        for (let i = 0; i < 10; i++) yield* bus.publish([record("one", "a", `${i}`)])
        yield* bus.seek("group", [{ ...at, offset: 7n }])
        const { texts } = yield* consume()
        yield* until(() => texts().length >= 3)
        yield* bus.seek("group", [{ ...at, offset: 5n }])
        yield* until(() => texts().length >= 8)
        yield* bus.publish([record("one", "a", "10")])
        yield* until(() => texts().length >= 9)
        assert.deepStrictEqual(texts(), ["7", "8", "9", "5", "6", "7", "8", "9", "10"])
      })
    )

    test(
      "goes on from the sought offset when a batch is being handled during the seek",
      Effect.gen(function* () {
        const bus = yield* Bus
        yield* bus.publish(Array.from({ length: 4 }, (_, i) => record("one", "a", `${i}`)))
        const gate = yield* Deferred.make<void>()
        const { texts, batches } = yield* consume({ maxRecords: 2, maxWaitMillis: 0 }, () => Deferred.await(gate))
        yield* until(() => batches.length === 1)
        yield* bus.seek("group", [{ topic: "one", partition: 0, offset: 3n }])
        yield* Deferred.succeed(gate, undefined)
        yield* until(() => texts().length >= 3)
        yield* Effect.sleep(20)
        assert.deepStrictEqual(texts(), ["0", "1", "3"])
      })
    )

    test(
      "tells how far a group is behind, in records and in seconds",
      Effect.gen(function* () {
        const bus = yield* Bus
        assert.deepStrictEqual(yield* bus.lag("group"), [])
        const gate = yield* Deferred.make<void>()
        const { batches, records } = yield* consume({ maxRecords: 1, maxWaitMillis: 0 }, () => Deferred.await(gate))
        for (let i = 0; i < 5; i++) yield* bus.publish([record("one", "a")])
        yield* until(() => batches.length === 1)
        yield* Effect.sleep(200)
        const [behind] = yield* bus.lag("group")
        assert.include(behind, { topic: "one", partition: 0, offset: 0n, records: 5n })
        assert.isAbove(behind?.seconds ?? 0, 0.15)
        assert.isBelow(behind?.seconds ?? 0, 20)
        yield* Deferred.succeed(gate, undefined)
        yield* until(() => records().length >= 5)
        yield* untilLag("group", (lags) => lags[0]?.offset === 5n)
        assert.deepStrictEqual(yield* bus.lag("group"), [
          { topic: "one", partition: 0, offset: 5n, records: 0n, seconds: 0 }
        ])
      })
    )

    test(
      "starts where the subscriber says, not where the bus's own offset says",
      Effect.gen(function* () {
        const bus = yield* Bus
        yield* bus.publish(Array.from({ length: 6 }, (_, i) => record("one", "a", `${i}`)))
        yield* bus.seek("group", [{ topic: "one", partition: 0, offset: 5n }])
        const asked: Array<unknown> = []
        const { texts } = yield* consume({
          startAt: (assigned) =>
            Effect.sync(() => {
              asked.push(...assigned)
              return [{ topic: "one", partition: 0, offset: 2n }]
            })
        })
        yield* until(() => texts().length >= 4)
        assert.deepStrictEqual(texts(), ["2", "3", "4", "5"])
        assert.deepStrictEqual(asked, [{ topic: "one", partition: 0 }])
      })
    )

    test(
      "stops a partition whose offset is not in the log, before it or after it, while the others go on",
      Effect.gen(function* () {
        const bus = yield* Bus
        const errors: Array<string> = []
        const listening = Logger.layer([
          Logger.make(({ logLevel, message }) => {
            if (logLevel === "Error") errors.push(String(Array.isArray(message) ? message[0] : message))
          })
        ])
        for (const name of ["one", "two", "three"]) yield* bus.publish([record(name, "a", name)])
        const { texts, fiber } = yield* consume({
          topics: ["one", "two", "three"],
          startAt: () =>
            Effect.succeed([
              { topic: "one", partition: 0, offset: 9n },
              new OffsetOutOfLog({
                group: "group",
                topic: "two",
                partition: 0,
                offset: "0",
                start: "0",
                end: "1",
                logId: bus.logId,
                storedLogId: "another log"
              })
            ])
        }).pipe(Effect.provide(listening))
        yield* until(() => texts().length >= 1)
        for (const name of ["one", "two", "three"]) yield* bus.publish([record(name, "a", `${name} again`)])
        yield* until(() => texts().length >= 2)
        yield* Effect.sleep(20)
        assert.deepStrictEqual(texts(), ["three", "three again"])
        assert.isUndefined(fiber.pollUnsafe(), "the subscription runs on")
        assert.isTrue(
          ["one", "two"].every((name) => errors.some((error) => error.includes(name))),
          "each stopped partition is logged as an error"
        )
      }),
      { topics: ["one", "two", "three"].map((name) => topic(name)) }
    )

    test(
      "goes where it is sought while its subscriber is still asked where to start, whatever that answers",
      Effect.gen(function* () {
        const bus = yield* Bus
        const [asked, sought] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        for (let i = 0; i < 4; i++) yield* bus.publish([record("one", "a", `${i}`)])
        const outOfLog = new OffsetOutOfLog({
          group: "group",
          topic: "one",
          partition: 0,
          offset: "9",
          start: "0",
          end: "4",
          logId: bus.logId,
          storedLogId: bus.logId
        })
        let times = 0
        const { texts } = yield* consume({
          startAt: () =>
            times++ > 0
              ? Effect.succeed([])
              : Deferred.succeed(asked, undefined).pipe(Effect.andThen(Deferred.await(sought)), Effect.as([outOfLog]))
        })
        yield* Deferred.await(asked)
        yield* bus.seek("group", [{ topic: "one", partition: 0, offset: 2n }])
        yield* Deferred.succeed(sought, undefined)
        yield* until(() => texts().length >= 2)
        assert.deepStrictEqual(texts(), ["2", "3"])
      })
    )

    test(
      "shares the partitions between the subscriptions of a group, and passes them on when one ends",
      Effect.gen(function* () {
        const bus = yield* Bus
        const first = yield* consume({ topics: ["many"] })
        // It has all of them before the second comes.
        yield* untilLag("group", (lags) => lags.length === 4)
        let given = 0
        const second = yield* consume({
          topics: ["many"],
          startAt: (at) => Effect.sync(() => ((given += at.length), []))
        })
        yield* until(() => given === 2)
        const publish = bus.publish(Array.from({ length: 100 }, (_, i) => record("many", `k${i}`)))
        yield* publish
        yield* until(() => first.records().length + second.records().length >= 100)
        assert.strictEqual(partitions(first).size, 2)
        assert.strictEqual(partitions(second).size, 2)
        assert.strictEqual(new Set([...partitions(first), ...partitions(second)]).size, 4)
        yield* Fiber.interrupt(first.fiber)
        const before = second.records().length
        yield* publish
        yield* until(() => second.records().length >= before + 100)
        yield* Effect.sleep(20)
        assert.strictEqual(second.records().length, before + 100, "nothing twice")
      }),
      four
    )

    test(
      "interrupts the handler of a partition that passes to another subscription, which is handed its batch again",
      Effect.gen(function* () {
        const bus = yield* Bus
        yield* bus.publish(Array.from({ length: 40 }, (_, i) => record("many", `k${i}`)))
        const interrupted = new Set<number>()
        const gate = yield* Deferred.make<void>()
        const first = yield* consume({ topics: ["many"] }, ({ partition }) =>
          Effect.onInterrupt(Deferred.await(gate), () => Effect.sync(() => interrupted.add(partition)))
        )
        yield* until(() => first.batches.length === 4)
        const second = yield* consume({ topics: ["many"] })
        yield* until(() => partitions(second).size === 2)
        yield* Effect.sleep(50)
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual(interrupted, partitions(second))
      }),
      four
    )

    test(
      "commits on the bus only what was handled before a beforeCommit that succeeded, holding up no partition",
      Effect.gen(function* () {
        const bus = yield* Bus
        let broken = true
        let asked = 0
        const beforeCommit = Effect.suspend(() => {
          asked++
          return broken ? Effect.fail(new BusUnavailable({ cause: "not flushed" })) : Effect.void
        })
        const { texts, fiber } = yield* consume({ maxRecords: 1, maxWaitMillis: 0, beforeCommit })
        const offset = Effect.map(bus.lag("group"), (lags) => lags[0]?.offset)
        for (let i = 0; i < 5; i++) yield* bus.publish([record("one", "a", `${i}`)])
        yield* until(() => texts().length >= 5 && asked > 0)
        assert.strictEqual(yield* offset, 0n)
        broken = false
        yield* until(() => asked > 1)
        yield* untilLag("group", (lags) => lags[0]?.offset === 5n)
        yield* bus.publish([record("one", "a", "5")])
        yield* until(() => texts().length >= 6)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* offset, 6n, "once more at the end")
      })
    )

    test(
      "commits nothing from before a seek that came during beforeCommit",
      Effect.gen(function* () {
        const bus = yield* Bus
        const gate = yield* Deferred.make<void>()
        const judged = yield* Deferred.make<void>()
        let asked = false
        let blocked = false
        yield* bus.publish(Array.from({ length: 5 }, (_, i) => record("one", "a", `${i}`)))
        const { texts } = yield* consume(
          {
            maxRecords: 1,
            maxWaitMillis: 0,
            beforeCommit: Effect.suspend(() => {
              asked = true
              return Deferred.await(gate)
            })
          },
          () => (blocked ? Deferred.await(judged) : Effect.void)
        )
        yield* until(() => asked && texts().length === 5)
        blocked = true
        yield* bus.seek("group", [{ topic: "one", partition: 0, offset: 2n }])
        yield* Deferred.succeed(gate, undefined)
        yield* Effect.sleep(100)
        const offset = (yield* bus.lag("group"))[0]?.offset
        yield* Deferred.succeed(judged, undefined)
        assert.strictEqual(offset, 2n)
      })
    )

    const retained = [topic("one", { retentionBytes: 2_000 }), topic("two", { retentionMillis: 1 })]
    const testRetention = can.retainsForGroups ? test : () => undefined
    test(
      "lets a follower go on at the end when retention has passed it, and tells it so",
      Effect.gen(function* () {
        const bus = yield* Bus
        const { retain } = yield* Adapter
        const mayEnd = yield* Deferred.make<void>()
        const { skipped, texts } = yield* follow({ topics: ["two"], maxRecords: 1 }, () => Deferred.await(mayEnd))
        yield* bus.publish([record("two", "a", "first")])
        yield* until(() => texts().length === 1)
        yield* bus.publish(Array.from({ length: 5 }, () => record("two", "a", "removed")))
        yield* Effect.sleep(20)
        yield* retain(["two"])
        yield* Deferred.succeed(mayEnd, undefined)
        if (can.retainsForGroups) yield* until(() => skipped.length === 1)
        yield* bus.publish([record("two", "a", "later")])
        yield* until(() => texts().includes("later"))
      }),
      { topics: retained }
    )

    testRetention(
      "removes what is too old or too much, but nothing that a group has yet to handle",
      Effect.gen(function* () {
        const bus = yield* Bus
        const retain = (yield* Adapter).retain()
        const ranges = Effect.forEach(["one", "two"], (topic) => bus.range({ topic, partition: 0 }))
        yield* bus.seek("slow", [{ topic: "one", partition: 0, offset: 0n }])
        yield* bus.seek("slow", [{ topic: "two", partition: 0, offset: 4n }])
        const filler = "x".repeat(500)
        yield* bus.publish(Array.from({ length: 10 }, () => record("one", "a", filler)))
        yield* bus.publish(Array.from({ length: 10 }, () => record("two", "a", filler)))
        yield* Effect.sleep(20)
        yield* retain
        assert.deepStrictEqual(yield* ranges, [
          { start: 0n, end: 10n },
          { start: 4n, end: 10n }
        ])
        yield* bus.seek("slow", [{ topic: "one", partition: 0, offset: 10n }])
        yield* bus.seek("slow", [{ topic: "two", partition: 0, offset: 10n }])
        yield* retain
        const [one, two] = yield* ranges
        assert.isTrue((one?.start ?? 0n) >= 6n && (one?.start ?? 0n) < 10n, `kept from ${one?.start}`)
        assert.deepStrictEqual(two, { start: 10n, end: 10n })
        const kept = yield* readAll("one")
        assert.strictEqual(kept[0]?.offset, one?.start, "a read from the beginning starts at the oldest kept")
        yield* bus.publish([record("two", "a", "later")])
        assert.deepStrictEqual(
          (yield* readAll("two")).map(({ offset }) => offset),
          [10n],
          "offsets go on after all has been removed"
        )
        const { batches } = yield* consume({ group: "late", topics: ["two"] })
        yield* until(() => batches.length === 1)
      }),
      { topics: retained }
    )

    test(
      "stops a partition when retention has passed the offset of its subscriber",
      Effect.gen(function* () {
        const bus = yield* Bus
        const { retain } = yield* Adapter
        yield* bus.publish(Array.from({ length: 5 }, () => record("two", "a", "removed")))
        yield* Effect.sleep(20)
        yield* retain(["two"])
        yield* bus.publish([record("one", "a", "one")])
        yield* bus.publish([record("two", "a", "two")])
        const { texts } = yield* consume({
          topics: ["one", "two"],
          startAt: () => Effect.succeed([{ topic: "two", partition: 0, offset: 3n }])
        })
        yield* until(() => texts().length >= 1)
        yield* Effect.sleep(20)
        assert.deepStrictEqual(texts(), ["one"])
      }),
      { topics: retained }
    )
  })
}
