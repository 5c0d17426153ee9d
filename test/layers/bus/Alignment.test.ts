import type { Batch, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { Alignment } from "@argusiq/layers/bus/consumer/Alignment.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"

const SECOND = 1_000_000
const DRIFT = 60 * SECOND

/** Of records received at these seconds. @param behind records of the log that are not in it */
const batchOf = (partition: number, seconds: ReadonlyArray<number>, behind = 0): Batch => {
  const records = seconds.map((at, offset): StoredRecord => ({
    topic: "t",
    key: "k",
    value: new Uint8Array(),
    headers: { "received-at": String(at * SECOND) },
    partition,
    offset: BigInt(offset),
    appendedAt: 0
  }))
  const next = BigInt(records.length)
  return { topic: "t", partition, records, next, end: next + BigInt(behind) }
}
const secondsOf = ({ records }: Batch) => records.map(({ headers }) => Number(headers["received-at"]) / SECOND)
const everyTen = Array.from({ length: 60 }, (_, index) => 1_000 + index * 10)

describe("partitions of a consumer that keeps them aligned", () => {
  it.live("hand their records out in order and whole, none further ahead of another than the drift", () =>
    Effect.gen(function* () {
      const alignment = new Alignment(DRIFT)
      const at = new Map([
        [0, everyTen[0]!],
        [1, everyTen[0]!]
      ])
      let furthest = 0
      const seen: Array<ReadonlyArray<number>> = [[], []]
      const run = (partition: number, millis: number) =>
        alignment.handle(batchOf(partition, everyTen), (part) =>
          Effect.gen(function* () {
            const seconds = secondsOf(part)
            seen[partition] = [...seen[partition]!, ...seconds]
            assert.strictEqual(part.next, BigInt(seen[partition].length))
            furthest = Math.max(furthest, seconds.at(-1)! - Math.min(...at.values()))
            yield* Effect.sleep(millis)
            if (part.next === part.end) at.delete(partition)
            else at.set(partition, seconds.at(-1)! + 10)
          })
        )
      yield* Effect.all([run(0, 1), run(1, 15)], { concurrency: 2 })
      assert.deepStrictEqual(seen, [everyTen, everyTen])
      assert.isAtMost(furthest, DRIFT / SECOND)
      assert.isAtLeast(furthest, DRIFT / SECOND - 20)
    })
  )

  it.live("hand whole batches out where no other has lag", () =>
    Effect.gen(function* () {
      const alignment = new Alignment(DRIFT)
      const parts: Array<number> = []
      const handle = (part: Batch) => Effect.sync(() => void parts.push(part.records.length))
      yield* alignment.handle(batchOf(1, [1]), handle)
      yield* alignment.handle(batchOf(0, everyTen), handle)
      assert.deepStrictEqual(parts, [1, everyTen.length])
    })
  )

  it.live(
    "wait for one that has more to come between its batches, but no longer than 2 s for one that stands still",
    () =>
      Effect.gen(function* () {
        const alignment = new Alignment(DRIFT)
        yield* alignment.handle(batchOf(1, [1_000], 100), () => Effect.void)
        const began = performance.now()
        let reached = 0
        yield* alignment.handle(batchOf(0, [1_050, 1_900]), () =>
          Effect.sync(() => void (reached ||= performance.now()))
        )
        assert.isBelow(reached - began, 500)
        assert.isAtLeast(performance.now() - began, 1_900)
        assert.isBelow(performance.now() - began, 4_000)
      })
  )

  it.live("do not wait for one whose batch was given up", () =>
    Effect.gen(function* () {
      const alignment = new Alignment(DRIFT)
      const stuck = yield* Effect.forkChild(alignment.handle(batchOf(1, [1_000]), () => Effect.never))
      yield* Effect.sleep(20)
      const ahead = yield* Effect.forkChild(alignment.handle(batchOf(0, [5_000]), () => Effect.void))
      yield* Effect.sleep(50)
      const began = performance.now()
      assert.isUndefined(ahead.pollUnsafe())
      yield* Fiber.interrupt(stuck)
      yield* Fiber.join(ahead)
      assert.isBelow(performance.now() - began, 500)
    })
  )
})
