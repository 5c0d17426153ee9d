/**
 * Profiles change while processes read them and Redis is killed, hangs, is flushed or comes back in an older state. No reader
 * may see an older profile after a newer one, nor, 2 s after a change, one from before it: that is when a published version
 * takes effect.
 * @module
 */
import { type Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Metric } from "effect"
import { TestRedis, testRedis } from "../../support/components/redisLayer.ts"
import { testDatabase } from "../../support/postgres.ts"
import { randomFrom } from "../../support/random.ts"
import { insertDevice, insertEndpoint, publishVersion } from "./registry.ts"
import { change, startProcess, vouched } from "./shared.ts"

const DEVICES = 24
/** The others only newcomers ask for: nobody soon replaces a wrong value of theirs. */
const BUSY = 12
/** Fewer than there are devices, so that values leave memory and are asked for again. */
const MEMORY = 8
const MILLIS = Number(process.env.FAULT_SECONDS ?? 12) * 1_000
/** From a commit until it must be known everywhere. */
const KNOWN_AFTER_MILLIS = 2_000

const takenFromRedis = Effect.map(
  Metric.value(
    Metric.withAttributes(Metric.counter("argusiq_profile_cache_loaded_total", { incremental: true }), {
      service: "profiles",
      cache: "devices",
      source: "shared"
    })
  ),
  ({ count }) => Number(count)
)

/** One device's or type's rising number: what was committed when. */
class Subject {
  number = 0
  readonly committed: Array<{ readonly number: number; readonly at: number }> = [{ number: 0, at: 0 }]
  /** The least that a reader may see now. */
  mustBeKnown(now: number): number {
    return this.committed.findLast(({ at }) => at < now - KNOWN_AFTER_MILLIS)?.number ?? 0
  }
}

