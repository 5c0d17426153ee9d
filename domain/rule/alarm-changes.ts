/**
 * What has to be stored and told when a fold says something else than before: the alarms' rows and the events. The same again
 * gives the same rows and the same events.
 * @module
 */
import { Equal } from "effect"
import type { Advanced } from "../fold-state.ts"
import type { Instant, TenantId } from "../ids.ts"
import { type Severity, Severity as Severities } from "../system-event.ts"
import { uuidV5 } from "../uuid.ts"
import type { RuleConfig } from "./rule.ts"
import type { RuleAlarm, RuleInput } from "./rule-fold.ts"

/** An alarm that is not over and done with: open, or what is said of it may still be corrected. */
export interface LiveAlarm {
  readonly id: string
  readonly alarm: RuleAlarm
  /** No reading that is taken can change what is said of it. */
  readonly settled: boolean
  /** The severity of the latest event that told of its raising. */
  readonly announced?: Severity
  /** Where it began when it was told first: its id comes of that. */
  readonly firstStartedAt: Instant
}
/** By {@link alarmKey}. */
export type LiveAlarms = ReadonlyMap<string, LiveAlarm>

/** What was said of an entity's alarms so far. */
export interface SaidAlarms {
  readonly live: LiveAlarms
  /**
   * Ids of alarms that are over and done with, or were taken back, and that began at first where another may still begin: with
   * that instant. The other needs an id of its own.
   */
  readonly spent: ReadonlyMap<string, Instant>
}
export const noAlarms: SaidAlarms = { live: new Map(), spent: new Map() }

export interface AlarmEntity {
  readonly tenantId: TenantId
  readonly entityType: "asset" | "device"
  readonly entityId: string
}

export interface AlarmRow extends LiveAlarm, AlarmEntity {
  readonly retracted: boolean
}

export interface AlarmEvent extends AlarmEntity {
  readonly id: string
  readonly eventType: "THRESHOLD_BREACH" | "THRESHOLD_CLEARED" | "THRESHOLD_RETRACTED"
  readonly occurredAt: Instant
  readonly alarmId: string
  readonly alarm: RuleAlarm
}

export interface AlarmChanges extends SaidAlarms {
  readonly rows: ReadonlyArray<AlarmRow>
  readonly events: ReadonlyArray<AlarmEvent>
}

const rankOf = (severity: Severity): number => Severities.literals.indexOf(severity)

/** The id of an alarm that is told for the first time: its own, unless one that was first told to begin there has that. */
export const alarmIdOf = (
  { ruleId, ruleVersion, startedAt }: RuleAlarm,
  entityId: string,
  isTaken: (id: string) => boolean
): string => {
  let id = uuidV5(ruleId, `${ruleVersion}:${entityId}:${startedAt}`)
  while (isTaken(id)) id = uuidV5(id, "another")
  return id
}

const hasId = (alarms: LiveAlarms, id: string): boolean => alarms.values().some((one) => one.id === id)

const nothing: ReadonlyArray<never> = []

/** Since when an alarm has been as severe as it is does not make it another. */
const isSame = (left: RuleAlarm, right: RuleAlarm): boolean =>
  left === right || Equal.equals({ ...left, severityAt: 0 }, { ...right, severityAt: 0 })

/** What a fold says now, and how far its base has come. */
type Told = Pick<Advanced<unknown, RuleInput, RuleAlarm>, "changed" | "retracted" | "settled"> & {
  readonly state: { readonly baseTime: Instant }
}

/**
 * @param configOf what the version of the rule says that made an alarm; undefined when it is not known any more
 */
