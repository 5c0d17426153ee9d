import type { Gap } from "@argusiq/domain/connection-status.ts"
import type { RuleVersion } from "@argusiq/domain/rule/rule.ts"
import { assert, describe, it } from "@effect/vitest"
import { alarmsOf, type Row, SECOND, show, version } from "./scenario.ts"

interface Scenario {
  readonly rule: object | ReadonlyArray<RuleVersion>
  readonly readings: ReadonlyArray<Row>
  readonly until?: number
  readonly gaps?: ReadonlyArray<Gap>
  readonly alarms: ReadonlyArray<string>
}

const above90 = { condition: { operator: ">", value: 90 } }
const lasting = (seconds: number) => ({ condition: { operator: ">", value: 90, durationSeconds: seconds } })
const twoThresholds = { condition: { operator: "above", warning: 80, critical: 90 } }
const silence = (seconds: number) => ({ condition: { operator: "noData", noDataSeconds: seconds } })
const officeHours = { days: [1, 2, 3, 4, 5], from: "08:00", to: "17:00", timeZone: "Europe/Berlin" }
const at = (iso: string) => Date.parse(iso) / 1_000
const hysteresis = { ...above90, hysteresis: 5 }

const scenarios: Readonly<Record<string, Scenario>> = {
  "an alarm begins with the reading past the threshold and ends with the one back": {
    rule: above90,
    readings: [
      [0, 89],
      [10, 91],
      [20, 95],
      [30, 90],
      [40, 80]
    ],
    alarms: ["10–30 high"]
  },
  "the threshold itself is no breach of > and a breach of >=": {
    rule: { condition: { operator: ">=", value: 90 } },
    readings: [
      [0, 89.9],
      [10, 90],
      [20, 89.9]
    ],
    alarms: ["10–20 high"]
  },
  "< and <= mirror them": {
    rule: { condition: { operator: "<", value: 10 } },
    readings: [
      [0, 10],
      [10, 9],
      [20, 10]
    ],
    alarms: ["10–20 high"]
  },
  "== holds on the value alone": {
    rule: { condition: { operator: "==", value: 3 } },
    readings: [
      [0, 2],
      [10, 3],
      [20, 4]
    ],
    alarms: ["10–20 high"]
  },
  "!= holds on every other value": {
    rule: { condition: { operator: "!=", value: 0 } },
    readings: [
      [0, 0],
      [10, 3],
      [20, 4],
      [30, 0]
    ],
    alarms: ["10–30 high"]
  },
  "true is 1 and false is 0, and text says nothing": {
    rule: { condition: { operator: "==", value: 1 } },
    readings: [
      [0, false],
      [10, true],
      [20, "off"],
      [30, false]
    ],
    alarms: ["10–30 high"]
  },
  "between includes both bounds": {
    rule: { condition: { operator: "between", value: [10, 20] } },
    readings: [
      [0, 9],
      [10, 10],
      [20, 20],
      [30, 21]
    ],
    alarms: ["10–30 high"]
  },
  "outside excludes both bounds": {
    rule: { condition: { operator: "outside", value: [10, 20] } },
    readings: [
      [0, 10],
      [10, 9],
      [20, 21],
      [30, 20]
    ],
    alarms: ["10–30 high"]
  },
  "outside ends by a hysteresis wider than the range in its middle": {
    rule: { condition: { operator: "outside", value: [10, 20] }, hysteresis: 50 },
    readings: [
      [0, 9],
      [10, 12],
      [20, 15]
    ],
    alarms: ["0–20 high"]
  },
  "with hysteresis an alarm goes on until the value is back far enough": {
    rule: hysteresis,
    readings: [
      [0, 91],
      [10, 88],
      [20, 85.1],
      [30, 85],
      [40, 89]
    ],
    alarms: ["0–30 high"]
  },
  "hysteresis raises nothing": {
    rule: hysteresis,
    readings: [
      [0, 88],
      [10, 86]
    ],
    alarms: []
  },
  "a breach must hold for the duration, to the instant": {
    rule: lasting(60),
    readings: [
      [0, 91],
      [30, 92],
      [100, 80]
    ],
    alarms: ["60–100 high"]
  },
  "a breach that ends with its duration raises nothing": {
    rule: lasting(60),
    readings: [
      [0, 91],
      [60, 80]
    ],
    alarms: []
  },
  "a reading that breaches when the duration ends raises": {
    rule: lasting(60),
    readings: [
      [0, 91],
      [60, 91]
    ],
    until: 60,
    alarms: ["60– high"]
  },
  "a breach that is interrupted counts anew": {
    rule: lasting(60),
    readings: [
      [0, 91],
      [40, 80],
      [50, 91],
      [109, 80]
    ],
    alarms: []
  },
  "a value holds: time alone ends a duration": {
    rule: lasting(60),
    readings: [[0, 91]],
    until: 61,
    alarms: ["60– high"]
  },
  "debounce counts where it is longer than the duration": {
    rule: { ...lasting(10), debounceSeconds: 30 },
    readings: [
      [0, 91],
      [100, 80]
    ],
    alarms: ["30–100 high"]
  },
  "within the cooldown nothing is raised; what outlasts it raises when it ends": {
    rule: { ...above90, cooldownSeconds: 300 },
    readings: [
      [0, 91],
      [10, 80],
      [20, 91],
      [30, 80],
      [290, 91],
      [400, 80]
    ],
    alarms: ["0–10 high", "300–400 high"]
  },
  "cooldown counts from the raising and never holds up a clearing": {
    rule: { ...above90, cooldownSeconds: 300 },
    readings: [
      [0, 91],
      [10, 80],
      [301, 91],
      [302, 80]
    ],
    alarms: ["0–10 high", "301–302 high"]
  },
  "duration and cooldown both must be over": {
    rule: { ...lasting(60), cooldownSeconds: 100 },
    readings: [
      [0, 91],
      [70, 80],
      [80, 91],
      [170, 80],
      [171, 91],
      [240, 80]
    ],
    alarms: ["60–70 high", "160–170 high"]
  },
  "two thresholds raise a warning and make it critical": {
    rule: twoThresholds,
    readings: [
      [0, 85],
      [10, 95],
      [20, 85],
      [30, 80]
    ],
    alarms: ["0–30 critical"]
  },
  "past both thresholds at once it begins critical": {
    rule: twoThresholds,
    readings: [[0, 95]],
    alarms: ["0– critical"]
  },
  "what makes an alarm more severe does not begin its cooldown anew": {
    rule: { ...twoThresholds, cooldownSeconds: 100 },
    readings: [
      [0, 85],
      [50, 95],
      [60, 70],
      [101, 85],
      [110, 70]
    ],
    alarms: ["0–60 critical", "101–110 warning"]
  },
  "each threshold must hold for the duration": {
    rule: { condition: { ...twoThresholds.condition, durationSeconds: 60 } },
    readings: [
      [0, 85],
      [50, 95],
      [100, 85],
      [120, 70],
      [200, 95],
      [300, 70]
    ],
    alarms: ["60–120 warning", "260–300 critical"]
  },
  "below counts downwards": {
    rule: { condition: { operator: "below", warning: 20, critical: 10 } },
    readings: [
      [0, 25],
      [10, 15],
      [20, 5],
      [30, 20]
    ],
    alarms: ["10–30 critical"]
  },
  "silence begins when it has lasted and ends with the next reading": {
    rule: silence(60),
    readings: [
      [0, 1],
      [59, 1],
      [200, 1]
    ],
    until: 230,
    alarms: ["119–200 high"]
  },
  "silence of one metric is not broken by another": {
    rule: silence(60),
    readings: [
      [0, 1],
      [40, { other: 1 }]
    ],
    until: 70,
    alarms: ["60– high"]
  },
  "silence of an entity is broken by any metric": {
    rule: { ...silence(60), metricKey: undefined },
    readings: [
      [0, { a: 1 }],
      [40, { b: 1 }]
    ],
    until: 90,
    alarms: []
  },
  "time in which the platform accepted nothing is no silence": {
    rule: silence(60),
    readings: [[0, 1]],
    gaps: [{ from: 30 * SECOND, to: 1_000 * SECOND }],
    until: 1_031,
    alarms: ["1030– high"]
  },
  "nothing is silent before it was heard": { rule: silence(60), readings: [], until: 1_000, alarms: [] },
  "a rate counts over its time, from the value held at its beginning": {
    rule: { condition: { operator: "rising", perSecond: 1, overSeconds: 60 } },
    readings: [
      [0, 0],
      [60, 60],
      [120, 121],
      [180, 121]
    ],
    alarms: ["120–180 high"]
  },
  "a rate needs its whole time": {
    rule: { condition: { operator: "rising", perSecond: 1, overSeconds: 60 } },
    readings: [
      [0, 0],
      [10, 500],
      [20, 1_000]
    ],
    alarms: []
  },
  "falling mirrors rising": {
    rule: { condition: { operator: "falling", perSecond: 0.5, overSeconds: 10 } },
    readings: [
      [0, 100],
      [10, 96],
      [20, 90],
      [30, 90]
    ],
    alarms: ["20–30 high"]
  },
  "an expression sees the latest values of what it reads": {
    rule: { condition: { operator: "expression", expression: "a > b" } },
    readings: [
      [0, { a: 5 }],
      [10, { b: 4 }],
      [20, { c: 1 }],
      [30, { b: 6 }],
      [40, { a: 7 }]
    ],
    alarms: ["10–30 high", "40– high"]
  },
  "a version that takes effect ends the alarms of the one before it": {
    rule: [version(above90), version({ condition: { operator: ">", value: 95 } }, 2, 30 * SECOND)],
    readings: [
      [0, 91],
      [40, 94],
      [50, 96],
      [60, 95]
    ],
    alarms: ["0–30 high superseded", "v2 50–60 high"]
  },
  "a breach that would have held with the new version's instant raises nothing": {
    rule: [version(lasting(30)), version(above90, 2, 30 * SECOND)],
    readings: [
      [0, 91],
      [40, 80]
    ],
    alarms: []
  },
  "readings before a version's instant belong to the one before it, cooldown begins anew": {
    rule: [version({ ...above90, cooldownSeconds: 300 }), version(above90, 2, 30 * SECOND)],
    readings: [
      [0, 91],
      [10, 80],
      [20, 91],
      [30, 91]
    ],
    until: 30,
    alarms: ["0–10 high", "v2 30– high"]
  },
  "a version that is inactive ends what was said": {
    rule: [version(above90), version({ ...above90, isActive: false }, 2, 30 * SECOND)],
    readings: [
      [0, 91],
      [40, 95]
    ],
    alarms: ["0–30 high deactivated"]
  },
  "a new version of silence goes on from the last reading": {
    rule: [version(silence(60)), version(silence(90), 2, 70 * SECOND)],
    readings: [[0, 1]],
    until: 100,
    alarms: ["60–70 high superseded", "v2 90– high"]
  },
  "outside of its hours a rule raises nothing, and clears": {
    rule: { ...above90, schedule: officeHours },
    readings: [
      [at("2026-03-27T15:59:00Z"), 91], // Friday 16:59 in Berlin
      [at("2026-03-27T16:10:00Z"), 80],
      [at("2026-03-28T10:00:00Z"), 91], // Saturday
      [at("2026-03-28T11:00:00Z"), 80]
    ],
    alarms: [`${at("2026-03-27T15:59:00Z")}–${at("2026-03-27T16:10:00Z")} high`]
  },
  "a breach that lasts into the hours raises when they begin, by summer time too": {
    rule: { ...above90, schedule: officeHours },
    readings: [[at("2026-03-28T10:00:00Z"), 91]], // summer time begins on the 29th
    until: at("2026-03-30T07:00:00Z"),
    alarms: [`${at("2026-03-30T06:00:00Z")}– high`]
  }
}

