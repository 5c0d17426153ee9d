import { advance, emptyState, foldAll } from "@argusiq/domain/fold-state.ts"
import {
  alarmChanges,
  type AlarmEntity,
  type AlarmEvent,
  type AlarmRow,
  noAlarms,
  reconciled,
  type SaidAlarms
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
const foldOf = (durationSeconds: number) =>
  entityRules(compile([version({ condition: { operator: ">", value: 5, durationSeconds } })]), () => [])
const fold = foldOf(0)

/** The rows of alarms after readings that arrive so, by id, and what was told on the way. */
const changesOf = (batches: ReadonlyArray<ReadonlyArray<RuleInput>>, horizonMicros: number, by = fold) => {
  let state = emptyState(by)
  let said: SaidAlarms = noAlarms
  const rows = new Map<string, AlarmRow>()
  const events: Array<AlarmEvent> = []
  for (const batch of batches) {
    const advanced = advance(by, state, batch, { horizonMicros, baseLimit: Infinity })
    const changes = alarmChanges(entity, said, advanced, () => undefined)
    state = advanced.state
    said = changes
    for (const row of changes.rows) rows.set(row.id, row)
    events.push(...changes.events)
  }
  return { rows, events }
}
const rowsOf = (...given: Parameters<typeof changesOf>) => changesOf(...given).rows

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
    const said = alarmChanges(entity, noAlarms, open, () => undefined)
    const ended = advance(fold, open.state, [reading([105, 1])], { horizonMicros: 0, baseLimit: Infinity })
    const told = reconciled(said.live, new Map(), ended.settled, ended.state)
    const { events, rows } = alarmChanges(entity, said, told, () => undefined)
    assert.deepStrictEqual(
      rows.map(({ alarm, settled }) => [span(alarm), settled]),
      [["100–105", true]]
    )
    assert.deepStrictEqual(
      events.map(({ eventType }) => eventType),
      ["THRESHOLD_CLEARED"]
    )
  })

  it("do not take the place of one that is over and began there at first", () => {
    const begun = [reading([145, 9])]
    const earlier = [reading([117, 9])]
    const between = [reading([121, 1]), reading([143, 9])]
    const settling = [reading([180, 9])]
    const corrected = [reading([144, 1])]
    const batches = [begun, earlier, between, settling, corrected]
    assert.deepStrictEqual(spans(rowsOf(batches, 50 * SECOND)), ["117–121", "143–144", "145–"])
  })

  it("that was taken back stays so, and what begins there after all is told anew", () => {
    const held = foldOf(60)
    const batches = [[reading([0, 9]), reading([60, 9])], [reading([30, 1])], [{ ...reading([30, 9]), revision: 1 }]]
    const { events, rows } = changesOf(batches, 600 * SECOND, held)
    assert.deepStrictEqual(
      [...rows.values()].map(({ alarm, retracted }) => [span(alarm), retracted]),
      [
        ["60–", true],
        ["60–", false]
      ]
    )
    assert.deepStrictEqual(
      events.map(({ eventType }) => eventType),
      ["THRESHOLD_BREACH", "THRESHOLD_RETRACTED", "THRESHOLD_BREACH"]
    )
    assert.strictEqual(new Set(events.map(({ id }) => id)).size, 3)
  })

  it.prop(
    "are those of sorted readings, however late these are and however often they are corrected",
    { seed: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 31 })) },
    ({ seed }) => {
      const draw = randomFrom(seed)
      const random = (below: number) => Math.floor(draw() * below)
      const by = random(2) === 0 ? fold : foldOf(1 + random(30))
      const late = 1 + random(300)
      const arrivals: Array<{ readonly input: RuleInput; readonly at: number }> = []
      const inputs: Array<RuleInput> = []
      for (let index = 0, seconds = 1_000; index < 80; index++) {
        seconds += 1 + random(10)
        let at = (seconds + random(late)) * SECOND
        for (let revision = 0; ; revision++) {
          const input = { ...reading([seconds, random(10)], index), revision }
          arrivals.push({ input, at })
          at = Math.max(at, (seconds + random(late)) * SECOND)
          if (random(5) > 0) {
            inputs.push(input)
            break
          }
        }
      }
      const sorted = arrivals.toSorted((left, right) => left.at - right.at).map(({ input }) => input)
      const batches: Array<ReadonlyArray<RuleInput>> = []
      for (let from = 0; from < sorted.length;) batches.push(sorted.slice(from, (from += 1 + random(8))))

      const { told } = foldAll(by, inputs)
      const { events, rows } = changesOf(batches, late * SECOND, by)
      assert.deepStrictEqual(spans(rows), [...told.values()].map(span).toSorted(), `seed ${seed}`)
      const kept = [...rows.values()].filter(({ retracted }) => !retracted)
      assert.deepStrictEqual(new Set(kept.map(({ alarm }) => alarmKey(alarm))), new Set(told.keys()), `seed ${seed}`)

      // An event that is there already is not stored again.
      const stored = events.filter(({ id }, place) => events.findIndex((event) => event.id === id) === place)
      for (const { alarm, id, retracted } of rows.values()) {
        const types = stored.filter(({ alarmId }) => alarmId === id).map(({ eventType }) => eventType)
        assert.strictEqual(types[0], "THRESHOLD_BREACH", `seed ${seed}`)
        assert.strictEqual(types.at(-1) === "THRESHOLD_RETRACTED", retracted, `seed ${seed}`)
        if (!retracted && alarm.endedAt !== undefined) assert.include(types, "THRESHOLD_CLEARED", `seed ${seed}`)
      }
    },
    { arbitrary: { runs: 1000 } }
  )
})
