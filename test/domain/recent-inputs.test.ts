import type { FoldInput } from "@argusiq/domain/fold.ts"
import { RecentInputs } from "@argusiq/domain/recent-inputs.ts"
import { assert, it } from "@effect/vitest"
import { Schema } from "effect"

interface Input extends FoldInput {
  readonly metrics: Readonly<Record<string, number>>
}

/** Several at some instants; every seventh is retracted. */
const inputs = (from: number, count: number): ReadonlyArray<Input> =>
  Array.from({ length: count }, (_, index) => {
    const number = from + index
    const ts = Math.floor(number / 3) * 10
    return {
      ts,
      readingId: String(number).padStart(9, "0"),
      ...(number % 7 === 0 && { retracted: true }),
      metrics: { value: number % 5 }
    }
  })

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const Time = between(-20, 1_500)
const Append = Schema.Struct({ append: between(0, 40) })
const Operation = Schema.Union([
  Append,
  Append,
  Schema.Struct({ replaceFrom: Time }),
  Schema.Struct({ splitAfter: Time })
])

it.prop(
  "they are what a sorted array would be",
  { operations: Schema.Array(Operation).check(Schema.isMaxLength(30)), times: Schema.Array(Time) },
  ({ operations, times }) => {
    let recent = RecentInputs.of<Input>([])
    let model: ReadonlyArray<Input> = []
    let next = 1
    for (const one of operations) {
      if ("append" in one) {
        const more = inputs(next, one.append)
        next += one.append
        recent = recent.append(more)
        model = [...model, ...more]
      } else if ("replaceFrom" in one) {
        const place = recent.placeNear(one.replaceFrom)
        const kept = one.replaceFrom % 5 // now and then none
        const others = recent.slice(place).filter((_, index) => index % 5 < kept)
        recent = recent.replaceFrom(place, others)
        model = [...model.slice(0, place), ...others]
      } else {
        const { rest, taken } = recent.splitAfter(one.splitAfter)
        assert.deepStrictEqual(
          taken,
          model.filter(({ ts }) => ts <= one.splitAfter)
        )
        recent = rest
        model = model.slice(taken.length)
      }
      assert.strictEqual(recent.length, model.length)
      assert.deepStrictEqual([...recent], model)
      assert.deepStrictEqual(recent.last, model.at(-1))
      assert.strictEqual(recent.newest, model.findLast(({ retracted }) => retracted !== true)?.ts)
      assert.deepStrictEqual(RecentInputs.read<Input>(JSON.parse(recent.json({ beside: 1 }))), model)
    }
    for (const at of times) {
      const place = recent.placeNear(at)
      const exact = model.findIndex(({ ts }) => ts >= at)
      assert.isAtMost(place, exact === -1 ? model.length : exact)
      assert.isTrue(model.slice(0, place).every(({ ts }) => ts < at))
      assert.deepStrictEqual(recent.slice(place), model.slice(place))
      assert.deepStrictEqual(
        recent.firstAfter(at),
        model.find(({ ts }) => ts > at)
      )
    }
    for (let from = 0; from <= model.length; from += 5) assert.deepStrictEqual(recent.slice(from), model.slice(from))
  },
  { arbitrary: { runs: 500 } }
)

it("all but the newest are packed", () => {
  const recent = RecentInputs.of(inputs(0, 1_000))
  const { packs, tail } = JSON.parse(recent.json({}))
  assert.isBelow(tail.length, 32)
  assert.strictEqual(packs.length, 61)
  assert.deepStrictEqual(JSON.parse(JSON.stringify(recent)), [...recent])
})