describe("a rule makes of readings", () => {
  for (const [name, { alarms, gaps, readings, rule, until }] of Object.entries(scenarios)) {
    it(name, () => {
      const versions = Array.isArray(rule) ? (rule as ReadonlyArray<RuleVersion>) : [version(rule)]
      const end = until ?? Math.max(0, ...readings.map(([seconds]) => seconds)) + 1
      assert.deepStrictEqual(alarmsOf(versions, readings, end, gaps).map(show), alarms)
    })
  }

  it("the same rate wherever the readings begin: a backtest's warm-up begins elsewhere than the live fold", () => {
    const rows = Array.from({ length: 4_000 }, (_, index): Row => [index * 0.37, Math.sin(index / 40) * 50])
    const rule = [version({ condition: { operator: "rising", perSecond: 1, overSeconds: 60 } })]
    const whole = alarmsOf(rule, rows, 2_000).map(show)
    const later = alarmsOf(rule, rows.slice(101), 2_000).map(show)
    assert.isAbove(later.length, 3)
    assert.deepStrictEqual(later.slice(1), whole.slice(-later.length + 1))
  })

  it("the value, threshold and reading that raised it, and made it more severe", () => {
    const [alarm] = alarmsOf(
      [version(twoThresholds)],
      [
        [0, 85],
        [10, 95],
        [20, 97]
      ],
      30
    )
    assert.deepInclude<object>(
      { ...alarm },
      {
        value: 95,
        threshold: 90,
        causeReadingId: "10:1",
        severityAt: 10 * SECOND,
        startedAt: 0
      }
    )
    const [long] = alarmsOf(
      [version(lasting(60))],
      [
        [0, 91],
        [30, 93]
      ],
      61
    )
    assert.deepInclude<object>({ ...long }, { value: 93, threshold: 90, causeReadingId: "30:1" })
    const [silent] = alarmsOf([version(silence(60))], [[0, 91]], 61)
    assert.deepInclude({ ...silent }, { threshold: 60 })
    assert.notProperty(silent, "value")
  })
})
