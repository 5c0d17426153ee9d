/**
 * The embedded log: the contract of the bus, and what only an embedded log has.
 * @module
 */
import { BusUnavailable } from "@argusiq/domain/errors.ts"
import { type Topic } from "@argusiq/domain/topics.ts"
import { Bus, type BusRecord, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { layer, type LocalBusOptions, LogRetention, makeLog } from "@argusiq/layers/bus/local/LocalBus.ts"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Layer, Logger, type Scope, Stream } from "effect"
import { spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Adapter, busContract } from "./BusContract.ts"
import { Disk, ModelStorage } from "./ModelStorage.ts"
import { publishAndKill } from "./publishAndKill.ts"

const quiet = Logger.layer([])

const freshDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "argusiq-bus-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
)

/** Of one partition, or as the options say. */
const localBus = (options: LocalBusOptions) =>
  layer({ minFreeBytes: 0, partitions: 1, ...options }).pipe(Layer.provide(quiet))

const adapter = Layer.effect(
  Adapter,
  Effect.map(LogRetention, ({ run }) => ({ retain: () => Effect.asVoid(run) }))
)

busContract("the bus on the embedded log", { retainsForGroups: true }, ({ topics, partitions, concurrency }) =>
  Effect.map(freshDirectory, (directory) => ({
    layer: adapter.pipe(Layer.provideMerge(localBus({ directory, topics, partitions, concurrency }))),
    publishAndKill: publishAndKill(directory, { partitions, topics })
  }))
)

const topic = (name: string, more: Partial<Topic> = {}): Topic => ({
  name,
  retentionMillis: 86_400_000,
  retentionBytes: 1_073_741_824,
  maxRecordBytes: 100_000,
  ...more
})

const record = (key: string, text = ""): BusRecord => ({
  topic: "t",
  key,
  headers: {},
  value: new TextEncoder().encode(text)
})

const one = [topic("t")]

const read = Effect.flatMap(Bus, (bus) => Stream.runCollect(bus.read({ topic: "t", partition: 0 }, 0n, 2n ** 53n - 1n)))

/** Why it could not be done, in words. */
const refusalOf = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) {
  const exit = yield* Effect.exit(Effect.scoped(effect))
  if (Exit.isSuccess(exit)) return assert.fail("it was to be refused")
  const error = Cause.squash(exit.cause)
  return error instanceof BusUnavailable && error.cause instanceof Error
    ? error.cause.message
    : (error as Error).message
})

