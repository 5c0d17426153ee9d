/**
 * The units of a partition that this process owns. They are saved now and then: whoever takes the partition over loads what is
 * saved, reads the log from there, and compares what comes of it with the alarms' rows.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import { savingPause } from "@argusiq/domain/saving-pause.ts"
import type { TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import type { SavedRuleState } from "@argusiq/layers/alarms/RuleStates.ts"
import type { Step, Unit } from "./Unit.ts"

/** Units kept beyond those that are due or not saved yet. */
const MAX_IDLE = 20_000
/** States written in one transaction. */
const SAVED_AT_ONCE = 200

/** Some of the units that had changed when it began, as of an offset. */
interface Round {
  readonly next: bigint
  readonly waiting: Array<Unit>
  /** So far. */
  tookMillis: number
}

export interface Saving {
  readonly units: ReadonlyArray<Unit>
  readonly states: ReadonlyArray<SavedRuleState>
  /** With these all is saved that the partition had come to before this offset. */
  readonly upTo: bigint | undefined
  readonly sinceMillis: number
}

export class OwnedUnits {
  readonly at: TopicPartition
  readonly epoch: bigint
  readonly #partitions: number
  readonly units = new Map<string, Unit>()
  /** Up to where the log is folded, and saved. */
  next: bigint
  #saved: bigint
  readonly #changed = new Set<Unit>()
  #round: Round | undefined
  #roundAt: number | undefined
  /** The last round. */
  #tookMillis = 0
  usedAt = 0
  /** Up to when all that another stage makes of the units' entities is known and read here: not before a tick has asked. */
  settledUntil: Instant = -Infinity
  /** A time up to which all is in the log before this offset. */
  ahead: { readonly time: Instant; readonly end: bigint } | undefined

  /** `partitions`: of the bus. */
  constructor(at: TopicPartition, partitions: number, epoch: bigint, next: bigint, saved: bigint) {
    this.at = at
    this.#partitions = partitions
    this.epoch = epoch
    this.next = next
    this.#saved = saved
  }

  /** What the units came to is committed. */
  take(steps: ReadonlyArray<Step>): void {
    for (const { dueAt, last, live, spent, state, unit } of steps) {
      unit.standing = { state, last, live, spent, dueAt }
      this.#changed.add(unit)
    }
  }

  /** Those that time alone may change by now. */
  due(partitionTime: Instant): ReadonlyArray<Unit> {
    const due: Array<Unit> = []
    for (const unit of this.units.values()) if (unit.standing.dueAt <= partitionTime) due.push(unit)
    return due
  }

  /** What to save in the transaction at hand; undefined: nothing now. */
  toSave(nowMillis: number, intervalMillis: number): Saving | undefined {
    if (this.#round === undefined) {
      // Not all partitions at the same time: saving keeps the processor busy.
      this.#roundAt ??= nowMillis - (intervalMillis * this.at.partition) / this.#partitions
      if (nowMillis - this.#roundAt < savingPause(intervalMillis, this.#tookMillis)) return undefined
      this.#roundAt = nowMillis
      if (this.#changed.size === 0 && this.next === this.#saved) return undefined
      this.#round = { next: this.next, waiting: [...this.#changed], tookMillis: 0 }
    }
    const { next, waiting } = this.#round
    const units = waiting.slice(0, SAVED_AT_ONCE)
    const upTo = units.length === waiting.length ? next : undefined
    return { units, states: units.map((unit) => unit.saved()), upTo, sinceMillis: nowMillis }
  }

  saved({ sinceMillis, units, upTo }: Saving, nowMillis: number): void {
    for (const unit of units) this.#changed.delete(unit)
    const round = this.#round
    if (round !== undefined) round.tookMillis += nowMillis - sinceMillis
    if (upTo !== undefined) {
      this.#saved = upTo
      this.#tookMillis = round?.tookMillis ?? 0
      this.#round = undefined
    } else round?.waiting.splice(0, units.length)
    this.#forgetIdle()
  }

  #forgetIdle(): void {
    let surplus = this.units.size - MAX_IDLE
    if (surplus <= 0) return
    for (const [entityId, unit] of this.units) {
      if (unit.standing.dueAt !== Infinity || this.#changed.has(unit)) continue
      this.units.delete(entityId)
      if (--surplus <= 0) return
    }
  }
}
