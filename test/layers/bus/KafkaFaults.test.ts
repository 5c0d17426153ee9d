/**
 * Kafka when things go wrong: members that come, go, hang and die; a broker that dies; connections that are cut or say
 * nothing any more; topics that are removed and made again. Real brokers, real PostgreSQL, real processes.
 * @module
 */
import { KAFKA_PARTITIONS, Topics } from "@argusiq/domain/topics.ts"
import { type Batch, Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import * as KafkaBus from "@argusiq/layers/bus/kafka/KafkaBus.ts"
import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Logger, Stream } from "effect"
import { Kafka, logLevel } from "kafkajs"
import { connect, type Socket } from "node:net"
import { afterAll, beforeAll } from "vitest"
import { KafkaCluster } from "../../support/components/kafka.ts"
import { eventually } from "../../support/PlatformProcess.ts"
import { TestDatabase, testDatabase } from "../../support/postgres.ts"
import { makeTable, newGroup, numbers, partitionOf, start, storedOf, storing, until } from "./ConsumerWorld.ts"
import { publishUntil, settledVerdict, topics, withMembers } from "./KafkaWorld.ts"

let kafka: KafkaCluster
beforeAll(async () => {
  kafka = await KafkaCluster.start()
}, 120_000)
afterAll(() => kafka.remove())

/** Of tests that leave the broker as it is. */
const together = { concurrent: true, timeout: 120_000 }

let prefixes = 0
const newPrefix = () => `f${++prefixes}.`
const quiet = Logger.layer([])

/** Of Kafka's protocol: the key of the request. */
const OFFSET_COMMIT = 8

const bus = (prefix: string, options: Partial<KafkaBus.KafkaBusOptions> = {}) =>
  Layer.unwrap(
    Effect.sync(() => KafkaBus.layer({ brokers: kafka.addresses.split(","), prefix, topics, ...options }))
  ).pipe(Layer.orDie, Layer.fresh)

/** Sockets of a bus, to be cut or silenced. */
const sockets = () => {
  const open = new Set<Socket>()
  const socketFactory: NonNullable<KafkaBus.KafkaBusOptions["socketFactory"]> = ({ host, port, onConnect }) => {
    const socket = connect({ host, port }, onConnect)
    open.add(socket)
    socket.on("close", () => open.delete(socket))
    return socket
  }
  return { open, socketFactory }
}

