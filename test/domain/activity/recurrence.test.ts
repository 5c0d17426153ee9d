import {
  LocalDate,
  nextOccurrence,
  latestOccurrence,
  type Recurrence,
  TimeZone
} from "@argusiq/domain/activity/recurrence.ts"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"

const at = (iso: string) => Date.parse(iso) * 1_000
const recurrence = (more: Partial<Recurrence>): Recurrence => ({
  every: 1,
  unit: "days",
  startsOn: "2026-01-01",
  endsOn: null,
  localTime: "08:00",
  timeZone: "Europe/Berlin",
  ...more
})
const next = (more: Partial<Recurrence>, after: string) => {
  const instant = nextOccurrence(recurrence(more), at(after))
  return instant === undefined ? undefined : new Date(instant / 1_000).toISOString()
}

describe("the next occurrence", () => {
  const cases: ReadonlyArray<[string, Partial<Recurrence>, string, string | undefined]> = [
    ["is the first one before it all begins", {}, "2020-01-01T00:00:00Z", "2026-01-01T07:00:00.000Z"],
    ["comes after the instant, not at it", {}, "2026-01-01T07:00:00Z", "2026-01-02T07:00:00.000Z"],
    ["keeps its local time in summer", {}, "2026-06-30T12:00:00Z", "2026-07-01T06:00:00.000Z"],
    [
      "of a time that clocks leave out is an hour later by the clock",
      { localTime: "02:30" },
      "2026-03-28T12:00:00Z",
      "2026-03-29T01:30:00.000Z"
    ],
    [
      "of a time that comes twice is the first",
      { localTime: "02:30" },
      "2026-10-24T12:00:00Z",
      "2026-10-25T00:30:00.000Z"
    ],
    [
      "does not come twice with such a time",
      { localTime: "02:30" },
      "2026-10-25T00:30:00Z",
      "2026-10-26T01:30:00.000Z"
    ],
    [
      "of every third week keeps its weekday",
      { every: 3, unit: "weeks" },
      "2026-01-01T07:00:00Z",
      "2026-01-22T07:00:00.000Z"
    ],
    [
      "of a month too short for its day is the last day",
      { unit: "months", startsOn: "2026-01-31" },
      "2026-01-31T12:00:00Z",
      "2026-02-28T07:00:00.000Z"
    ],
    [
      "after a month too short has its day again",
      { unit: "months", startsOn: "2026-01-31" },
      "2026-02-28T12:00:00Z",
      "2026-03-31T06:00:00.000Z"
    ],
    [
      "on the 29th of February comes every fourth year with every: 48",
      { unit: "months", every: 48, startsOn: "2024-02-29" },
      "2024-03-01T00:00:00Z",
      "2028-02-29T07:00:00.000Z"
    ],
    [
      "is on the other side of the date line on its own day",
      { timeZone: "Pacific/Kiritimati", localTime: "00:00" },
      "2026-01-01T00:00:00Z",
      "2026-01-01T10:00:00.000Z"
    ],
    ["is on the last day too", { endsOn: "2026-01-02" }, "2026-01-01T12:00:00Z", "2026-01-02T07:00:00.000Z"],
    ["does not exist after the last day", { endsOn: "2026-01-02" }, "2026-01-02T12:00:00Z", undefined]
  ]
  for (const [title, more, after, expected] of cases) it(title, () => assert.strictEqual(next(more, after), expected))

  it("walks every occurrence once, at its local time but for a change of clocks, from any instant in between", () => {
    const seed = Math.floor(Math.random() * 2 ** 31)
    let state = seed
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return (state >>> 8) % below
    }
    const zones = [
      "Europe/Berlin",
      "America/New_York",
      "Australia/Lord_Howe",
      "Asia/Kathmandu",
      "UTC",
      "Africa/Casablanca"
    ]
    for (let round = 0; round < 200; round++) {
      const hour = random(24)
      const shape = recurrence({
        every: 1 + random(5),
        unit: (["days", "weeks", "months"] as const)[random(3)]!,
        startsOn: `20${20 + random(10)}-0${1 + random(9)}-${10 + random(20)}`.replace(/-02-(29|3\d)$/, "-02-28"),
        localTime: `${String(hour).padStart(2, "0")}:${String(random(60)).padStart(2, "0")}`,
        timeZone: zones[random(zones.length)]!
      })
      const told = `seed ${seed}, ${JSON.stringify(shape)}`
      const first = nextOccurrence(shape, at("2019-01-01T00:00:00Z"))!
      let current = first
      for (let step = 0; step < 30; step++) {
        const following = nextOccurrence(shape, current)!
        assert.isAbove(following, current, told)
        const between = current + random(Math.floor((following - current) / 1_000_000)) * 1_000_000
        assert.strictEqual(nextOccurrence(shape, between), following, told)
        assert.strictEqual(latestOccurrence(shape, first, between), current, told)
        const shown = new Date(following / 1_000).toLocaleTimeString("en-GB", { timeZone: shape.timeZone }).slice(0, 5)
        const minutes = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3))
        const moved = (minutes(shown) - minutes(shape.localTime) + 1_440) % 1_440
        assert.include([0, 30, 60], moved, `${told} ${shown}`)
        current = following
      }
    }
  })
})

describe("a recurrence", () => {
  const isDay = Schema.is(LocalDate)
  const isZone = Schema.is(TimeZone)
  it("has days that exist", () => {
    assert.deepStrictEqual(
      ["2026-02-28", "2026-02-29", "2026-13-01", "26-01-01"].map((day) => isDay(day)),
      [true, false, false, false]
    )
  })
  it("has a zone, no offset", () => {
    assert.deepStrictEqual(
      ["Europe/Berlin", "UTC", "+02:00", "Mars/Olympus"].map((zone) => isZone(zone)),
      [true, true, false, false]
    )
  })
})
