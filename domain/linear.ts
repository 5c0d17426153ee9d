/**
 * Scaling of decimal numbers without the noise of binary arithmetic: 2302 × 0.1 is 230.2, not 230.20000000000002.
 *
 * A double stands for the shortest decimal that is read as it, as JavaScript prints it. While all integers involved are at
 * most 2⁵³ − 1 a sum of integers is exact, and one division rounds it to the double nearest to the decimal result. Beyond that
 * the operations are those of doubles, which round each time.
 * @module
 */

const POWERS = Array.from({ length: 16 }, (_, decimals) => 10 ** decimals)
const isExact = (integer: number): boolean => Math.abs(integer) <= Number.MAX_SAFE_INTEGER

/** A decimal as integer ÷ 10^decimals, at most 15 of them; undefined: doubles do not hold it so. */
export const decimalOf = (value: number): { readonly integer: number; readonly decimals: number } | undefined => {
  for (let decimals = 0; decimals < POWERS.length; decimals++) {
    const power = POWERS[decimals]!
    const integer = Math.round(value * power)
    if (!isExact(integer)) return undefined
    if (integer / power === value) return { integer, decimals }
  }
  return undefined
}

/** (value × multiplier + summand) ÷ divisor, all three integers; `plain` where these or the value have too many digits. */
export const fraction = (
  multiplier: number,
  summand: number,
  divisor: number,
  plain: (value: number) => number
): ((value: number) => number) => {
  if (!isExact(multiplier) || !isExact(summand) || !isExact(divisor)) return plain
  const shiftedBy = (power: number, integer: number): number | undefined => {
    const product = integer * multiplier
    const shift = summand * power
    const below = divisor * power
    const sum = product + shift
    return isExact(product) && isExact(shift) && isExact(sum) && isExact(below) ? sum / below : undefined
  }
  return (value) => {
    if (Number.isInteger(value)) {
      const product = value * multiplier
      const sum = product + summand
      return isExact(product) && isExact(sum) ? sum / divisor : plain(value)
    }
    const decimal = decimalOf(value)
    if (decimal === undefined) return plain(value)
    return shiftedBy(POWERS[decimal.decimals]!, decimal.integer) ?? plain(value)
  }
}

/** value × scale + offset, compiled. */
export const linear = (scale: number, offset: number): ((value: number) => number) => {
  const plain = (value: number) => value * scale + offset
  const [factor, summand] = [decimalOf(scale), decimalOf(offset)]
  if (factor === undefined || summand === undefined) return plain
  const decimals = Math.max(factor.decimals, summand.decimals)
  return fraction(
    factor.integer * POWERS[decimals - factor.decimals]!,
    summand.integer * POWERS[decimals - summand.decimals]!,
    POWERS[decimals]!,
    plain
  )
}
