import { parseIso, parseTimestamp } from "@argusiq/domain/timestamp.ts"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"

const instant = (from: string, to: string) =>
  Schema.Int.check(Schema.isBetween({ minimum: Date.parse(from) * 1000, maximum: Date.parse(to) * 1000 }))
/** From the first second with ten digits to the last year that an instant reaches. */
const Micros = instant("2001-09-09T01:46:40Z", "2255-01-01T00:00:00Z")

const whole = (micros: number, unit: number) => Math.floor(micros / unit) * unit

describe("the same instant in s, ms, µs and ns", () => {
  for (const format of ["auto", "explicit"] as const) {
    const read = (value: unknown, unit: "s" | "ms" | "us" | "ns") =>
      parseTimestamp(value, format === "auto" ? "auto" : unit)
    it.prop(
      `is read the same, with format ${format}`,
      { micros: Micros },
      ({ micros }) => {
        assert.strictEqual(read(Math.floor(micros / 1e6), "s"), whole(micros, 1e6))
        assert.strictEqual(read(Math.floor(micros / 1e3), "ms"), whole(micros, 1e3))
        assert.strictEqual(read(micros, "us"), micros)
        assert.strictEqual(read(String(BigInt(micros) * 1000n), "ns"), micros)
        assert.closeTo(read(micros * 1000, "ns")!, micros, 1) // what a double holds of it
        assert.strictEqual(read(` ${micros}`, "us"), micros)
        assert.closeTo(read(micros / 1e6, "s")!, micros, 1)
        assert.closeTo(read(micros / 1e3, "ms")!, micros, 1)
      },
      { arbitrary: { runs: 1_000 } }
    )
  }

  it("is told apart at 1e11, 1e14 and 1e17, on both sides of 1970", () => {
    assert.strictEqual(parseTimestamp(1e11 - 1, "auto"), undefined) // seconds beyond 2255
    assert.strictEqual(parseTimestamp(1e11, "auto"), Date.parse("1973-03-03T09:46:40Z") * 1000)
    assert.strictEqual(parseTimestamp(1e14, "auto"), Date.parse("1973-03-03T09:46:40Z") * 1000)
    assert.strictEqual(parseTimestamp(1e17, "auto"), Date.parse("1973-03-03T09:46:40Z") * 1000)
    assert.strictEqual(parseTimestamp(1e14 - 1, "auto"), undefined) // milliseconds beyond 2255
    assert.strictEqual(parseTimestamp(1e17 - 16, "auto"), undefined) // microseconds beyond 2255
    assert.strictEqual(parseTimestamp(-1e11, "auto"), -1e14)
    assert.strictEqual(parseTimestamp(0, "auto"), 0)
  })
})

const two = (value: number) => String(value).padStart(2, "0")

describe("ISO 8601", () => {
  const Millis = Schema.Int.check(
    Schema.isBetween({ minimum: Date.parse("0001-01-01T00:00:00Z"), maximum: Date.parse("2255-01-01T00:00:00Z") })
  )
  it.prop(
    "is read as Date reads it, from year 1 on",
    { millis: Millis },
    ({ millis }) => {
      assert.strictEqual(parseIso(new Date(millis).toISOString()), millis * 1000)
    },
    { arbitrary: { runs: 1_000 } }
  )

  const Offset = Schema.Int.check(Schema.isBetween({ minimum: -1439, maximum: 1439 }))
  it.prop("with an offset is the instant it names", { micros: Micros, offset: Offset }, ({ micros, offset }) => {
    const local = new Date(Math.floor(micros / 1000) + offset * 60_000).toISOString().slice(0, 19)
    const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`
    const fraction = String(micros % 1_000_000).padStart(6, "0")
    assert.strictEqual(parseIso(`${local}.${fraction}789${zone}`), micros)
    assert.strictEqual(parseIso(`${local},${fraction}${zone.replace(":", "")}`), micros)
  })

  const utc = Date.parse("2026-01-29T10:00:00Z") * 1000
  it.each([
    ["2026-01-29T10:00:00", utc],
    ["2026-01-29 10:00:00z", utc],
    ["2026-01-29T10:00", utc],
    ["2026-01-29T12+02", undefined],
    ["2026-01-29T12:00+02", utc],
    ["2026-01-29", utc - 36_000_000_000],
    ["2024-02-29T00:00:00Z", Date.parse("2024-02-29T00:00:00Z") * 1000],
    ["2016-12-31T23:59:60Z", Date.parse("2017-01-01T00:00:00Z") * 1000],
    ["2025-02-29T00:00:00Z", undefined],
    ["1900-02-29T00:00:00Z", undefined],
    ["2026-13-01T00:00:00Z", undefined],
    ["2026-00-01T00:00:00Z", undefined],
    ["2026-01-00T00:00:00Z", undefined],
    ["2026-01-29T24:00:00Z", undefined],
    ["2026-01-29T10:60:00Z", undefined],
    ["2026-01-29T10:00:00+24:00", undefined],
    ["2026-01-29T10:00:00.1234567890Z", undefined],
    ["0000-01-01T00:00:00Z", undefined],
    ["2255-12-31T00:00:00Z", undefined],
    ["yesterday", undefined],
    ["", undefined]
  ])("%s", (text, expected) => {
    assert.strictEqual(parseIso(text), expected)
  })
})

it("a format takes only its own form", () => {
  assert.isUndefined(parseTimestamp(1_700_000_000, "iso8601"))
  assert.isUndefined(parseTimestamp("1700000000", "iso8601"))
  assert.isUndefined(parseTimestamp("2026-01-29T10:00:00Z", "ms"))
  assert.strictEqual(parseTimestamp("2026-01-29T10:00:00Z", "iso8601"), Date.parse("2026-01-29T10:00:00Z") * 1000)
})

it("what is no timestamp cannot be read", () => {
  for (const value of [
    Number.NaN,
    Infinity,
    1e300,
    -1e300,
    true,
    {},
    [],
    [1],
    "1e999",
    "0x10",
    "9".repeat(70),
    "NaN",
    " "
  ]) {
    assert.isUndefined(parseTimestamp(value, "auto"), String(value))
  }
})
