import type { Emit, Fold, FoldInput } from "@argusiq/domain/fold.ts"
import { advance, BEFORE_ALL, emptyState, foldAll, rebase, refold } from "@argusiq/domain/fold-state.ts"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { restarted } from "./restarted.ts"

const SECOND = 1_000_000
const HOLD = 10 * SECOND

interface Input extends FoldInput {
  readonly value: number
}
/** Begins when a value above 5 has held for ten seconds, ends with another; and the sum of each instant. */
interface State {
  readonly since?: number
  readonly alarm?: { readonly from: number; readonly to?: number }
  readonly sum: number
}
type Output = { readonly from: number; readonly to?: number } | { readonly sum: number }

const raiseIfDue = (state: State, isDue: (deadline: number) => boolean, emit: Emit<Output>): State => {
  if (state.since === undefined || state.alarm !== undefined || !isDue(state.since + HOLD)) return state
  const alarm = { from: state.since + HOLD }
  emit(`alarm:${alarm.from}`, alarm)
  return { ...state, alarm }
}
const fold: Fold<State, Input, Output> = {
  initial: { sum: 0 },
  step: (before, { ts, value }, emit) => {
    const { alarm, since, sum } = raiseIfDue(before, (deadline) => deadline < ts, emit)
    emit(`sum:${ts}`, { sum: sum + value })
    if (value > 5) {
      const state = { since: since ?? ts, ...(alarm !== undefined && { alarm }), sum: sum + value }
      return raiseIfDue(state, (deadline) => deadline <= ts, emit)
    }
    if (alarm !== undefined) emit(`alarm:${alarm.from}`, { ...alarm, to: ts })
    return { sum: sum + value }
  },
  pass: (state, until, emit) => raiseIfDue(state, (deadline) => deadline < until, emit),
  open: ({ alarm }, emit) => {
    if (alarm !== undefined) emit(`alarm:${alarm.from}`, alarm)
  }
}

const id = (number: number) => String(number).padStart(4, "0")
const input = (seconds: number, value: number, rest: Partial<Input> = {}): Input => ({
  ts: seconds * SECOND,
  readingId: id(seconds * 10),
  value,
  ...rest
})
const at = (seconds: number) => ({ horizonMicros: 30 * SECOND, baseLimit: Infinity, until: seconds * SECOND })
const live = { horizonMicros: 30 * SECOND, baseLimit: Infinity }

/** Generator of small numbers that a seed decides. */
const randomOf = (seed: number) => {
  let state = seed >>> 0 || 1
  return (below: number) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % below
  }
}

/** In the order of arrival: each less than `late` seconds after its time, some twice, some corrected by a revision or taken out. */
const arrivals = (seed: number, { count = 120, late = 29 } = {}) => {
  const random = randomOf(seed)
  const inputs: Array<{ readonly at: number; readonly input: Input }> = []
  let ts = 1_000 * SECOND
  for (let number = 0; number < count; number++) {
    ts += random(6) * SECOND
    const one: Input = { ts, readingId: id(random(10_000)) + ":" + id(number), value: random(10) }
    const arrive = (input: Input) => inputs.push({ at: ts + random(late) * SECOND, input })
    arrive(one)
    if (random(5) === 0) arrive(one)
    if (random(8) === 0) arrive({ ...one, value: random(10), revision: 1 })
    if (random(10) === 0) arrive({ ...one, retracted: true, revision: 2 })
  }
  return inputs.toSorted((left, right) => left.at - right.at).map(({ input }) => input)
}

/** What sorted inputs come to, each id by its highest revision. */
const straight = (inputs: ReadonlyArray<Input>, until: number) => {
  const best = new Map<string, Input>()
  for (const input of inputs) {
    const known = best.get(input.readingId)
    if (known === undefined || (input.revision ?? 0) > (known.revision ?? 0)) best.set(input.readingId, input)
  }
  const sorted = [...best.values()].toSorted(
    (left, right) => left.ts - right.ts || (left.readingId < right.readingId ? -1 : 1)
  )
  return foldAll(fold, sorted, until)
}

