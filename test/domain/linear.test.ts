import { linear } from "@argusiq/domain/linear.ts"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"

const integer = (most: number) => Schema.Int.check(Schema.isBetween({ minimum: -most, maximum: most }))
const Decimals = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))

/** As text, so that reading it rounds once. */
const decimal = (digits: bigint | number, decimals: number): number => Number(`${digits}e-${decimals}`)

describe("value × scale + offset", () => {
  it.each([
    [2302, 0.1, 0, 230.2],
    [272, 0.1, 0, 27.2],
    [-400, 0.1, -40, -80],
    [23.5, 0.1, 0.05, 2.4],
    [0.1, 3, 0, 0.3],
    [3, 1e-7, 0, 3e-7],
    [1.1, 1.1, 0, 1.21],
    [7, 100, 0.7, 700.7]
  ])("%d × %d + %d is %d", (value, scale, offset, expected) => {
    assert.strictEqual(linear(scale, offset)(value), expected)
  })

  it.prop(
    "of decimals is the double nearest to the decimal result",
    {
      value: integer(2_000_000),
      valueDecimals: Decimals,
      scale: integer(2_000),
      scaleDecimals: Decimals,
      offset: integer(2_000),
      offsetDecimals: Decimals
    },
    (given) => {
      const { offset, offsetDecimals, scale, scaleDecimals, value, valueDecimals } = given
      const decimals = valueDecimals + scaleDecimals + offsetDecimals
      const exact =
        BigInt(value) * BigInt(scale) * 10n ** BigInt(offsetDecimals) +
        BigInt(offset) * 10n ** BigInt(valueDecimals + scaleDecimals)
      const result = linear(
        decimal(scale, scaleDecimals),
        decimal(offset, offsetDecimals)
      )(decimal(value, valueDecimals))
      assert.strictEqual(result + 0, decimal(exact, decimals) + 0)
    },
    { arbitrary: { runs: 1_000 } }
  )

  it.prop(
    "of whatever numbers is as near to it as doubles come",
    { value: Schema.Number, scale: Schema.Finite, offset: Schema.Finite },
    ({ offset, scale, value }) => {
      const result = linear(scale, offset)(value)
      const plain = value * scale + offset
      if (Number.isFinite(plain)) {
        assert.isAtMost(Math.abs(result - plain), 4 * Number.EPSILON * (Math.abs(value * scale) + Math.abs(offset)))
      } else assert.isTrue(Object.is(result, plain), `${result} instead of ${plain}`)
    },
    { arbitrary: { runs: 1_000 } }
  )

  it("keeps all digits that a large number has", () => {
    assert.strictEqual(linear(10, 0)(Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER * 10)
    assert.strictEqual(linear(1, 1)(2 ** 60), 2 ** 60)
    assert.strictEqual(linear(0.001, 0)(4_294_967_295), 4_294_967.295)
    assert.strictEqual(linear(1e300, 0)(1e300), Infinity)
  })
})
