/**
 * One entity with all of its rules: they share its readings, are folded at once and saved as one.
 * @module
 */
import { DEFAULT_HORIZON_MICROS, type Fold, type FoldState } from "@argusiq/domain/fold.ts"
import { advance, emptyState, rebase, refold, toldBy } from "@argusiq/domain/fold-state.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import {
  type AlarmChanges,
  alarmChanges,
  type AlarmEntity,
  noAlarms,
  reconciled,
  type SaidAlarms
} from "@argusiq/domain/rule/alarm-changes.ts"
import { type CompiledRule, endedRule } from "@argusiq/domain/rule/compile-rule.ts"
import {
  type Asked,
  askedBy,
  askedMetrics,
  entityDue,
  type EntityRules,
  entityRules
} from "@argusiq/domain/rule/entity-rules.ts"
import type { RuleConfig, RuleVersion } from "@argusiq/domain/rule/rule.ts"
import type { RuleAlarm, RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import type { SavedRuleState, StoredRuleState } from "@argusiq/layers/alarms/RuleStates.ts"
import type { EntityReading } from "./readReadings.ts"

/** What all units of a process share. */
export interface Shared {
  readonly compile: (versions: ReadonlyArray<RuleVersion>) => ReadonlyArray<CompiledRule>
  readonly gaps: Parameters<typeof entityRules>[1]
  readonly horizonMicros: number
}

/** What a unit has come to, as of a commit. */
export interface Standing extends SaidAlarms {
  readonly state: FoldState<EntityRules, RuleInput>
  /** The newest reading. */
  readonly last: Pick<RuleInput, "receivedAt" | "ts"> | undefined
  /** In partition time: when it has to be looked at though nothing comes. Infinity: never. */
  readonly dueAt: Instant
}

export interface Step extends Standing, Pick<AlarmChanges, "events" | "rows"> {
  readonly unit: Unit
  /** What the base has told. */
  readonly settled: ReadonlyMap<string, RuleAlarm>
}

const nothingSettled: Step["settled"] = new Map()

const configOfVersions = (
  versions: ReadonlyArray<RuleVersion>,
  { ruleId, ruleVersion }: RuleAlarm
): RuleConfig | undefined => versions.find(({ id, version }) => id === ruleId && version === ruleVersion)?.config

export class Unit {
  readonly entity: AlarmEntity
  readonly #shared: Shared
  #versions: ReadonlyArray<RuleVersion> = []
  #rules: ReadonlyArray<CompiledRule> = []
  #asked: Asked = { keys: new Set(), any: false }
  #fold: Fold<EntityRules, RuleInput, RuleAlarm>
  standing: Standing
  revision: number

  constructor(entity: AlarmEntity, shared: Shared, stored: StoredRuleState | undefined) {
    this.entity = entity
    this.#shared = shared
    this.#fold = entityRules([], shared.gaps)
    const empty = emptyState(this.#fold)
    const state = stored === undefined ? empty : { ...empty, ...stored, tip: stored.base }
    const { base, baseTime, recent, tip } = state
    this.standing = { state: { base, baseTime, recent, tip }, last: stored?.last, ...noAlarms, dueAt: Infinity }
    this.revision = stored?.revision ?? 0
  }

  readonly configOf = (alarm: RuleAlarm): RuleConfig | undefined => configOfVersions(this.#versions, alarm)

  /** Whether these are other rules than before. What a rule said that is not among them ends. */
  learn(versions: ReadonlyArray<RuleVersion>): boolean {
    if (versions === this.#versions) return false
    this.#versions = versions
    const rules = this.#shared.compile(versions)
    const known = new Set<string>(rules.map(({ ruleId }) => ruleId))
    const orphans = Object.entries(this.standing.state.tip)
      .filter(([ruleId]) => !known.has(ruleId))
      .map(([ruleId, { version }]) => endedRule(ruleId as RuleVersion["id"], version, this.#newest() + 1))
    this.#rules = [...rules, ...orphans]
    this.#asked = askedBy(this.#rules)
    this.#fold = entityRules(this.#rules, this.#shared.gaps)
    this.standing = { ...this.standing, dueAt: this.#dueOf(this.standing) }
    return true
  }

  /** Computes the tip of a state that was loaded. */
  restore(): void {
    this.standing = { ...this.standing, state: refold(this.#fold, this.standing.state) }
    this.standing = { ...this.standing, dueAt: this.#dueOf(this.standing) }
  }

  /** What its rules ask of a reading; undefined: nothing. */
  inputOf(reading: EntityReading, receivedAt: Instant): RuleInput | undefined {
    const { metrics, quality, readingId, ts } = reading
    const asked = askedMetrics(this.#asked, metrics, quality)
    const isCorrection = "revision" in reading && (reading.revision > 0 || reading.retracted)
    if (!isCorrection) return asked && { ts, readingId, receivedAt, metrics: asked }
    const { retracted, revision } = reading
    const corrected = { ts, readingId, receivedAt, metrics: asked ?? {}, revision }
    return retracted ? { ...corrected, retracted } : corrected
  }

  /**
   * What these come to, in any order; nothing is changed yet.
   * @param baseLimit readings up to here may still be on their way for reasons that are ours
   */
  step(inputs: ReadonlyArray<RuleInput>, partitionTime: Instant | undefined, baseLimit: Instant): Step {
    const last = inputs.reduce(
      (newest, { receivedAt, retracted, ts }) =>
        retracted === true || (newest !== undefined && ts <= newest.ts) ? newest : { ts, receivedAt },
      this.standing.last
    )
    const until =
      partitionTime === undefined || last === undefined ? undefined : last.ts + partitionTime - last.receivedAt
    const { horizonMicros } = this.#shared
    const advanced = advance(this.#fold, this.standing.state, inputs, {
      horizonMicros,
      baseLimit,
      ...(until !== undefined && last !== undefined && { until: Math.max(until, last.ts) })
    })
    const changes = alarmChanges(this.entity, this.standing, advanced, this.configOf)
    return this.#stepTo({ ...changes, state: advanced.state, last }, advanced.settled)
  }

  /** What the rows of its alarms say against what its state says, and what its base has told since it was saved. */
  compare(rows: SaidAlarms = noAlarms, settled: Step["settled"] = nothingSettled): Step {
    const { last, state } = this.standing
    const told = reconciled(rows.live, toldBy(this.#fold, state), settled, state)
    return this.#stepTo({ ...alarmChanges(this.entity, rows, told, this.configOf), state, last }, settled)
  }

  #stepTo(come: Omit<Standing, "dueAt"> & AlarmChanges, settled: Step["settled"]): Step {
    return { ...come, unit: this, settled, dueAt: this.#dueOf(come) }
  }

  /** A rebuild has replaced what is older than its base. */
  replaceBase(stored: StoredRuleState): void {
    const { state } = rebase(this.#fold, this.standing.state, stored.base, stored.baseTime)
    this.standing = { ...this.standing, state }
    this.revision = stored.revision
  }

  saved(): SavedRuleState {
    const { dueAt, last, state } = this.standing
    const { entityId, tenantId } = this.entity
    const { base, baseTime, recent } = state
    return {
      entityId,
      tenantId,
      base,
      baseTime,
      recent,
      last,
      revision: this.revision,
      dueAt: dueAt === Infinity ? undefined : dueAt
    }
  }

  #newest(): Instant {
    const { last, state } = this.standing
    return Math.max(last?.ts ?? state.baseTime, state.baseTime, state.passed ?? 0)
  }

  #dueOf({ last, live, state }: Omit<Standing, "dueAt">): Instant {
    if (last === undefined) return Infinity
    let due = entityDue(this.#rules, state.tip, this.#shared.gaps)
    for (const { alarm, settled } of live.values()) {
      if (!settled) due = Math.min(due, Math.max(alarm.severityAt, alarm.endedAt ?? 0) + this.#shared.horizonMicros)
    }
    return due === Infinity ? Infinity : due + 1 - last.ts + last.receivedAt
  }
}

export const sharedOf = (given: Pick<Shared, "compile" | "gaps">, horizonMicros = DEFAULT_HORIZON_MICROS): Shared => ({
  ...given,
  horizonMicros
})