/** @param restarts one in so many batches is followed by one */
const run = (inputs: ReadonlyArray<Input>, seed: number, { horizonMicros = 30 * SECOND, restarts = 4 } = {}) => {
  const random = randomOf(seed + 1)
  let state = emptyState(fold)
  const told = new Map<string, Output>()
  const settled = new Map<string, Output>()
  let late = 0
  const take = (batch: ReadonlyArray<Input>, until?: number) => {
    const advanced = advance(fold, state, batch, {
      horizonMicros,
      baseLimit: Infinity,
      ...(until !== undefined && { until })
    })
    for (const [id, output] of advanced.changed) told.set(id, output)
    for (const id of advanced.retracted) assert.isTrue(told.delete(id), `seed ${seed}: ${id} was retracted untold`)
    for (const [id, output] of advanced.settled) settled.set(id, output)
    late += advanced.late.filter(({ revision }) => revision === undefined).length
    state = advanced.state
    assert.deepStrictEqual(
      state.tip,
      refold(fold, state).tip,
      `seed ${seed}: the tip is not what the base and recent come to`
    )
  }
  for (let from = 0; from < inputs.length;) {
    const size = 1 + random(12)
    const batch = inputs.slice(from, from + size)
    from += size
    // Time never passes beyond what may still come in order.
    const newest = Math.max(...inputs.slice(0, from).map(({ ts }) => ts))
    take(batch, random(2) === 0 ? undefined : newest + random(3) * SECOND)
    if (random(restarts) === 0) state = restarted(state)
  }
  const end = Math.max(...inputs.map(({ ts }) => ts)) + 100 * SECOND
  take([], end)
  return { told, settled, late, end, state }
}

