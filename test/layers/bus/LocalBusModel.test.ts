/**
 * The real code of the embedded log over a model of pending and durable writes, which loses its power at every step.
 * @module
 */
import { type Topic } from "@argusiq/domain/topics.ts"
import { Bus, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { LogRetention, makeLog } from "@argusiq/layers/bus/local/LocalBus.ts"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Logger, Stream } from "effect"
import { Disk, type ModelOptions, ModelStorage } from "./ModelStorage.ts"

const PARTITIONS = 2
const topics: ReadonlyArray<Topic> = [
  { name: "t", retentionMillis: 86_400_000, retentionBytes: 700, maxRecordBytes: 1_000 }
]
const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition)
const end = 2n ** 53n - 1n

const read = (bus: Bus["Service"], partition: number): ReadonlyArray<StoredRecord> =>
  Effect.runSync(Stream.runCollect(bus.read({ topic: "t", partition }, 0n, end)))

const textOf = ({ value }: StoredRecord): string => new TextDecoder().decode(value)

/** Everything anybody outside the log learnt of it before the power went. */
class Witness {
  readonly acknowledged = new Set<string>()
  readonly handled = new Set<string>()
  /** Text by partition and offset. */
  readonly seen = new Map<string, string>()
  readonly violations: Array<string> = []

  see(record: StoredRecord): void {
    const at = `${record.partition}/${record.offset}`
    const before = this.seen.get(at)
    if (before !== undefined && before !== textOf(record))
      this.violations.push(`${at} was ${before}, is ${textOf(record)}`)
    this.seen.set(at, textOf(record))
  }
}

const openLog = (storage: ModelStorage) =>
  makeLog(storage, () => undefined, {
    topics,
    partitions: PARTITIONS,
    commitMillis: 1,
    retentionMillis: 86_400_000
  }).pipe(Effect.orDie)

const subscription = { group: "g", topics: ["t"], maxRecords: 3, maxBytes: 10_000, maxWaitMillis: 0 }

/** Publishers, a group, readers at every step and retention, until all is done or the power goes. */
const live = (witness: Witness, options: ModelOptions) =>
  Effect.gen(function* () {
    let bus: Bus["Service"] | undefined
    const storage: ModelStorage = new ModelStorage({
      ...options,
      onStep: () => {
        if (bus === undefined) return
        try {
          for (const partition of partitions) read(bus, partition).forEach((record) => witness.see(record))
        } catch (error) {
          witness.violations.push(`reading failed: ${String(error)}`)
        }
      }
    })
    const services = yield* Effect.exit(openLog(storage))
    if (Exit.isFailure(services)) return storage
    bus = Context.get(services.value, Bus)
    const { publish, subscribe } = bus
    const retention = Context.get(services.value, LogRetention)
    const handler = yield* subscribe(subscription, ({ records }) =>
      Effect.sync(() => {
        if (storage.crashed) return
        for (const record of records) {
          witness.see(record)
          witness.handled.add(textOf(record))
        }
      })
    ).pipe(Effect.forkChild)
    yield* Effect.forEach(
      [0, 1, 2],
      (publisher) =>
        Effect.forEach([0, 1, 2, 3], (turn) => {
          const texts = turn % 2 === 0 ? [`${publisher}-${turn}`] : [`${publisher}-${turn}a`, `${publisher}-${turn}b`]
          return publish(
            texts.map((text) => ({
              topic: "t",
              key: `k${publisher}`,
              headers: {},
              value: new TextEncoder().encode(text)
            }))
          ).pipe(
            Effect.tap(() =>
              Effect.sync(() => {
                if (!storage.crashed) texts.forEach((text) => witness.acknowledged.add(text))
              })
            ),
            Effect.exit,
            Effect.andThen(turn === 2 ? Effect.exit(retention.run) : Effect.void)
          )
        }),
      { concurrency: "unbounded" }
    )
    yield* Effect.sleep(3)
    yield* Effect.exit(retention.run)
    yield* Fiber.interrupt(handler)
    return storage
  }).pipe(Effect.scoped)