layer(Layer.merge(testDatabase, testRedis), { excludeTestServices: true })("profiles", (it) => {
  it.effect(
    "never go back, and are known in time, while Redis is killed, hangs, is flushed and comes back",
    () => {
      const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
      console.log(`seed ${seed} (SEED=${seed} repeats it)`)
      const random = randomFrom(seed)
      const pick = (below: number) => Math.floor(random() * below)
      return Effect.gen(function* () {
        const redis = yield* TestRedis
        const first = yield* insertEndpoint()
        const { deviceTypeId, tenantId } = first
        const others = Array.from({ length: DEVICES - 1 }, () => insertDevice({ tenantId, deviceTypeId }))
        const deviceIds = [first.deviceId, ...(yield* Effect.all(others))]
        const devices = new Map(deviceIds.map((id) => [id, new Subject()]))
        const type = new Subject()
        type.number = 1
        let reads = 0
        let starts = 0
        let invalidations = 0
        const faults: Record<string, number> = {}

        const writer = Effect.gen(function* () {
          const deviceId = deviceIds[pick(DEVICES)]!
          const subject = devices.get(deviceId)!
          const number = ++subject.number
          yield* change(deviceId, String(number))
          subject.committed.push({ number, at: Date.now() })
          if (pick(20) === 0) {
            const version = ++type.number
            const config = { processingMode: "endpoint" }
            yield* publishVersion({ tenantId, deviceTypeId, number: version, effectiveAt: Date.now() + 2_000, config })
            type.committed.push({ number: version, at: Date.now() })
          }
          // In the pauses the cache comes to vouch for all changes, and newcomers take old values from it.
          yield* Effect.sleep(pick(25) === 0 ? 2_500 + pick(1_500) : pick(40))
        }).pipe(Effect.forever)

        /** A process's reader: what it saw last of each. */
        const reader = (process: Pick<Profiles["Service"], "devices" | "deviceTypes">, of: number) => {
          const seen = new Map<Subject, number>()
          const check = (what: string, subject: Subject, number: number, startedAt: number) => {
            const least = Math.max(seen.get(subject) ?? 0, subject.mustBeKnown(startedAt))
            assert.isAtLeast(number, least, `${what} (seed ${seed}, ${JSON.stringify(faults)})`)
            seen.set(subject, number)
          }
          return Effect.gen(function* () {
            const startedAt = Date.now()
            const asked = Array.from({ length: 1 + pick(5) }, () => deviceIds[pick(of)]!)
            const found = yield* process.devices(asked)
            for (const id of asked) {
              check(`device ${id}`, devices.get(id)!, Number(found.get(id)?.logicalIdentifier ?? 0), startedAt)
            }
            const types = yield* process.deviceTypes([deviceTypeId])
            check("the type", type, types.get(deviceTypeId)!.versions.length, startedAt)
            reads += asked.length + 1
            yield* Effect.sleep(pick(4))
          })
        }

        /** A process that starts, reads and ends, again and again: it knows nothing but what PostgreSQL and Redis tell. */
        const newcomer = Effect.gen(function* () {
          const process = yield* startProcess({ size: MEMORY })
          yield* Effect.repeat(reader(process, DEVICES), { times: 10 })
          yield* process.end
          starts++
          yield* Effect.sleep(pick(300))
        }).pipe(Effect.forever)

        const choices: Record<string, Effect.Effect<void>> = {
          killed: Effect.promise(() => redis.kill().then(() => redis.start())).pipe(Effect.asVoid),
          "killed for a while": Effect.gen(function* () {
            yield* Effect.promise(() => redis.kill())
            yield* Effect.sleep(200 + pick(800))
            yield* Effect.promise(() => redis.start())
          }),
          flushed: Effect.asVoid(Effect.promise(() => redis.command("FLUSHALL"))),
          hangs: Effect.gen(function* () {
            redis.hang()
            yield* Effect.sleep(100 + pick(900))
            redis.goOn()
          }),
          "saved, and killed later": Effect.gen(function* () {
            yield* Effect.promise(() => redis.save())
            yield* Effect.sleep(pick(1_500))
            yield* Effect.promise(() => redis.kill().then(() => redis.start()))
          })
        }
        let turn = pick(Object.keys(choices).length)
        const faulty = Effect.gen(function* () {
          yield* Effect.sleep(300 + pick(3_000))
          const name = Object.keys(choices)[turn++ % Object.keys(choices).length]!
          faults[name] = (faults[name] ?? 0) + 1
          yield* choices[name]!
        }).pipe(Effect.forever)

        const one = yield* startProcess({ size: MEMORY })
        const two = yield* startProcess({ size: MEMORY })
        const byHand = Effect.gen(function* () {
          yield* Effect.sleep(1_000 + pick(2_000))
          yield* one.invalidate(pick(4) === 0 ? { type: "all" } : { type: "device", id: deviceIds[pick(DEVICES)]! })
          invalidations++
        }).pipe(Effect.forever)

        yield* vouched
        const readers = [one, two].flatMap((process) => [reader(process, BUSY), reader(process, BUSY)])
        const running = yield* Effect.forkChild(
          Effect.all([writer, ...readers.map((read) => Effect.forever(read)), newcomer, faulty, byHand], {
            concurrency: "unbounded",
            discard: true
          })
        )
        const sharedBefore = yield* takenFromRedis
        yield* Effect.raceFirst(Effect.sleep(MILLIS), Fiber.join(running))
        yield* Fiber.interrupt(running)
        const shared = (yield* takenFromRedis) - sharedBefore
        console.log({ reads, shared, starts, invalidations, changes: type.number, ...faults })
        assert.isAbove(reads, 1_000)
        assert.isAbove(shared, 100, "Redis has answered too little to prove anything")
        assert.isAbove(starts, 2)
        assert.isAtLeast(Object.keys(faults).length, 3)
      }).pipe(Effect.provide(Logger.layer([])))
    },
    MILLIS + 30_000
  )
})