export const alarmChanges = (
  entity: AlarmEntity,
  { live, spent }: SaidAlarms,
  { changed, retracted, settled, state: { baseTime } }: Told,
  configOf: (alarm: RuleAlarm) => RuleConfig | undefined
): AlarmChanges => {
  if (changed.size === 0 && retracted.length === 0 && settled.size === 0)
    return { live, spent, rows: nothing, events: nothing }
  const after = new Map(live)
  const rows = new Map<string, AlarmRow>()
  const events: Array<AlarmEvent> = []
  const tell = (
    { alarm, id: alarmId }: LiveAlarm,
    eventType: AlarmEvent["eventType"],
    occurredAt: Instant,
    severity: Severity = alarm.severity
  ) => {
    const id = uuidV5(alarmId, `${eventType}:${occurredAt}:${severity}`)
    events.push({ ...entity, id, eventType, occurredAt, alarmId, alarm })
  }
  const put = (key: string, one: LiveAlarm, before: LiveAlarm | undefined) => {
    let next = one
    const { alarm, announced, settled: isSettled } = next
    const waits = !isSettled && configOf(alarm)?.notifyWhenSettled === true
    if (!waits && (announced === undefined || rankOf(alarm.severity) > rankOf(announced))) {
      tell(next, "THRESHOLD_BREACH", alarm.severityAt)
      next = { ...next, announced: alarm.severity }
    }
    if (alarm.endedAt !== undefined && before?.alarm.endedAt === undefined && next.announced !== undefined)
      tell(next, "THRESHOLD_CLEARED", alarm.endedAt)
    rows.set(next.id, { ...entity, ...next, retracted: false })
    if (next.settled && alarm.endedAt !== undefined) forget(key, next)
    else after.set(key, next)
  }

  const allSpent = new Map(spent)
  const spend = ({ firstStartedAt, id }: LiveAlarm) => void allSpent.set(id, firstStartedAt)
  const forget = (key: string, one: LiveAlarm) => {
    after.delete(key)
    spend(one)
  }
  const gone = new Map<string, LiveAlarm>()
  const isTaken = (id: string) => hasId(after, id) || hasId(gone, id) || allSpent.has(id)
  const begun = (alarm: RuleAlarm) => ({
    id: alarmIdOf(alarm, entity.entityId, isTaken),
    firstStartedAt: alarm.startedAt
  })

  for (const key of retracted) {
    const one = after.get(key)
    if (one === undefined) continue
    gone.set(key, one)
    after.delete(key)
  }
  for (const [key, alarm] of changed) {
    const known = after.get(key)
    if (known !== undefined && isSame(known.alarm, alarm)) continue
    const moved = known === undefined ? takeNearest(gone, alarm) : undefined
    const before = known ?? moved
    put(key, { ...(before ?? begun(alarm)), alarm, settled: false }, before)
  }
  for (const [key, alarm] of settled) {
    const known = after.get(key)
    if (known?.settled === true && isSame(known.alarm, alarm)) {
      if (alarm.endedAt !== undefined) forget(key, known)
      continue
    }
    // The base tells of an alarm's beginning; its end, known already, may still be corrected.
    if (known !== undefined && !isSame(known.alarm, alarm)) {
      if (configOf(alarm)?.notifyWhenSettled === true && known.announced === undefined)
        announceSettled(key, known, alarm)
      continue
    }
    put(key, { ...(known ?? begun(alarm)), alarm, settled: true }, known)
  }
  for (const one of gone.values()) {
    spend(one)
    rows.set(one.id, { ...entity, ...one, settled: true, retracted: true })
    if (one.announced !== undefined) tell(one, "THRESHOLD_RETRACTED", one.alarm.startedAt, one.announced)
  }
  const stillSpent = new Map(allSpent.entries().filter(([, at]) => at > baseTime))
  return { live: after, spent: stillSpent, rows: [...rows.values()], events }

  /** The beginning is settled, what was said since is not. */
  function announceSettled(key: string, known: LiveAlarm, beginning: RuleAlarm) {
    tell({ ...known, alarm: beginning }, "THRESHOLD_BREACH", beginning.severityAt)
    const next = { ...known, announced: beginning.severity }
    if (next.alarm.endedAt !== undefined) tell(next, "THRESHOLD_CLEARED", next.alarm.endedAt)
    after.set(key, next)
    rows.set(next.id, { ...entity, ...next, retracted: false })
  }
}

const isBeyond = ({ endedAt = Infinity }: RuleAlarm, { startedAt }: RuleAlarm): boolean => endedAt >= startedAt

/**
 * An alarm whose start was corrected is the same alarm: of those that are gone the one of the same rule that began nearest, where
 * they have a time in common.
 */
const takeNearest = (gone: Map<string, LiveAlarm>, corrected: RuleAlarm) => {
  const { ruleId, ruleVersion, startedAt } = corrected
  let nearest: string | undefined
  let distance = Infinity
  for (const [key, { alarm }] of gone) {
    const away = Math.abs(alarm.startedAt - startedAt)
    if (alarm.ruleId !== ruleId || alarm.ruleVersion !== ruleVersion || away >= distance) continue
    if (!isBeyond(alarm, corrected) || !isBeyond(corrected, alarm)) continue
    nearest = key
    distance = away
  }
  if (nearest === undefined) return undefined
  const one = gone.get(nearest)!
  gone.delete(nearest)
  return one
}

/**
 * What is said of an entity's alarms against what its rows say, after a process has read both: normally no difference.
 * @param told by the fold's `open` and its recent inputs
 * @param settled told by the base since the state was saved
 */
export const reconciled = (
  live: LiveAlarms,
  told: ReadonlyMap<string, RuleAlarm>,
  settled: ReadonlyMap<string, RuleAlarm>,
  state: Told["state"]
): Told => ({
  state,
  changed: new Map([...settled.entries().filter(([key]) => live.has(key)), ...told]),
  retracted: [...live.keys()].filter((key) => {
    const { alarm, settled: isSettled } = live.get(key)!
    return !told.has(key) && !settled.has(key) && !(isSettled && alarm.endedAt !== undefined)
  }),
  settled
})
