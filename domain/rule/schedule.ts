/**
 * When a rule may raise an alarm: days and hours in a time zone, summer time included.
 * @module
 */
import type { Instant } from "../ids.ts"
import type { RuleSchedule } from "./rule.ts"

const MINUTE = 60_000_000
const DAY = 1_440 * MINUTE
/** Time zones change their offsets at quarters of an hour of UTC, since 1972. */
const QUARTER = 15 * MINUTE
const MAX_CACHED = 10_000

interface Zone {
  readonly format: Intl.DateTimeFormat
  /** Local time minus UTC in microseconds, by quarter of an hour. */
  readonly offsets: Map<number, number>
}

const zones = new Map<string, Zone>()

const formatOf = (timeZone: string) =>
  new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric"
  })

/** Whether this process knows the time zone. */
export const isTimeZone = (timeZone: string): boolean => {
  if (zones.has(timeZone)) return true
  try {
    zones.set(timeZone, { format: formatOf(timeZone), offsets: new Map() })
    return true
  } catch {
    return false
  }
}

/** One that is not known counts as UTC: it was known when the rule was saved. */
const zoneOf = (timeZone: string): Zone => zones.get(isTimeZone(timeZone) ? timeZone : "UTC") ?? zoneOf("UTC")

const offsetAt = ({ format, offsets }: Zone, at: Instant): number => {
  const quarter = Math.floor(at / QUARTER)
  const known = offsets.get(quarter)
  if (known !== undefined) return known
  const millis = (quarter * QUARTER) / 1_000
  const part: Record<string, number> = {}
  for (const { type, value } of format.formatToParts(millis)) part[type] = Number(value)
  const local = Date.UTC(part["year"]!, part["month"]! - 1, part["day"], part["hour"], part["minute"], part["second"])
  const offset = (local - millis) * 1_000
  if (offsets.size >= MAX_CACHED) offsets.clear()
  offsets.set(quarter, offset)
  return offset
}

/** The instant of a local time; one that a change of the clock skips counts by the clock before it, one twice the first time. */
const instantOf = (zone: Zone, local: number): Instant => {
  const first = local - offsetAt(zone, local - DAY)
  const last = local - offsetAt(zone, local + DAY)
  if (first + offsetAt(zone, first) === local) return first
  return last + offsetAt(zone, last) === local ? last : first
}

const minutesOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3))

/** 1 Monday … 7 Sunday; day 0 is 1 January 1970, a Thursday. */
const weekdayOf = (day: number): number => ((((day + 3) % 7) + 7) % 7) + 1

/** The first instant from `at` on at which the schedule is open. */
export const nextOpen = (schedule: RuleSchedule | undefined, at: Instant): Instant => {
  if (schedule === undefined) return at
  const zone = zoneOf(schedule.timeZone)
  const from = minutesOf(schedule.from)
  const to = minutesOf(schedule.to)
  const today = Math.floor((at + offsetAt(zone, at)) / DAY)
  for (let day = today - 1; day <= today + 8; day++) {
    if (!schedule.days.includes(weekdayOf(day))) continue
    const end = instantOf(zone, (to <= from ? day + 1 : day) * DAY + to * MINUTE)
    if (at >= end) continue
    const start = instantOf(zone, day * DAY + from * MINUTE)
    if (start < end) return Math.max(at, start)
  }
  return at
}
