/**
 * When something was measured: a device's timestamp as an instant in epoch microseconds.
 *
 * A bare number is seconds, milliseconds, microseconds or nanoseconds by its magnitude: below 1e11, 1e14 and 1e17 the first
 * three, else nanoseconds. So every instant from 1973-03-03 to 2255 is read the same in each of these units. Fractions of a
 * microsecond are rounded in numbers and cut off in ISO 8601. Doubles hold nanoseconds only to within 256 of them: devices
 * that need more send digits in a string.
 * @module
 */
import { type Instant } from "./ids.ts"

export type TimestampFormat = "auto" | "iso8601" | "s" | "ms" | "us" | "ns"

const EARLIEST = -62_135_596_800_000_000 // the beginning of year 1
const LATEST = Number.MAX_SAFE_INTEGER // 2255-06-05

const bounded = (micros: number): Instant | undefined => (micros >= EARLIEST && micros <= LATEST ? micros : undefined)

const microsOf = (value: number, format: TimestampFormat): number => {
  switch (format) {
    case "s":
      return Math.round(value * 1e6)
    case "ms":
      return Math.round(value * 1e3)
    case "us":
      return Math.round(value)
    case "ns":
      return Math.round(value / 1e3)
    case "iso8601":
      return Number.NaN
    case "auto": {
      const magnitude = Math.abs(value)
      return microsOf(value, magnitude < 1e11 ? "s" : magnitude < 1e14 ? "ms" : magnitude < 1e17 ? "us" : "ns")
    }
  }
}

/** Days from 1970-01-01 to a day of the proleptic Gregorian calendar (Howard Hinnant's days_from_civil), for years from 0 on. */
const daysFromCivil = (year: number, month: number, day: number): number => {
  const shifted = month <= 2 ? year - 1 : year
  const era = Math.floor(shifted / 400)
  const yearOfEra = shifted - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
}

const daysInMonth = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
const isLeap = (year: number): boolean => year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)

const iso =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:[Zz]|([+-])(\d\d):?(\d\d)?)?)?$/

/**
 * ISO 8601 in calendar form: a date, or a date and time (after `T` or a space) with up to nine fractional digits. Without an
 * offset it is UTC; a second 60 is the first of the next minute. Undefined when it is anything else.
 */
export const parseIso = (text: string): Instant | undefined => {
  if (text.length > 40) return undefined
  const match = iso.exec(text)
  if (match === null) return undefined
  const year = Number(match[1])
  const month = Number(match[2])
  const day = Number(match[3])
  const hour = Number(match[4] ?? 0)
  const minute = Number(match[5] ?? 0)
  const second = Number(match[6] ?? 0)
  const offsetHours = Number(match[9] ?? 0)
  const offsetMinutes = Number(match[10] ?? 0)
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60) return undefined
  if (offsetHours > 23 || offsetMinutes > 59) return undefined
  if (day > daysInMonth[month - 1]! + (month === 2 && isLeap(year) ? 1 : 0)) return undefined
  const offset = (match[8] === "-" ? -1 : 1) * (offsetHours * 60 + offsetMinutes)
  const seconds = daysFromCivil(year, month, day) * 86_400 + hour * 3600 + (minute - offset) * 60 + second
  const fraction = match[7] === undefined ? 0 : Number(match[7].slice(0, 6).padEnd(6, "0"))
  return bounded(seconds * 1e6 + fraction)
}

const decimal = /^[+-]?\d{1,20}(?:\.\d{0,20})?$/
const nanosecondDigits = /^\d{18,19}$/

/** The instant of a timestamp as sent, undefined when it cannot be read or lies outside of the years 1 to 2255. */
export const parseTimestamp = (value: unknown, format: TimestampFormat): Instant | undefined => {
  if (typeof value === "number") return bounded(microsOf(value, format))
  if (typeof value !== "string" || value.length > 64) return undefined
  const text = value.trim()
  if (!decimal.test(text)) return format === "auto" || format === "iso8601" ? parseIso(text) : undefined
  if ((format === "ns" || format === "auto") && nanosecondDigits.test(text)) {
    return bounded(Number((BigInt(text) + 500n) / 1000n))
  }
  return bounded(microsOf(Number(text), format))
}
