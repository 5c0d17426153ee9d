/**
 * What one rule makes of one entity's readings: when a breach began, whether it has held, the alarm that it led to.
 * @module
 */
import { afterSilence, type Gap } from "../connection-status.ts"
import type { FoldInput } from "../fold.ts"
import type { Instant } from "../ids.ts"
import type { MetricValue } from "../readings.ts"
import type { Alarm } from "./alarm.ts"
import type { CompiledRule, CompiledVersion, Level } from "./compile-rule.ts"
import { nextOpen } from "./schedule.ts"

/** A reading of an entity, with the metrics that rules ask for. */
export interface RuleInput extends FoldInput {
  readonly receivedAt: Instant
  readonly metrics: Readonly<Record<string, MetricValue>>
}

/** An alarm as a fold knows it; `severityAt`: since when it has been as severe as it is. */
export interface RuleAlarm extends Omit<Alarm, "id" | "entityId"> {
  readonly severityAt: Instant
}

/** Plain JSON. Absent as a whole: nothing is under way. */
export interface RuleState {
  /** The version in force. */
  readonly version: number
  /** When the breach of the first and of the second level will have held. */
  readonly due?: Instant
  readonly due2?: Instant
  /** What breaches, since the latest reading. */
  readonly value?: MetricValue
  readonly cause?: string
  readonly alarm?: RuleAlarm
  readonly level?: Level
  /** When the last alarm was raised: cooldown counts from it. */
  readonly raisedAt?: Instant
  /** Of the latest reading, where silence counts. */
  readonly last?: Instant
  /** The first reading of each sixtieth of the time that a rate is over, the oldest first. */
  readonly window?: ReadonlyArray<readonly [Instant, number]>
  /** Latest values of what an expression reads. */
  readonly held?: Readonly<Record<string, MetricValue>>
}

export type Tell = (alarm: RuleAlarm) => void

/** What identifies an alarm within an entity. */
export const alarmKey = ({ ruleId, ruleVersion, startedAt }: RuleAlarm): string =>
  `${ruleId}:${ruleVersion}:${startedAt}`

const CELLS = 60

const placeOf = ({ versions }: CompiledRule, number: number): number =>
  versions.findIndex(({ version }) => version === number)

/** The version in force at an instant. */
export const versionAt = ({ versions }: CompiledRule, at: Instant): CompiledVersion | undefined => {
  for (let place = versions.length - 1; place >= 0; place--)
    if (versions[place]!.effectiveAt <= at) return versions[place]
  return undefined
}

/** The version that takes the place of the state's. */
const nextVersion = (rule: CompiledRule, { version }: RuleState): CompiledVersion | undefined =>
  rule.versions.find((candidate) => candidate.version > version)

/** When silence raises an alarm; undefined while it cannot. */
const silenceDue = (version: CompiledVersion, state: RuleState, gaps: ReadonlyArray<Gap>): Instant | undefined => {
  if (version.kind?._tag !== "NoData" || state.last === undefined || state.alarm !== undefined) return undefined
  const silent = afterSilence(state.last, version.kind.silenceMicros, gaps)
  return nextOpen(version.schedule, Math.max(silent, version.effectiveAt, cooledAt(version, state)))
}

const cooledAt = ({ cooldownMicros }: CompiledVersion, { raisedAt }: RuleState): Instant =>
  raisedAt === undefined ? -Infinity : raisedAt + cooldownMicros

const thresholdOf = ({ kind }: CompiledVersion, value: MetricValue | undefined, level: Level): number | undefined => {
  switch (kind?._tag) {
    case "Value":
    case "Rate":
      return typeof value === "number" ? kind.thresholdOf(value, level) : undefined
    case "NoData":
      return kind.seconds
    default:
      return undefined
  }
}

/** Makes the alarm, or makes it more severe. */
const raise = (
  rule: CompiledRule,
  version: CompiledVersion,
  state: RuleState,
  at: Instant,
  level: Level,
  tell: Tell
): RuleState => {
  const threshold = thresholdOf(version, state.value, level)
  const alarm: RuleAlarm = {
    ruleId: rule.ruleId,
    ruleVersion: version.version,
    severity: version.severityOf(level),
    severityAt: at,
    startedAt: state.alarm?.startedAt ?? at,
    ...(state.value !== undefined && { value: state.value }),
    ...(threshold !== undefined && { threshold }),
    ...(state.cause !== undefined && { causeReadingId: state.cause as Alarm["causeReadingId"] & string })
  }
  tell(alarm)
  const { due: _, due2, ...rest } = state
  return {
    ...rest,
    alarm,
    level,
    raisedAt: state.alarm === undefined ? at : state.raisedAt!,
    ...(due2 !== undefined && level < 2 && { due2 })
  }
}

