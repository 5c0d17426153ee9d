/**
 * Whether a value can be true: its range, and how fast it changes. What cannot be is recorded with quality bad and takes no
 * part in anything.
 * @module
 */
import type { Instant } from "../ids.ts"
import type { MetricValue } from "../readings.ts"
import type { AssetTypeConfig } from "./asset-type.ts"
import { numberOf } from "./health/algorithm.ts"

export type ValidationRule = AssetTypeConfig["validationRules"][string]

/**
 * Why a value is bad, undefined when it is not. Only numbers and booleans are judged.
 * @param before the source's last good value
 */
export const invalidity = (
  { max, maxRatePerSecond, min }: ValidationRule,
  value: MetricValue,
  ts: Instant,
  before: { readonly ts: Instant; readonly value: MetricValue } | undefined
): string | undefined => {
  const number = numberOf(value)
  if (number === undefined) return undefined
  if (min !== undefined && number < min) return `${number} is below ${min}`
  if (max !== undefined && number > max) return `${number} is above ${max}`
  const last = numberOf(before?.value)
  if (maxRatePerSecond === undefined || before === undefined || last === undefined) return undefined
  const change = Math.abs(number - last)
  const seconds = (ts - before.ts) / 1e6
  if (change <= maxRatePerSecond * seconds || change === 0) return undefined
  return `${last} to ${number} within ${seconds} s is faster than ${maxRatePerSecond} per second`
}
