/**
 * Conversion between units of the same quantity. Codes are UCUM's (case-sensitive), with the signs that people write for
 * temperatures as aliases. Exact by definition of the units; a decimal gives the double nearest to the exact result.
 * @module
 */
import { Result } from "effect"
import { fraction } from "./linear.ts"

/** In the quantity's base unit a value is (value − shift) × numerator / denominator. */
interface Unit {
  readonly quantity: string
  readonly numerator: number
  readonly denominator: number
  readonly shift: number
}

const units = new Map<string, Unit>()
const define = (
  quantity: string,
  table: Readonly<Record<string, number | readonly [numerator: number, denominator: number, shift?: number]>>
): void => {
  for (const [code, scale] of Object.entries(table)) {
    const [numerator, denominator, shift = 0] = typeof scale === "number" ? [scale, 1] : scale
    units.set(code, { quantity, numerator, denominator, shift })
  }
}

define("temperature", {
  Cel: 1,
  "°C": 1,
  K: [1, 1, 273.15],
  "[degF]": [5, 9, 32],
  "°F": [5, 9, 32]
})
const psi = [44_482_216_152_605, 6_451_600_000] as const // pound-force per square inch
define("pressure", { Pa: 1, hPa: 100, kPa: 1e3, MPa: 1e6, mbar: 100, bar: 1e5, atm: 101_325, "[psi]": psi })
define("length", {
  m: 1,
  um: [1, 1_000_000],
  mm: [1, 1000],
  cm: [1, 100],
  km: 1000,
  "[in_i]": [254, 10_000],
  "[ft_i]": [3048, 10_000],
  "[yd_i]": [9144, 10_000],
  "[mi_i]": [1_609_344, 1000]
})
define("mass", {
  g: 1,
  mg: [1, 1000],
  kg: 1000,
  t: 1e6,
  "[lb_av]": [45_359_237, 100_000],
  "[oz_av]": [45_359_237, 1_600_000]
})
define("time", { s: 1, ms: [1, 1000], us: [1, 1_000_000], min: 60, h: 3600, d: 86_400 })
define("speed", {
  "m/s": 1,
  "cm/s": [1, 100],
  "km/h": [10, 36],
  "[mi_i]/h": [1_609_344, 3_600_000],
  "[kn_i]": [1852, 3600],
  "[ft_i]/min": [3048, 600_000]
})
define("power", { W: 1, mW: [1, 1000], kW: 1e3, MW: 1e6, "[HP]": [745_699_871_582_270_2, 1e13] })
define("energy", { J: 1, kJ: 1e3, MJ: 1e6, "W.h": 3600, "kW.h": 3.6e6, "MW.h": 3.6e9 })
define("voltage", { V: 1, mV: [1, 1000], kV: 1000 })
define("current", { A: 1, mA: [1, 1000], uA: [1, 1_000_000], kA: 1000 })
define("frequency", { Hz: 1, kHz: 1e3, MHz: 1e6, GHz: 1e9, "/min": [1, 60] })
define("volume", {
  m3: 1,
  L: [1, 1000],
  mL: [1, 1_000_000],
  "[gal_us]": [3_785_411_784, 1e12],
  "[ft_i]3": [28_316_846_592, 1e12]
})
define("flow", {
  "m3/s": 1,
  "m3/h": [1, 3600],
  "L/s": [1, 1000],
  "L/min": [1, 60_000],
  "L/h": [1, 3_600_000],
  "[gal_us]/min": [3_785_411_784, 6e13],
  "[ft_i]3/min": [28_316_846_592, 6e13]
})
define("fraction", { "1": 1, "%": [1, 100], "[ppth]": [1, 1000], "[ppm]": [1, 1e6], "[ppb]": [1, 1e9] })

const commonDivisor = (one: number, other: number): number => (other === 0 ? one : commonDivisor(other, one % other))

/** By what they have in common; as they are where they are too large to tell. */
const reduced = (multiplier: number, summand: number, divisor: number): readonly [number, number, number] => {
  const by = commonDivisor(commonDivisor(multiplier, divisor), Math.abs(summand))
  const all = [multiplier, summand, divisor] as const
  return all.every(Number.isSafeInteger) ? [multiplier / by, summand / by, divisor / by] : all
}

/** A function from values in `from` to values in `to`, or why there is none. */
export const unitConversion = (from: string, to: string): Result.Result<(value: number) => number, string> => {
  const source = units.get(from)
  const target = units.get(to)
  if (source === undefined || target === undefined) {
    const unknown = source === undefined ? from : to
    return Result.fail(`The unit "${unknown}" is not known. Known: ${[...units.keys()].join(", ")}.`)
  }
  if (source.quantity !== target.quantity) {
    return Result.fail(`"${from}" measures ${source.quantity}, "${to}" measures ${target.quantity}.`)
  }
  const multiplier = source.numerator * target.denominator
  const divisor = source.denominator * target.numerator
  const plain = (value: number) => ((value - source.shift) * multiplier) / divisor + target.shift
  const parts = source.shift === 0 && target.shift === 0 ? 1 : 100 // shifts have two decimals at most
  const summand = Math.round(target.shift * parts) * divisor - Math.round(source.shift * parts) * multiplier
  return Result.succeed(fraction(...reduced(multiplier * parts, summand, divisor * parts), plain))
}