/** Raises what has held before `limit`. */
const raiseDue = (
  rule: CompiledRule,
  version: CompiledVersion,
  before: RuleState,
  isDue: (at: Instant) => boolean,
  gaps: ReadonlyArray<Gap>,
  tell: Tell
): RuleState => {
  let state = before
  const due = state.alarm === undefined ? (state.due ?? silenceDue(version, state, gaps)) : undefined
  if (due !== undefined && isDue(due)) {
    state = raise(rule, version, state, due, state.due2 !== undefined && state.due2 <= due ? 2 : 1, tell)
  }
  if (state.alarm !== undefined && state.due2 !== undefined && isDue(state.due2))
    state = raise(rule, version, state, state.due2, 2, tell)
  return state
}

const ended = (alarm: RuleAlarm, endedAt: Instant, end: NonNullable<Alarm["end"]>): RuleAlarm => ({
  ...alarm,
  endedAt,
  end
})

/**
 * Time passes: what has held before `until` raises; a version that takes effect ends what the one before it said.
 * @param through the last instant at which a version may take effect
 */
export const passRule = (
  rule: CompiledRule,
  before: RuleState,
  until: Instant,
  through: Instant,
  gaps: ReadonlyArray<Gap>,
  tell: Tell
): RuleState => {
  let state = before
  while (true) {
    const next = nextVersion(rule, state)
    const limit = next === undefined ? until : Math.min(until, next.effectiveAt)
    const place = placeOf(rule, state.version)
    if (place >= 0) state = raiseDue(rule, rule.versions[place]!, state, (at) => at < limit, gaps, tell)
    if (next === undefined || next.effectiveAt > through) return state
    if (state.alarm !== undefined)
      tell(ended(state.alarm, next.effectiveAt, next.kind === undefined ? "deactivated" : "superseded"))
    state = { version: next.version, ...(state.last !== undefined && { last: state.last }) }
  }
}

/** The next instant at which something happens without a reading; undefined: nothing will. */
export const ruleDue = (rule: CompiledRule, state: RuleState, gaps: ReadonlyArray<Gap>): Instant | undefined => {
  const version = rule.versions[placeOf(rule, state.version)]
  let due = state.due2 ?? Infinity
  if (state.alarm === undefined) {
    const first = state.due ?? (version === undefined ? undefined : silenceDue(version, state, gaps))
    due = first === undefined ? Infinity : first
  }
  const next = nextVersion(rule, state)
  if (next !== undefined && (state.alarm !== undefined || state.last !== undefined))
    due = Math.min(due, next.effectiveAt)
  return due === Infinity ? undefined : due
}

const numberOf = (value: MetricValue | undefined): number | undefined =>
  typeof value === "number" ? value : typeof value === "boolean" ? Number(value) : undefined

/** What the reading says by this version: undefined where it says nothing. */
interface Said {
  readonly level: Level
  readonly holds: boolean
  readonly value?: MetricValue
  readonly window?: RuleState["window"]
  readonly held?: RuleState["held"]
}

const rateSaid = (
  kind: Extract<CompiledVersion["kind"] & {}, { readonly _tag: "Rate" }>,
  state: RuleState | undefined,
  ts: Instant,
  value: number
): Said => {
  const { overMicros } = kind
  const cell = overMicros / CELLS
  const before = state?.window ?? []
  const last = before.at(-1)
  const isFirstOfCell = last === undefined || Math.floor(ts / cell) > Math.floor(last[0] / cell)
  let window = isFirstOfCell ? [...before, [ts, value] as const] : before
  // The value held at the beginning of the time that counts.
  let place = -1
  while (place + 1 < window.length && window[place + 1]![0] <= ts - overMicros) place++
  if (place < 0) return { level: 0, holds: state?.alarm !== undefined, window }
  if (place > 0) window = window.slice(place)
  const rate = ((value - window[0]![1]) / overMicros) * 1_000_000
  return { level: kind.levelOf(rate), holds: kind.holds(rate), value: rate, window }
}

