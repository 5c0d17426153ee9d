import { advance, emptyState, foldAll } from "@argusiq/domain/fold-state.ts"
import {
  alarmChanges,
  type AlarmEntity,
  type AlarmRow,
  type LiveAlarms,
  reconciled
} from "@argusiq/domain/rule/alarm-changes.ts"
import { entityRules } from "@argusiq/domain/rule/entity-rules.ts"
import { alarmKey, type RuleAlarm, type RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { randomFrom } from "../../support/random.ts"
import { compile, reading, SECOND, version } from "./scenario.ts"

const entity = {
  tenantId: "00000000-0000-4000-8000-0000000000aa" as AlarmEntity["tenantId"],
  entityType: "asset",
  entityId: "00000000-0000-4000-8000-0000000000bb"
} as const
const rules = compile([version({ condition: { operator: ">", value: 5 } })])
const fold = entityRules(rules, () => [])

/** The rows of alarms after readings that arrive so, by id. */
const rowsOf = (batches: ReadonlyArray<ReadonlyArray<RuleInput>>, horizonMicros: number) => {
  let state = emptyState(fold)
  let live: LiveAlarms = new Map()
  const rows = new Map<string, AlarmRow>()
  for (const batch of batches) {
    const advanced = advance(fold, state, batch, { horizonMicros, baseLimit: Infinity })
    const changes = alarmChanges(entity, live, advanced, () => undefined)
    state = advanced.state
    live = changes.live
    for (const row of changes.rows) rows.set(row.id, row)
  }
  return rows
}

const span = ({ endedAt, startedAt }: RuleAlarm) =>
  `${startedAt / SECOND}–${endedAt === undefined ? "" : endedAt / SECOND}`
const spans = (rows: ReadonlyMap<string, AlarmRow>) =>
  [...rows.values()].flatMap(({ alarm, retracted }) => (retracted ? [] : [span(alarm)])).toSorted()

describe("the rows of alarms", () => {
  it("are two where a correction puts another alarm where one began that began earlier after all", () => {
    const begun = [reading([100, 9])]
    const earlier = [reading([90, 9])]
    const between = [reading([95, 1])]
    assert.deepStrictEqual(spans(rowsOf([begun, earlier, between], 30 * SECOND)), ["100–", "90–95"])
  })

  it("end as the base told it where a process ended before its row did", () => {
    const open = advance(fold, emptyState(fold), [reading([100, 9])], { horizonMicros: 0, baseLimit: -Infinity })
    const { live } = alarmChanges(entity, new Map(), open, () => undefined)
    const ended = advance(fold, open.state, [reading([105, 1])], { horizonMicros: 0, baseLimit: Infinity })
    const { events, rows } = alarmChanges(entity, live, reconciled(live, new Map(), ended.settled), () => undefined)
    assert.deepStrictEqual(
      rows.map(({ alarm, settled }) => [span(alarm), settled]),
      [["100–105", true]]
    )
    assert.deepStrictEqual(
      events.map(({ eventType }) => eventType),
      ["THRESHOLD_CLEARED"]
    )
  })

  it.prop(
    "are those of sorted readings, however late these are",
    { seed: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 31 })) },
    ({ seed }) => {
      const draw = randomFrom(seed)
      const random = (below: number) => Math.floor(draw() * below)
      let seconds = 1_000
      const inputs = Array.from({ length: 80 }, (_, index) => reading([(seconds += 1 + random(10)), random(10)], index))
      const late = 1 + random(300)
      const arrivals = inputs
        .map((input) => ({ input, at: input.ts + random(late) * SECOND }))
        .toSorted((left, right) => left.at - right.at)
        .map(({ input }) => input)
      const batches: Array<ReadonlyArray<RuleInput>> = []
      for (let from = 0; from < arrivals.length;) batches.push(arrivals.slice(from, (from += 1 + random(8))))
      const { told } = foldAll(fold, inputs)
      const rows = rowsOf(batches, late * SECOND)
      assert.deepStrictEqual(spans(rows), [...told.values()].map(span).toSorted(), `seed ${seed}`)
      const kept = [...rows.values()].filter(({ retracted }) => !retracted)
      assert.deepStrictEqual(new Set(kept.map(({ alarm }) => alarmKey(alarm))), new Set(told.keys()), `seed ${seed}`)
    },
    { arbitrary: { runs: 1000 } }
  )
})
