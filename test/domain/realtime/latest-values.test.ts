import { LatestValues, MAX_VALUE_LENGTH, type Told, TOLD_EVERY_MILLIS } from "@argusiq/domain/realtime/latest-values.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"

/** 2026-01-01 in microseconds. */
const START = 1_767_225_600_000_000
const isoOf = (ts: number) => new Date(ts / 1_000).toISOString()

/** Readings of three metrics in any order, each offered a moment after the one before. */
const Arrivals = Schema.Array(
  Schema.Struct({
    key: Schema.Literals(["heat", "door", "volts"]),
    second: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 })),
    value: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 })),
    afterMillis: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 400 }))
  })
)

/** As the service does it: looked at with each arrival and every 50 ms. */
const run = (arrivals: typeof Arrivals.Type) => {
  const values = new LatestValues()
  const told: Array<{ readonly at: number; readonly told: Told }> = []
  let now = 0
  const look = () => {
    const one = values.take(now)
    if (one !== undefined) told.push({ at: now, told: one })
  }
  const pass = (millis: number) => {
    for (const end = now + millis; now < end;) {
      now = Math.min(end, now + 50)
      look()
    }
  }
  for (const { afterMillis, key, second, value } of arrivals) {
    pass(afterMillis)
    values.offer({ ts: START + second * 1_000_000, metrics: { [key]: value } })
    look()
  }
  pass(TOLD_EVERY_MILLIS + 50)
  assert.isUndefined(values.dueAt, "something is left")
  return told
}

describe("the latest values of an entity", () => {
  it.effect.prop(
    "are told four times a second at most, never back in time, and come to the newest of each metric",
    { arrivals: Arrivals },
    ({ arrivals }) =>
      Effect.sync(() => {
        const told = run(arrivals)
        const seed = JSON.stringify(arrivals)
        for (const { at } of told) {
          const within = told.filter((other) => other.at >= at && other.at < at + 1_000)
          assert.isAtMost(within.length, 4, seed)
        }
        const known = new Map<string, { readonly value: unknown; readonly timestamp: string }>()
        for (const { latest } of told.map((one) => one.told)) {
          for (const [key, value] of Object.entries(latest.metrics)) {
            const timestamp = latest.timestamps?.[key] ?? latest.timestamp
            assert.isTrue(timestamp >= (known.get(key)?.timestamp ?? ""), seed)
            assert.isTrue(timestamp <= latest.timestamp, seed)
            known.set(key, { value, timestamp })
          }
        }
        const expected = new Map<string, { readonly value: unknown; readonly timestamp: string }>()
        for (const { key, second, value } of arrivals) {
          const timestamp = isoOf(START + second * 1_000_000)
          if (timestamp >= (expected.get(key)?.timestamp ?? "")) expected.set(key, { value, timestamp })
        }
        assert.deepStrictEqual(new Map([...known].toSorted()), new Map([...expected].toSorted()), seed)
      }),
    { arbitrary: { runs: 300 } }
  )

  it("are told at once after a pause, and then together", () => {
    const values = new LatestValues()
    values.offer({ ts: START, metrics: { a: 1 } })
    assert.deepStrictEqual(values.take(0)?.latest, { metrics: { a: 1 }, timestamp: isoOf(START) })
    values.offer({ ts: START + 1_000_000, metrics: { a: 2 } })
    values.offer({ ts: START + 2_000_000, metrics: { b: "x" }, quality: { b: "bad" } })
    assert.isUndefined(values.take(TOLD_EVERY_MILLIS - 1))
    assert.strictEqual(values.dueAt, TOLD_EVERY_MILLIS)
    assert.deepStrictEqual(values.take(TOLD_EVERY_MILLIS)?.latest, {
      metrics: { a: 2, b: "x" },
      timestamp: isoOf(START + 2_000_000),
      timestamps: { a: isoOf(START + 1_000_000) },
      quality: { b: "bad" }
    })
  })

  it("name what is too large to be told", () => {
    const values = new LatestValues()
    const long = "x".repeat(MAX_VALUE_LENGTH + 1)
    values.offer({ ts: START, metrics: { a: 1, long, list: [long], fits: "x".repeat(MAX_VALUE_LENGTH) } })
    const told = values.take(0)?.latest
    assert.deepStrictEqual(told?.omitted, ["long", "list"])
    assert.deepStrictEqual(Object.keys(told?.metrics ?? {}), ["a", "fits"])
  })

  it("tell a score when it is another than before, and from what is known at the beginning", () => {
    const values = new LatestValues(80)
    const at = (second: number) => START + second * 1_000_000
    const changeAfter = (second: number, score: number) => {
      values.offer({ ts: at(second), metrics: { a: second }, score })
      return values.take(second * 1_000)?.scoreChange
    }
    assert.isUndefined(changeAfter(1, 80))
    assert.deepStrictEqual(changeAfter(2, 75), { previous: 80, at: isoOf(at(2)) })
    assert.isUndefined(changeAfter(3, 75))
    assert.deepStrictEqual(changeAfter(4, 90), { previous: 75, at: isoOf(at(4)) })
    assert.deepStrictEqual(new LatestValues().take(0), undefined)
  })

  it("count what comes next, whatever its time, when what was told is taken back", () => {
    const values = new LatestValues()
    values.offer({ ts: START + 1, metrics: { a: 1 } })
    assert.isFalse(values.retract(START + 1), "it was not told yet")
    assert.isUndefined(values.take(0))
    values.offer({ ts: START + 2, metrics: { a: 2 } })
    values.take(0)
    assert.isFalse(values.retract(START + 1), "another instant")
    assert.isTrue(values.retract(START + 2))
    values.offer({ ts: START, metrics: { a: 0 } })
    assert.deepStrictEqual(values.take(1_000)?.latest.metrics, { a: 0 })
  })
})
