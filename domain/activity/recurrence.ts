/**
 * Maintenance that comes again: every so many days, weeks or months at a local time. Occurrences are counted from the first
 * one, so that a month too short for its day moves none of the later ones.
 * @module
 */
import { DateTime, Schema } from "effect"
import { type Instant } from "../ids.ts"

const datePattern = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/
const isDate = (text: string): boolean => {
  if (!datePattern.test(text)) return false
  const date = new Date(`${text}T00:00:00Z`)
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text)
}

/** A day of the calendar, `YYYY-MM-DD`. */
export const LocalDate = Schema.String.check(
  Schema.makeFilter((text: string) => isDate(text) || "must be a day such as 2026-01-31")
)
/** `HH:MM`, 24 hours. */
export const LocalTime = Schema.String.check(
  Schema.isPattern(/^([01]\d|2[0-3]):[0-5]\d$/, { message: "must be a time such as 08:30" })
)
/** Of the IANA time zone database. */
export const TimeZone = Schema.String.check(
  Schema.makeFilter((name: string) => zoneOf(name) !== undefined || "must be an IANA time zone such as Europe/Berlin")
)

export const Recurrence = Schema.Struct({
  every: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 })),
  unit: Schema.Literals(["days", "weeks", "months"]),
  startsOn: LocalDate,
  endsOn: Schema.NullOr(LocalDate), // the last day that may have an occurrence
  localTime: LocalTime,
  timeZone: TimeZone
})
export type Recurrence = typeof Recurrence.Type

const zones = new Map<string, DateTime.TimeZone.Named | undefined>()
const zoneOf = (name: string): DateTime.TimeZone.Named | undefined => {
  if (!zones.has(name)) {
    if (zones.size > 1_000) zones.clear()
    // Offsets are no zones: they know no daylight-saving time.
    const zone = /^[A-Za-z]/.test(name) ? DateTime.zoneFromString(name) : undefined
    zones.set(name, zone?._tag === "Some" && zone.value._tag === "Named" ? zone.value : undefined)
  }
  return zones.get(name)
}

const DAY = 86_400_000
const dayOf = (date: string): number => Date.parse(`${date}T00:00:00Z`) / DAY

/** The day, counted from 1970-01-01, of an occurrence; the first is 0. */
const occurrenceDay = ({ every, startsOn, unit }: Recurrence, index: number): number => {
  if (unit === "days") return dayOf(startsOn) + index * every
  if (unit === "weeks") return dayOf(startsOn) + index * every * 7
  const [year, month, day] = startsOn.split("-").map(Number) as [number, number, number]
  const months = month - 1 + index * every
  const last = new Date(Date.UTC(year, months + 1, 0)).getUTCDate()
  return Date.UTC(year, months, Math.min(day, last)) / DAY
}

/**
 * When an occurrence is, in epoch microseconds. A local time that a change of clocks leaves out counts as if the clock had not been
 * changed (02:30 becomes 03:30); of one that comes twice the first counts.
 */
const instantOf = (recurrence: Recurrence, day: number): Instant => {
  const date = new Date(day * DAY)
  const [hour, minute] = recurrence.localTime.split(":").map(Number) as [number, number]
  const parts = {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour,
    minute,
    second: 0,
    millisecond: 0
  }
  const timeZone = zoneOf(recurrence.timeZone)
  if (timeZone === undefined) throw new RangeError(`Not a time zone: ${recurrence.timeZone}`)
  const zoned = DateTime.makeZonedUnsafe(parts, { timeZone, adjustForTimeZone: true, disambiguation: "compatible" })
  return DateTime.toEpochMillis(zoned) * 1_000
}

/** Longest and shortest of a unit, in days: between them lies the number of occurrences up to an instant. */
const lengths = { days: 1, weeks: 7, months: 31 } as const

/** The first occurrence after an instant; undefined when there is none any more. */
export const nextOccurrence = (recurrence: Recurrence, after: Instant): Instant | undefined => {
  const { endsOn, every, startsOn, unit } = recurrence
  const daysSince = Math.floor(after / 1_000 / DAY) - dayOf(startsOn)
  // Never behind the one that is sought: two days are more than what time zones differ by.
  let index = Math.max(0, Math.floor((daysSince - 2) / (lengths[unit] * every)))
  for (; ; index++) {
    const day = occurrenceDay(recurrence, index)
    if (endsOn !== null && day > dayOf(endsOn)) return undefined
    const instant = instantOf(recurrence, day)
    if (instant > after) return instant
  }
}

/** The last occurrence up to and including an instant, beginning with the one at `from`. */
export const latestOccurrence = (recurrence: Recurrence, from: Instant, until: Instant): Instant => {
  let latest = from
  const step = lengths[recurrence.unit] * recurrence.every * DAY * 1_000
  // Skips most of a long outage at once, with room for what a change of clocks moves.
  const near = until - 2 * step - 2 * DAY * 1_000
  if (near > latest) latest = nextOccurrence(recurrence, near) ?? latest
  for (let next = nextOccurrence(recurrence, latest); next !== undefined && next <= until;) {
    latest = next
    next = nextOccurrence(recurrence, latest)
  }
  return latest
}