describe("a fold run on what arrives", () => {
  it.prop(
    "comes to the same as on sorted inputs, for every order within the horizon, doubles, corrections, batches and restarts",
    { seed: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 31 })) },
    ({ seed }) => {
      const inputs = arrivals(seed)
      const { end, settled, told } = run(inputs, seed)
      const expected = straight(inputs, end)
      const sorted = (map: ReadonlyMap<string, Output>) =>
        [...map].toSorted(([left], [right]) => (left < right ? -1 : 1))
      assert.deepStrictEqual(sorted(told), sorted(expected.told), `seed ${seed}`)
      assert.deepStrictEqual(sorted(settled), sorted(expected.told), `seed ${seed}: settled`)
    },
    { arbitrary: { runs: 300 } }
  )

  it.prop(
    "comes to the same however late its inputs are, on a way that is long remembered",
    { seed: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 31 })) },
    ({ seed }) => {
      const inputs = arrivals(seed, { count: 400, late: 1 + (seed % 1_500) })
      const { end, told } = run(inputs, seed, { horizonMicros: 10_000 * SECOND, restarts: 60 })
      assert.deepStrictEqual(
        new Map([...told].toSorted()),
        new Map([...straight(inputs, end).told].toSorted()),
        `seed ${seed}`
      )
    },
    { arbitrary: { runs: 60 } }
  )

  it("steps over what comes after a late input, and not over the whole way", () => {
    let steps = 0
    const counting = {
      ...fold,
      step: (...given: Parameters<typeof fold.step>) => {
        steps += 1
        return fold.step(...given)
      }
    }
    const far = { horizonMicros: 1e12, baseLimit: Infinity }
    const length = 5_000
    let state = emptyState(counting)
    for (let from = 0; from < length; from += 10) {
      const batch = Array.from({ length: 10 }, (_, index) => input(from + index, index))
      state = advance(counting, state, batch, far).state
    }
    for (const distance of [0, 10, 50, 200, 1_000, 4_000, 30, 3_000, 500]) {
      steps = 0
      state = advance(counting, state, [input(length - distance - 0.5, 1)], far).state
      // What was told since is computed again too, where it is older than a few seconds.
      assert.isAtMost(steps, 3 * distance + 100, `${distance} before the tip`)
    }
    assert.deepStrictEqual(state.tip, refold(fold, state).tip)
  })

  it("comes to something else with a horizon of zero: the disorder is real", () => {
    const seeds = Array.from({ length: 20 }, (_, index) => index + 1)
    assert.isTrue(seeds.every((seed) => run(arrivals(seed), seed, { horizonMicros: 0 }).late > 0))
  })

  it("tells at once, and takes back what a late input disproves", () => {
    const first = advance(fold, emptyState(fold), [input(0, 9), input(10, 9)], live)
    assert.deepStrictEqual(first.changed.get("alarm:10000000"), { from: 10 * SECOND })
    const second = advance(fold, first.state, [input(5, 1)], live)
    assert.deepStrictEqual(second.retracted, ["alarm:10000000"])
    assert.strictEqual(second.state.base, fold.initial)
  })

  it("an end that is taken back leaves what began before the base", () => {
    const begun = advance(fold, emptyState(fold), [input(0, 9), input(10, 9), input(50, 9)], live)
    assert.isTrue(begun.settled.has("alarm:10000000"))
    const ended = advance(fold, begun.state, [input(60, 1)], live)
    assert.deepStrictEqual(ended.changed.get("alarm:10000000"), { from: 10 * SECOND, to: 60 * SECOND })
    const back = advance(fold, ended.state, [input(60, 9, { revision: 1 })], live)
    assert.deepStrictEqual(back.changed.get("alarm:10000000"), { from: 10 * SECOND })
    assert.deepStrictEqual(back.retracted, [])
  })

  it("time that passes ends a duration, and an input before that takes it back", () => {
    const begun = advance(fold, emptyState(fold), [input(0, 9)], at(9))
    assert.strictEqual(begun.changed.size, 1)
    const passed = advance(fold, begun.state, [], at(11))
    assert.deepStrictEqual([...passed.changed.keys()], ["alarm:10000000"])
    assert.deepStrictEqual(advance(fold, passed.state, [input(8, 1)], at(11)).retracted, ["alarm:10000000"])
  })

  it("time that passes settles what nothing follows, and leaves what came of nothing open to correction", () => {
    const begun = advance(fold, emptyState(fold), [input(0, 9)], at(20))
    const settled = advance(fold, begun.state, [], at(41))
    assert.deepStrictEqual([...settled.settled.keys()].toSorted(), ["alarm:10000000", "sum:0"])
    assert.strictEqual(settled.state.baseTime, 11 * SECOND)
    const quiet = advance(fold, emptyState(fold), [input(0, 1)], at(1_000))
    assert.strictEqual(quiet.state.baseTime, 0)
    assert.deepStrictEqual(advance(fold, quiet.state, [input(500, 1)], at(1_000)).late, [])
  })

  it("the base waits for a partition that is behind", () => {
    const waiting = { ...live, baseLimit: 3 * SECOND }
    const { late, state } = advance(fold, emptyState(fold), [input(0, 1), input(3, 1), input(90, 1)], waiting)
    assert.strictEqual(state.baseTime, 3 * SECOND)
    assert.deepStrictEqual(late, [])
    assert.deepStrictEqual(advance(fold, state, [input(4, 1)], waiting).late, [])
    assert.strictEqual(advance(fold, state, [input(2, 1)], waiting).late.length, 1)
    assert.strictEqual(emptyState(fold).baseTime, BEFORE_ALL)
  })

  it("a base from elsewhere takes the place of its own, and what changes by that is told", () => {
    const { state } = advance(fold, emptyState(fold), [input(0, 1), input(50, 9), input(60, 9)], live)
    const rebased = rebase(fold, state, { sum: 100 }, 50 * SECOND)
    assert.deepStrictEqual(rebased.retracted, ["sum:50000000", "alarm:60000000"])
    assert.deepStrictEqual(rebased.changed.get("sum:60000000"), { sum: 109 })
  })
})