const expressionSaid = (
  kind: Extract<CompiledVersion["kind"] & {}, { readonly _tag: "Expression" }>,
  state: RuleState | undefined,
  metrics: RuleInput["metrics"]
): Said | undefined => {
  const { reads } = kind
  let held: Record<string, MetricValue>
  if (reads === undefined) held = { ...state?.held, ...metrics }
  else {
    let isAsked = false
    held = { ...state?.held }
    for (const key of reads) {
      const value = metrics[key]
      if (value === undefined) continue
      held[key] = value
      isAsked = true
    }
    if (!isAsked) return undefined
  }
  const isTrue = kind.isTrue(held)
  return { level: isTrue ? 1 : 0, holds: isTrue, held }
}

const idle: Said = { level: 0, holds: false }

const saidOf = (version: CompiledVersion, state: RuleState | undefined, input: RuleInput): Said | undefined => {
  const { kind } = version
  switch (kind?._tag) {
    case "Value": {
      const value = numberOf(input.metrics[kind.key])
      if (value === undefined) return undefined
      const level = kind.levelOf(value)
      if (level > 0) return { level, holds: true, value }
      return state?.alarm !== undefined && kind.holds(value) ? { level, holds: true, value } : idle
    }
    case "Rate": {
      const value = numberOf(input.metrics[kind.key])
      return value === undefined ? undefined : rateSaid(kind, state, input.ts, value)
    }
    case "Expression":
      return expressionSaid(kind, state, input.metrics)
    case "NoData":
      return kind.key === undefined || input.metrics[kind.key] !== undefined ? idle : undefined
    default:
      return undefined
  }
}

/** Whether a state says no more than none at all. */
const isIdle = ({ alarm, due, due2, held, last, raisedAt, window }: RuleState): boolean =>
  alarm === undefined &&
  due === undefined &&
  due2 === undefined &&
  raisedAt === undefined &&
  last === undefined &&
  window === undefined &&
  held === undefined

/** A reading, at its time. Undefined: nothing is under way. A reading that says nothing to the rule changes nothing. */
export const stepRule = (
  rule: CompiledRule,
  before: RuleState | undefined,
  input: RuleInput,
  gaps: ReadonlyArray<Gap>,
  tell: Tell
): RuleState | undefined => {
  const { ts } = input
  const version = versionAt(rule, ts)
  if (version === undefined) return before
  if (before === undefined) {
    const said = saidOf(version, undefined, input)
    if (said === undefined || (said === idle && version.kind!._tag !== "NoData")) return undefined
    return judge(rule, version, { version: version.version }, said, input, gaps, tell)
  }
  const isQuiet = before.version === version.version && before.due === undefined && before.due2 === undefined
  const state = isQuiet && version.kind?._tag !== "NoData" ? before : passRule(rule, before, ts, ts, gaps, tell)
  const said = saidOf(version, state, input)
  if (said === undefined) return state
  if (said === idle && state.alarm === undefined && state.due === undefined && version.kind!._tag !== "NoData")
    return state
  return judge(rule, version, state, said, input, gaps, tell)
}

const judge = (
  rule: CompiledRule,
  version: CompiledVersion,
  state: RuleState,
  { held, holds, level, value, window }: Said,
  { readingId, ts }: RuleInput,
  gaps: ReadonlyArray<Gap>,
  tell: Tell
): RuleState | undefined => {
  const { alarm: raised, due, due2, level: raisedLevel, raisedAt } = state
  const kept = {
    version: state.version,
    ...(raisedAt !== undefined && { raisedAt }),
    ...(version.kind?._tag === "NoData" ? { last: ts } : state.last !== undefined && { last: state.last }),
    ...(window !== undefined && { window }),
    ...(held !== undefined && { held })
  }
  if (raised !== undefined && !holds) tell(ended(raised, ts, "cleared"))
  const alarm = holds ? raised : undefined
  if (alarm === undefined && level === 0) return isIdle(kept) ? undefined : kept
  const dueOf = (at: Instant) => nextOpen(version.schedule, at)
  const next: RuleState = {
    ...kept,
    ...(value !== undefined && { value }),
    cause: readingId,
    ...(alarm === undefined
      ? { due: due ?? dueOf(Math.max(ts + version.holdMicros, cooledAt(version, state))) }
      : { alarm, level: raisedLevel! }),
    ...(level === 2 && raisedLevel !== 2 && { due2: due2 ?? dueOf(ts + version.holdMicros) })
  }
  return raiseDue(rule, version, next, (at) => at <= ts, gaps, tell)
}