/** What has to hold of the log that is found after the power came back. */
const inspect = (witness: Witness, disk: Disk) =>
  Effect.gen(function* () {
    const { violations, seen } = witness
    const services = yield* openLog(new ModelStorage({ disk }))
    const bus = Context.get(services, Bus)
    const found = new Set<string>()
    const gone = new Set<string>()
    for (const partition of partitions) {
      const { start, end } = yield* bus.range({ topic: "t", partition })
      const records = read(bus, partition)
      const offsets = records.map(({ offset }) => offset)
      if (offsets.some((offset, i) => offset !== start + BigInt(i)) || BigInt(offsets.length) !== end - start) {
        violations.push(`partition ${partition} from ${start} to ${end} holds ${offsets.join()}`)
      }
      for (const record of records) {
        found.add(textOf(record))
        witness.see(record)
      }
      for (const [at, text] of seen) {
        const [seenIn, offset] = at.split("/")
        if (Number(seenIn) !== partition) continue
        if (BigInt(offset ?? 0) >= end) violations.push(`${text} was seen at ${at}, the log ends at ${end}`)
        if (BigInt(offset ?? 0) < start) gone.add(text)
      }
      const times = records.map(({ appendedAt }) => appendedAt)
      if (times.some((time, i) => time < (times[i - 1] ?? 0))) violations.push("the time of appending went back")
    }
    for (const text of witness.acknowledged) {
      if (!found.has(text) && !gone.has(text)) violations.push(`${text} was acknowledged and is lost`)
    }
    for (const text of gone) if (!witness.handled.has(text)) violations.push(`${text} was removed and never handled`)
    const expected = [...found].filter((text) => !witness.handled.has(text))
    const delivered = new Set<string>()
    const handler = yield* bus
      .subscribe(subscription, ({ records }) => Effect.sync(() => records.forEach((r) => delivered.add(textOf(r)))))
      .pipe(Effect.forkChild)
    yield* bus.publish([{ topic: "t", key: "k0", headers: {}, value: new TextEncoder().encode("after") }])
    const deadline = performance.now() + 1_000
    while (!(delivered.has("after") && expected.every((text) => delivered.has(text)))) {
      if (performance.now() > deadline) {
        violations.push(`not delivered again: ${expected.filter((text) => !delivered.has(text)).join()}`)
        break
      }
      yield* Effect.sleep(1)
    }
    for (const partition of partitions) read(bus, partition).forEach((record) => witness.see(record))
    yield* Fiber.interrupt(handler)
  }).pipe(Effect.scoped)

/** Runs the scenario with one disturbance after the other, until a run is no longer disturbed. */
const disturbed = (disturbance: (step: number) => Partial<ModelOptions>, resolves: ModelOptions["resolves"]) =>
  Effect.gen(function* () {
    const violations: Array<string> = []
    let step = 0
    while (true) {
      step++
      const disk = new Disk()
      const witness = new Witness()
      const { steps } = yield* live(witness, { disk, resolves: resolves ?? "after the flush", ...disturbance(step) })
      yield* inspect(witness, disk)
      violations.push(...witness.violations.map((violation) => `step ${step}: ${violation}`))
      if (steps < step) return { steps: step, violations }
    }
  }).pipe(Effect.provide(Logger.layer([])))

describe("the embedded log over a disk that loses its power", () => {
  it.live("keeps its promises whichever step of a commit the power goes at", () =>
    Effect.gen(function* () {
      const { steps, violations } = yield* disturbed((crashAt) => ({ crashAt }), "after the flush")
      assert.deepStrictEqual(violations, [])
      assert.isAbove(steps, 50)
    })
  )

  it.live("keeps its promises when a commit fails at any step and may or may not have been written", () =>
    Effect.gen(function* () {
      const { steps, violations } = yield* disturbed((failAt) => ({ failAt }), "after the flush")
      assert.deepStrictEqual(violations, [])
      assert.isAbove(steps, 50)
    })
  )

  it.live("control: acknowledging before the flush is noticed", () =>
    Effect.gen(function* () {
      const { violations } = yield* disturbed((crashAt) => ({ crashAt }), "before the flush")
      assert.isTrue(
        violations.some((violation) => violation.endsWith("was acknowledged and is lost")),
        "an acknowledged record is lost"
      )
      assert.isTrue(
        violations.some((violation) => violation.includes("was seen at")),
        "a reader saw a record that is gone"
      )
    })
  )
})