describe("the embedded log", () => {
  it.live("has four partitions where it begins", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const { partitions } = yield* Bus.pipe(Effect.provide(layer({ directory, minFreeBytes: 0 })))
      assert.strictEqual(partitions, 4)
    })
  )

  it.live("keeps the partitions that it began with, of topics that come later too, and what is in them", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const keys = Array.from({ length: 60 }, (_, index) => `device-${index}`)
      const publish = (topic: string) =>
        Effect.flatMap(Bus, (bus) => bus.publish(keys.map((key) => ({ ...record(key), topic }))))
      yield* publish("t").pipe(Effect.provide(localBus({ directory, partitions: 12, topics: one })))

      yield* Effect.gen(function* () {
        const bus = yield* Bus
        assert.strictEqual(bus.partitions, 12)
        yield* publish("later")
        for (let partition = 0; partition < 12; partition++) {
          const own = keys.filter((key) => partitionOf(12, Buffer.from(key)) === partition)
          for (const topic of ["t", "later"]) {
            const records = yield* Stream.runCollect(bus.read({ topic, partition }, 0n, 2n ** 53n - 1n))
            assert.deepStrictEqual(
              records.map(({ key }) => key),
              own
            )
          }
        }
      }).pipe(Effect.provide(layer({ directory, minFreeBytes: 0, topics: [topic("later"), ...one] })))
    })
  )

  it.live("refuses to open where its topics have different numbers of partitions", () =>
    Effect.gen(function* () {
      const storage = new ModelStorage({ disk: new Disk() })
      const topics = { t: { number: 0, partitions: 12 }, other: { number: 1, partitions: 4 } }
      const description = JSON.stringify({ format: 1, logId: "log", topics })
      yield* Effect.promise(() => storage.commit((writes) => writes.note("log", description)))
      const refusal = yield* refusalOf(makeLog(storage, () => undefined, { topics: one }))
      assert.include(refusal, "12 and 4 partitions")
    })
  )

  it.live("takes over a log of format 1, which earlier versions then refuse, and refuses one of a later version", () =>
    Effect.gen(function* () {
      const storage = new ModelStorage({ disk: new Disk() })
      const describe = (format: number) => {
        const description = { format, logId: "log", topics: { t: { number: 0, partitions: 4 } } }
        return Effect.promise(() => storage.commit((writes) => writes.note("log", JSON.stringify(description))))
      }
      yield* describe(1)
      yield* Effect.scoped(makeLog(storage, () => undefined, { topics: one }))
      assert.deepInclude(JSON.parse(storage.notes().get("log") ?? "{}"), { format: 2, logId: "log" })
      yield* describe(3)
      const refusal = yield* refusalOf(makeLog(storage, () => undefined, { topics: one }))
      assert.include(refusal, "format 3, this version reads 1 and 2")
    })
  )

  it.live("keeps the records of each topic when topics are added to the table, in any order", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      yield* Effect.flatMap(Bus, (bus) => bus.publish([record("a", "first")])).pipe(
        Effect.provide(localBus({ directory, topics: one }))
      )
      const read2 = yield* read.pipe(Effect.provide(localBus({ directory, topics: [topic("before"), ...one] })))
      assert.deepStrictEqual(
        read2.map(({ value }) => new TextDecoder().decode(value)),
        ["first"]
      )
    })
  )

  it.live("gives what several readers get room for what one of them parses, and only that", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const handed: Array<StoredRecord> = []
      const subscribed = (group: string) =>
        bus.subscribe({ group, topics: ["t"], maxRecords: 10, maxBytes: 10_000, maxWaitMillis: 1 }, ({ records }) =>
          Effect.sync(() => handed.push(...records))
        )
      const publish = (text: string, json?: object) =>
        Effect.delay(bus.publish([{ ...record("a", text), ...(json && { json }) }]), "50 millis")
      const awaitHanded = (count: number) =>
        Effect.repeat(Effect.sleep("5 millis"), { until: () => handed.length === count })
      yield* Effect.forkScoped(subscribed("one"))
      yield* publish("for one")
      yield* awaitHanded(1)
      yield* Effect.forkScoped(subscribed("other"))
      yield* awaitHanded(2)
      yield* publish("for both")
      yield* awaitHanded(4)
      const [forOne, stored, forBoth, again] = handed
      assert.deepStrictEqual([forOne?.parsed, stored?.parsed, forBoth?.parsed], [undefined, undefined, null])
      assert.strictEqual(again, forBoth)
      const json = { at: "hand" }
      yield* publish(JSON.stringify(json), json)
      yield* awaitHanded(6)
      assert.strictEqual(handed[4]?.parsed, json)
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.unwrap(Effect.map(freshDirectory, (directory) => localBus({ directory, topics: one }))))
    )
  )

  it.live("is open in one process only and names the one that has it", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const log = () => localBus({ directory, topics: one })
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Layer.build(log())
          assert.include(yield* refusalOf(Layer.build(log())), `process ${process.pid} `)
        })
      )
      writeFileSync(join(directory, "lock"), JSON.stringify({ pid: process.ppid }))
      assert.include(yield* refusalOf(Layer.build(log())), `process ${process.ppid} `)
    })
  )

  it.live("opens when the process in its lock file is gone, or is another one with the same id", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const gone = spawnSync(process.execPath, ["--version"]).pid
      const stale = [{ pid: gone }, { pid: process.pid }, { pid: process.ppid, startedAt: "1" }]
      for (const owner of stale) {
        writeFileSync(join(directory, "lock"), JSON.stringify(owner))
        yield* Effect.scoped(Layer.build(localBus({ directory, topics: one })))
      }
      assert.deepStrictEqual(
        readdirSync(directory).filter((name) => name.startsWith("lock")),
        [],
        "nothing is left behind"
      )
    })
  )

  it.live("accepts nothing while the disk has too little space, says how much, and goes on by itself", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const starved = localBus({ directory, topics: one, minFreeBytes: 2 ** 60 })
      const publish = Effect.flatMap(Bus, (bus) => bus.publish([record("a")]))
      const refusal = yield* refusalOf(publish.pipe(Effect.provide(starved)))
      assert.include(refusal, "GiB are free")
      let full: string | undefined
      const services = yield* makeLog(new ModelStorage({ disk: new Disk() }), () => full, {
        topics: one,
        partitions: 1
      })
      const bus = Context.get(services, Bus)
      yield* bus.publish([record("a", "0")])
      full = "full"
      assert.strictEqual(yield* refusalOf(bus.publish([record("a", "1")])), "full")
      full = undefined
      yield* bus.publish([record("a", "2")])
      const kept = yield* read.pipe(Effect.provide(services))
      assert.deepStrictEqual(
        kept.map(({ value }) => new TextDecoder().decode(value)),
        ["0", "2"]
      )
    })
  )

  it.live("settles what was published before it closes", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const settled: Array<boolean> = []
      yield* Effect.gen(function* () {
        const bus = yield* Bus
        for (let i = 0; i < 500; i++) {
          yield* Effect.forkDetach(
            Effect.onExit(bus.publish([record(`k${i}`)]), (exit) =>
              Effect.sync(() => settled.push(Exit.isSuccess(exit)))
            )
          )
        }
        yield* Effect.sleep(0)
      }).pipe(Effect.provide(localBus({ directory, topics: one })))
      yield* Effect.sleep(5)
      const kept = yield* read.pipe(Effect.provide(localBus({ directory, topics: one })))
      assert.strictEqual(settled.length, 500)
      assert.strictEqual(kept.length, settled.filter(Boolean).length, "acknowledged and appended are the same")
      assert.isAbove(kept.length, 0)
    })
  )

  it.live("reads from the store no more than it hands out", () =>
    Effect.gen(function* () {
      let visited = 0
      class Counting extends ModelStorage {
        override scan(...[slot, from, to, visit]: Parameters<ModelStorage["scan"]>): void {
          super.scan(slot, from, to, (offset, bytes) => {
            visited++
            return visit(offset, bytes)
          })
        }
      }
      const services = yield* makeLog(new Counting({ disk: new Disk() }), () => undefined, {
        topics: one,
        partitions: 1
      })
      const bus = Context.get(services, Bus)
      yield* bus.publish(Array.from({ length: 1_000 }, () => record("a")))
      let batches = 0
      const gate = yield* Deferred.make<void>()
      const subscription = { group: "g", topics: ["t"], maxRecords: 10, maxBytes: 1_000_000, maxWaitMillis: 0 }
      yield* Effect.forkScoped(
        bus.subscribe(subscription, () => Effect.suspend(() => (++batches < 3 ? Effect.void : Deferred.await(gate))))
      )
      while (batches < 3) yield* Effect.sleep(1)
      yield* Effect.sleep(20)
      const atGate = visited
      yield* Deferred.succeed(gate, undefined)
      assert.isAtMost(atGate, 3 * 11, "ten records and a look at the first, for each batch")
    })
  )

  it.live("says which group holds a topic above its limit, and lets go of a group that is to be forgotten", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const topics = [topic("t", { retentionBytes: 1_000 })]
      const retain = Effect.flatMap(LogRetention, ({ run }) => run)
      yield* Effect.gen(function* () {
        const bus = yield* Bus
        yield* bus.seek("abandoned", [{ topic: "t", partition: 0, offset: 0n }])
        yield* bus.publish(Array.from({ length: 5_000 }, () => record("a", "x".repeat(100))))
        const { removed, heldBack } = yield* retain
        assert.strictEqual(removed, 0)
        assert.include(heldBack[0], { topic: "t", group: "abandoned" })
      }).pipe(Effect.provide(localBus({ directory, topics })))
      const { removed, heldBack } = yield* retain.pipe(
        Effect.provide(localBus({ directory, topics, forgetGroups: ["abandoned"] }))
      )
      assert.isAbove(removed, 4_900)
      assert.deepStrictEqual(heldBack, [])
      const range = yield* Effect.flatMap(Bus, (bus) => bus.range({ topic: "t", partition: 0 })).pipe(
        Effect.provide(localBus({ directory, topics }))
      )
      assert.deepStrictEqual(range, { start: BigInt(removed), end: 5_000n }, "the start is kept over a restart")
    })
  )
})