const asAdministrator = <A>(work: (admin: ReturnType<Kafka["admin"]>) => Promise<A>) =>
  Effect.promise(async () => {
    const admin = new Kafka({ brokers: kafka.addresses.split(","), logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    try {
      return await work(admin)
    } finally {
      await admin.disconnect()
    }
  })

const record = (key: string, text: string): BusRecord => ({
  topic: Topics.raw,
  key,
  headers: {},
  value: new TextEncoder().encode(text)
})
const textOf = ({ value }: { readonly value: Uint8Array }) => new TextDecoder().decode(value)

const readKey = Effect.fnUntraced(function* (key: string) {
  const { partitions, read } = yield* Bus
  const texts: Array<string> = []
  for (let partition = 0; partition < partitions; partition++) {
    const records = yield* Stream.runCollect(read({ topic: Topics.raw, partition }, 0n, 2n ** 53n - 1n))
    texts.push(...records.filter((found) => found.key === key).map(textOf))
  }
  return texts
})

const range = (to: number) => Array.from({ length: to }, (_, index) => index)

describe("the producer on Kafka", () => {
  it.live(
    "appends each record once and in order, however often its connections are cut",
    () => {
      const { open, socketFactory } = sockets()
      return Effect.gen(function* () {
        const { publish } = yield* Bus
        const cutting = yield* Effect.sync(() => {
          for (const socket of open) socket.destroy(new Error("cut"))
        }).pipe(Effect.delay(600), Effect.forever, Effect.forkScoped)
        const publishing: Array<Fiber.Fiber<void, unknown>> = []
        for (const index of range(400)) {
          const publishes = publish([record("a", `${index}`), record("b", `${index}`)])
          publishing.push(yield* Effect.forkChild(publishes, { startImmediately: true }))
          yield* Effect.sleep(5)
        }
        yield* Fiber.joinAll(publishing)
        yield* Fiber.interrupt(cutting)
        for (const key of ["a", "b"]) assert.deepStrictEqual((yield* readKey(key)).map(Number), range(400), key)
      }).pipe(Effect.provide([bus(newPrefix(), { socketFactory }), quiet]))
    },
    together
  )

  it.live(
    "refuses what comes when a group needs 80 % of what a topic retains, and takes it again when it has read",
    () => {
      const retained = topics.map((topic) => ({ ...topic, retentionBytes: 20_000 }))
      return Effect.gen(function* () {
        const { publish, seek } = yield* Bus
        const at = { topic: Topics.raw, partition: 0 }
        // The first group of a new broker: its coordinator may take a while to be there.
        yield* seek("argusiq.slow", [{ ...at, offset: 0n }]).pipe(Effect.retry({ times: 20 }))
        const refusal = yield* Effect.flip(
          Effect.forever(Effect.andThen(publish([record("a", "x".repeat(1_000))]), Effect.sleep(20)))
        )
        assert.include(String((refusal as { cause?: unknown }).cause), "argusiq.slow is")
        const appended = (yield* readKey("a")).length
        assert.isAbove(appended, 14)
        // How many more come until the measurement is over, depends on the machine.
        yield* seek("argusiq.slow", [{ ...at, offset: BigInt(appended) }])
        yield* publish([record("a", "at last")]).pipe(Effect.delay(20), Effect.retry({ times: 1_000 }))
      }).pipe(Effect.provide([bus(newPrefix(), { topics: retained, partitions: 1, backlogMillis: 100 }), quiet]))
    },
    together
  )

  it.live(
    "gives up what is not acknowledged in time, and takes what comes later",
    () => {
      const prefix = newPrefix()
      return Effect.gen(function* () {
        const { publish } = yield* Bus
        yield* publish([record("a", "before")])
        kafka.pause()
        const exit = yield* Effect.exit(publish([record("a", "during")])).pipe(
          Effect.ensuring(Effect.sync(() => kafka.resume()))
        )
        assert.isTrue(Exit.isFailure(exit))
        const failure = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert.include(failure, { _tag: "BusUnavailable" })
        yield* publish([record("a", "after")]).pipe(Effect.retry({ times: 50 }))
        // What was given up may have been appended nevertheless.
        const texts = new Set(yield* readKey("a"))
        texts.delete("during")
        assert.deepStrictEqual([...texts], ["before", "after"])
      }).pipe(Effect.provide([bus(prefix, { deliveryMillis: 1_500, requestTimeout: 1_000 }), quiet]))
    },
    120_000
  )
})

describe("a subscription to Kafka", () => {
  /** What it has read, of two records, when `over` ends: its connections fall silent between them. */
  const readsOn = (watchMillis: number, over: (seen: () => number) => Effect.Effect<unknown>) =>
    Effect.gen(function* () {
      const { open, socketFactory } = sockets()
      const prefix = newPrefix()
      return yield* Effect.gen(function* () {
        const outside = yield* Bus
        const seen: Array<Batch> = []
        return yield* Effect.gen(function* () {
          const { subscribe } = yield* Bus
          const before = new Set(open)
          yield* subscribe(
            { group: "g", topics: [Topics.raw], maxRecords: 100, maxBytes: 1_000_000, maxWaitMillis: 0 },
            (batch) => Effect.sync(() => void seen.push(batch))
          ).pipe(Effect.forkScoped)
          yield* outside.publish([record("a", "first")])
          yield* until(
            "it reads",
            Effect.sync(() => seen.length > 0)
          )
          // Its connections go on to be open and say nothing any more.
          for (const socket of open) if (!before.has(socket)) socket.pause()
          yield* outside.publish([record("a", "second")])
          yield* over(() => seen.length)
          return seen.flatMap(({ records }) => records.map(textOf))
        }).pipe(Effect.scoped, Effect.provide(bus(prefix, { watchMillis, socketFactory })))
      }).pipe(Effect.provide([bus(prefix), quiet]))
    })

  it.live("reads on when its connections have fallen silent, because it looks whether it does", () =>
    Effect.gen(function* () {
      const hasReadOn = yield* Deferred.make<void>()
      const [looks, looksNot] = yield* Effect.all(
        [
          readsOn(500, (seen) =>
            Effect.andThen(
              until(
                "it reads on",
                Effect.sync(() => seen() > 1)
              ),
              Deferred.succeed(hasReadOn, undefined)
            )
          ),
          readsOn(600_000, () => Effect.andThen(Deferred.await(hasReadOn), Effect.sleep(1_000)))
        ],
        { concurrency: 2 }
      )
      assert.deepStrictEqual(looks, ["first", "second"])
      assert.deepStrictEqual(looksNot, ["first"])
    })
  )

  it.live("tells what its group has to read although its first commit was cut off", () =>
    Effect.gen(function* () {
      let cut = 0
      const socketFactory: NonNullable<KafkaBus.KafkaBusOptions["socketFactory"]> = ({ host, port, onConnect }) => {
        const socket = connect({ host, port }, onConnect)
        const write = socket.write.bind(socket) as (...parameters: ReadonlyArray<unknown>) => boolean
        socket.write = (...parameters: ReadonlyArray<unknown>) => {
          const [request] = parameters
          if (cut > 0 || !(request instanceof Buffer) || request.readInt16BE(4) !== OFFSET_COMMIT) {
            return write(...parameters)
          }
          cut++
          socket.destroy(new Error("cut"))
          return false
        }
        return socket
      }
      yield* Effect.gen(function* () {
        const { lag, subscribe } = yield* Bus
        yield* subscribe(
          { group: "g", topics: [Topics.raw], maxRecords: 100, maxBytes: 1_000_000, maxWaitMillis: 0 },
          () => Effect.void
        ).pipe(Effect.forkScoped)
        yield* until(
          "all its partitions are told",
          Effect.map(lag("g"), (lags) => lags.length === KAFKA_PARTITIONS)
        )
      }).pipe(Effect.scoped, Effect.provide(bus(newPrefix(), { socketFactory })), Effect.provide(quiet))
      assert.strictEqual(cut, 1)
    })
  )
})

describe("Kafka as a bus", () => {
  it.live("is refused with another number of partitions, both counts and the way out named", () => {
    const prefix = newPrefix()
    const refusal = Effect.flip(
      Layer.build(
        KafkaBus.layer({
          brokers: kafka.addresses.split(","),
          prefix,
          topics,
          partitions: 5
        })
      )
    )
    return Effect.gen(function* () {
      yield* Effect.void.pipe(Effect.provide(bus(prefix)))
      const { message } = yield* refusal
      for (const part of ["telemetry.raw.v1", "12 partitions", "have 5", "telemetry.raw.v2"])
        assert.include(message, part)
    }).pipe(Effect.provide(quiet), Effect.scoped)
  })

  it.live("is refused when it does not answer, and the brokers are named", () =>
    Effect.gen(function* () {
      const refusal = yield* Effect.flip(
        Layer.build(KafkaBus.layer({ brokers: ["127.0.0.1:1"], topics, startMillis: 0 }))
      )
      assert.include(refusal.message, "127.0.0.1:1")
    }).pipe(Effect.provide(quiet), Effect.scoped)
  )

  it.live("sets no timer that fires for nothing", () => {
    const set: Array<number | undefined> = []
    const before = globalThis.setTimeout
    return Effect.gen(function* () {
      const { publish } = yield* Bus
      yield* publish([record("a", "1")])
      globalThis.setTimeout = Object.assign(
        (...given: Parameters<typeof before>) => {
          set.push(given[1])
          return before(...given)
        },
        { __promisify__: before.__promisify__ }
      ) as typeof before
      yield* Effect.sleep(300)
      assert.isBelow(set.length, 20)
      assert.isTrue(set.every((millis) => (millis ?? 0) >= 0))
    }).pipe(
      Effect.ensuring(Effect.sync(() => (globalThis.setTimeout = before))),
      Effect.provide([bus(newPrefix()), quiet])
    )
  })
})

const database = Layer.provideMerge(Layer.effectDiscard(Effect.orDie(makeTable)), testDatabase)
layer(database, { excludeTestServices: true })("consumers on Kafka with their offsets in PostgreSQL", (it) => {
  const memberOf = (prefix: string, group: string) =>
    Effect.map(TestDatabase, ({ pipeline }) => ({
      brokers: kafka.addresses,
      prefix,
      database: pipeline,
      group,
      sessionMillis: 1_500,
      offsetWithRows: true
    }))

  it.effect(
    "lose, double and skip nothing while members join, leave, die, and hang past their session and come back",
    () => {
      const prefix = newPrefix()
      const group = newGroup()
      return Effect.gen(function* () {
        let stopped = false
        const publishing = yield* Effect.forkScoped(publishUntil(() => stopped))
        const { each } = yield* withMembers(yield* memberOf(prefix, group), (start) =>
          Effect.gen(function* () {
            const [first, second] = yield* Effect.all([start(), start()], { concurrency: 2 })
            yield* Effect.sleep(1_500)
            first.signal("SIGSTOP")
            yield* Effect.sleep(3_000)
            first.signal("SIGCONT")
            const third = yield* start()
            yield* Effect.promise(() => second.end("SIGKILL"))
            yield* Effect.sleep(2_000)
            third.signal("SIGSTOP")
            yield* start()
            yield* Effect.promise(() => first.end("SIGTERM"))
            yield* Effect.sleep(2_000)
            third.signal("SIGCONT")
            yield* Effect.sleep(1_000)
            stopped = true
            const published = yield* Fiber.join(publishing)
            const verdict = yield* settledVerdict(group, published.each, 60)
            assert.deepStrictEqual(verdict, { missing: 0, doubled: 0, outOfOrder: 0 })
            return published
          })
        )
        assert.isAbove(each, 500)
      }).pipe(Effect.provide([bus(prefix), quiet]))
    },
    together
  )

  it.effect(
    "lose the batch of a member that dies where the offset is committed before the rows, which is why it is not",
    () => {
      const prefix = newPrefix()
      const stored = (offsetWithRows: boolean) =>
        Effect.gen(function* () {
          const group = newGroup()
          return yield* withMembers({ ...(yield* memberOf(prefix, group)), offsetWithRows }, (start) =>
            Effect.gen(function* () {
              const dies = yield* start({ diesAfter: 0 })
              assert.strictEqual(yield* Effect.promise(() => dies.ended), "SIGKILL")
              yield* start()
              return yield* settledVerdict(group, 50, offsetWithRows ? 60 : 4)
            })
          )
        })
      return Effect.gen(function* () {
        let rounds = 0
        yield* publishUntil(() => rounds++ === 10, 5, 0)
        const [safe, unsafe] = yield* Effect.all([stored(true), stored(false)], { concurrency: 2 })
        assert.deepStrictEqual(safe, { missing: 0, doubled: 0, outOfOrder: 0 })
        assert.isAbove(unsafe.missing, 0)
      }).pipe(Effect.provide([bus(prefix), quiet]))
    },
    together
  )

  const removeAndMake = (prefix: string) =>
    asAdministrator(async (admin) => {
      const topic = `${prefix}${Topics.raw}`
      await admin.deleteTopics({ topics: [topic] })
      // Until the broker knows, it goes on to append to the topic that is gone.
      const isThere = async () => (await admin.listTopics()).includes(topic)
      await eventually("the topic being gone", 60, async () => ((await isThere()) ? undefined : true))
      await admin.createTopics({ topics: [{ topic, numPartitions: KAFKA_PARTITIONS }], waitForLeaders: false })
      await eventually("the topic being there", 60, async () => ((await isThere()) ? true : undefined))
    })

  for (const grown of [5, 30]) {
    it.effect(
      `stop where their topic was removed and made again, ${grown < 20 ? "shorter than it was" : "and has grown past their offset"}`,
      () => {
        const prefix = newPrefix()
        const group = newGroup()
        return Effect.gen(function* () {
          const { publish } = yield* Bus
          yield* publish(numbers("a", 0, 20))
          const partition = yield* partitionOf("a")
          const { status } = yield* start(storing(group))
          yield* until(
            "all is stored",
            Effect.map(storedOf(group, "a"), (rows) => rows.length === 20)
          )
          yield* removeAndMake(prefix)
          yield* publish(numbers("a", 100, 100 + grown)).pipe(Effect.retry({ times: 50 }))
          yield* until(
            "it has stopped",
            Effect.sync(() => status.all().find((found) => found.partition === partition)?.status._tag === "Stopped")
          )
          assert.deepStrictEqual(yield* storedOf(group, "a"), range(20))
        }).pipe(Effect.provide([bus(prefix), quiet]))
      },
      together
    )
  }
  it.effect(
    "lose, double and skip nothing when the broker is killed and started again",
    () => {
      const prefix = newPrefix()
      const group = newGroup()
      return Effect.gen(function* () {
        let stopped = false
        yield* start(storing(group))
        const publishing = yield* Effect.forkScoped(publishUntil(() => stopped))
        yield* Effect.sleep(1_500)
        yield* Effect.promise(() => kafka.kill())
        yield* Effect.sleep(500)
        yield* Effect.promise(() => kafka.start())
        yield* Effect.sleep(2_000)
        stopped = true
        const { each } = yield* Fiber.join(publishing)
        const verdict = yield* settledVerdict(group, each, 60)
        assert.deepStrictEqual(verdict, { missing: 0, doubled: 0, outOfOrder: 0 })
      }).pipe(Effect.provide([bus(prefix), quiet]))
    },
    120_000
  )
})
