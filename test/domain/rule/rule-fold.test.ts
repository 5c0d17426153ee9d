import { advance, emptyState, foldAll } from "@argusiq/domain/fold-state.ts"
import { type EntityRules, entityRules } from "@argusiq/domain/rule/entity-rules.ts"
import type { RuleAlarm, RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import type { RuleVersion } from "@argusiq/domain/rule/rule.ts"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { restarted } from "../restarted.ts"
import { compile, reading, SECOND, version } from "./scenario.ts"

const START = 1_772_000_000

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
type Random = ReturnType<typeof randomOf>

const conditionOf = (random: Random): object => {
  const durationSeconds = random(2) * random(60)
  switch (random(7)) {
    case 0:
      return { operator: [">", ">=", "<", "<=", "==", "!="][random(6)], value: random(10), durationSeconds }
    case 1:
      return { operator: ["between", "outside"][random(2)], value: [2 + random(3), 5 + random(3)], durationSeconds }
    case 2:
      return { operator: "above", warning: 4, critical: 7, durationSeconds }
    case 3:
      return { operator: "below", warning: 5, critical: 2, durationSeconds }
    case 4:
      return {
        operator: ["rising", "falling"][random(2)],
        perSecond: 0.1,
        overSeconds: 1 + random(60),
        durationSeconds
      }
    case 5:
      return { operator: "noData", noDataSeconds: 5 + random(20) }
    default:
      return { operator: "expression", expression: "a > b", durationSeconds }
  }
}

const rulesOf = (random: Random): ReadonlyArray<RuleVersion> => {
  const versions: Array<RuleVersion> = []
  for (let rule = 0; rule < 3; rule++) {
    for (let number = 1; number <= 1 + random(3); number++) {
      const given = {
        condition: conditionOf(random),
        hysteresis: random(2),
        debounceSeconds: random(3) * 5,
        cooldownSeconds: random(3) * random(120),
        isActive: random(6) > 0,
        ...(random(4) === 0 && {
          schedule: { days: [1, 2, 3, 4, 5, 6, 7], from: "06:10", to: "06:20", timeZone: "Europe/Berlin" }
        })
      }
      const effectiveAt = number === 1 ? 0 : (START + random(1_000)) * SECOND
      versions.push(version(given, number, effectiveAt, `00000000-0000-4000-8000-00000000000${rule}`))
    }
  }
  // A later version takes effect later.
  return versions.map((one) => ({
    ...one,
    effectiveAt: Math.max(
      ...versions
        .filter(({ id, version: number }) => id === one.id && number <= one.version)
        .map((other) => other.effectiveAt + other.version)
    )
  }))
}

const inputsOf = (random: Random): ReadonlyArray<RuleInput> => {
  let seconds = START
  return Array.from({ length: 100 }, (_, index) => {
    seconds += random(4) === 0 ? random(40) : random(10)
    return reading(
      [
        seconds,
        { t: random(10), ...(random(2) === 0 && { a: random(10) }), ...(random(3) === 0 && { b: random(10) }) }
      ],
      index
    )
  })
}

const sorted = (told: ReadonlyMap<string, RuleAlarm>) =>
  [...told].toSorted(([left], [right]) => (left < right ? -1 : 1))
const Seed = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 31 }))

describe("the rules of an entity", () => {
  it.prop(
    "say the same of readings in any order within the horizon, twice, in any batches, with looks at the time and restarts between",
    { seed: Seed },
    ({ seed }) => {
      const random = randomOf(seed)
      const rules = compile(rulesOf(random))
      const fold = entityRules(rules, () => [])
      const inputs = inputsOf(random)
      const end = inputs.at(-1)!.ts + 500 * SECOND
      const expected = foldAll(
        fold,
        inputs.toSorted((left, right) => left.ts - right.ts || (left.readingId < right.readingId ? -1 : 1)),
        end
      )
      const arrivals = inputs
        .flatMap((input) => (random(8) === 0 ? [input, input] : [input]))
        .map((input) => ({ input, at: input.ts + random(29) * SECOND }))
        .toSorted((left, right) => left.at - right.at)
      let state = emptyState(fold)
      const told = new Map<string, RuleAlarm>()
      const settled = new Map<string, RuleAlarm>()
      const take = (batch: ReadonlyArray<RuleInput>, until?: number) => {
        const options = { horizonMicros: 30 * SECOND, baseLimit: Infinity, ...(until !== undefined && { until }) }
        const advanced = advance(fold, state, batch, options)
        for (const [key, alarm] of advanced.changed) told.set(key, alarm)
        for (const key of advanced.retracted) told.delete(key)
        for (const [key, alarm] of advanced.settled) settled.set(key, alarm)
        state = random(5) === 0 ? restarted(advanced.state) : advanced.state
      }
      let newest = 0
      for (let from = 0; from < arrivals.length;) {
        const batch = arrivals.slice(from, (from += 1 + random(10))).map(({ input }) => input)
        newest = Math.max(newest, ...batch.map(({ ts }) => ts))
        take(batch, random(2) === 0 ? undefined : newest + random(2) * SECOND)
      }
      take([], end)
      take([], end + 31 * SECOND)
      assert.deepStrictEqual(sorted(told), sorted(expected.told), `seed ${seed}`)
      assert.deepStrictEqual(sorted(settled), sorted(expected.told), `seed ${seed}: settled`)
    },
    { arbitrary: { runs: 500 } }
  )

  it.prop(
    "say the same however often time is let pass between the readings, and raise one alarm of a rule at a time",
    { seed: Seed },
    ({ seed }) => {
      const random = randomOf(seed)
      const rules = compile(rulesOf(random))
      const fold = entityRules(rules, () => [])
      const inputs = inputsOf(random)
      const end = inputs.at(-1)!.ts + 500 * SECOND
      const expected = foldAll(fold, inputs, end)
      const told = new Map<string, RuleAlarm>()
      const emit = (key: string, alarm: RuleAlarm) => void told.set(key, alarm)
      let state: EntityRules = fold.initial
      let time = START * SECOND
      for (const input of inputs) {
        while (random(3) > 0 && time < input.ts) {
          time += Math.ceil(((input.ts - time) * random(100)) / 99)
          state = fold.pass(state, time, emit)
        }
        state = fold.step(state, input, emit)
        time = input.ts
      }
      fold.pass(fold.pass(state, time + SECOND, emit), end, emit)
      assert.deepStrictEqual(sorted(told), sorted(expected.told), `seed ${seed}`)
      for (const alarms of Map.groupBy(told.values(), ({ ruleId }) => ruleId).values()) {
        const inOrder = alarms.toSorted((left, right) => left.startedAt - right.startedAt)
        inOrder.forEach(({ startedAt }, index) => {
          const before = inOrder[index - 1]
          assert.isTrue(before === undefined || before.endedAt! <= startedAt, `seed ${seed}: two at a time`)
        })
      }
    },
    { arbitrary: { runs: 500 } }
  )
})
