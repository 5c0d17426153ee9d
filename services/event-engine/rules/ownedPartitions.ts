/**
 * The partitions that a process has, with the units that it has in memory of each.
 * @module
 */
import type { RuleAlarm } from "@argusiq/domain/rule/rule-fold.ts"
import { loadDueRuleStates, readProgress, saveProgress } from "@argusiq/layers/alarms/RuleStates.ts"
import { Bus, type TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Clock, Effect, Stream } from "effect"
import type { Collecting } from "./collectInputs.ts"
import type { Kind } from "./kinds.ts"
import { OwnedUnits } from "./OwnedUnits.ts"
import type { StoreSteps } from "./storeSteps.ts"
import type { Step, Unit } from "./Unit.ts"
import type { UnitJudge } from "./unitJudge.ts"

/** A partition that was not asked for so long is another's by now. */
const FORGOTTEN_AFTER_MILLIS = 60_000
const REPLAYED_AT_ONCE = 2_000

export const makeOwnedPartitions = Effect.fnUntraced(function* (
  kind: Kind,
  judge: UnitJudge,
  { addUnits, collect }: Collecting,
  storeSteps: StoreSteps
) {
  const sql = yield* PipelineSql
  const bus = yield* Bus
  const clock = yield* Clock.Clock
  const { group } = kind

  /** What is saved, brought up to the group's offset and time; what the rows say otherwise is corrected. */
  const load = Effect.fnUntraced(function* (at: TopicPartition, epoch: bigint) {
    const { next, saved, time } = yield* readProgress(sql, group, at, bus.logId)
    const owned = new OwnedUnits(at, bus.partitions, epoch, next, saved ?? next)
    if (!kind.isFedByAll) owned.settledUntil = Infinity
    if (saved === undefined) yield* saveProgress(sql, group, at, bus.logId, next)
    yield* judge.refresh
    const due = yield* loadDueRuleStates(sql, kind.states, at.partition, bus.partitions)
    yield* addUnits(owned, new Map(due.map(({ entityId, tenantId }) => [entityId, tenantId])), due)
    const settled = new Map<Unit, Map<string, RuleAlarm>>()
    /** The rows are ahead of it: they are compared when all has been read. */
    const recall = (steps: ReadonlyArray<Step>) => {
      for (const { settled: told, unit } of steps)
        if (told.size > 0) settled.set(unit, new Map([...(settled.get(unit) ?? []), ...told]))
      owned.take(
        steps.map((step) => {
          const { live, spent } = step.unit.standing
          return { ...step, live, spent }
        })
      )
    }
    if (saved !== undefined && saved < next) {
      yield* bus.read(at, saved, next).pipe(
        Stream.grouped(REPLAYED_AT_ONCE),
        Stream.runForEach((records) =>
          Effect.gen(function* () {
            const own = records.filter(({ headers }) => (headers["retry-group"] ?? group) === group)
            const { inputs } = yield* collect(owned, own)
            recall(yield* judge.fold(owned, inputs, undefined))
          })
        ),
        Effect.catchTag("UnknownTopic", (unknown) => Effect.die(unknown))
      )
    }
    if (owned.units.size === 0) return owned
    recall(yield* judge.fold(owned, new Map([...owned.units.values()].map((unit) => [unit, []])), time))
    const compared = yield* judge.run(() =>
      [...owned.units.values()].map((unit) => unit.compare(unit.standing, settled.get(unit)))
    )
    const store = storeSteps(compared)
    if (store !== undefined) {
      yield* sql.withTransaction(store).pipe(Effect.catchTag("SqlError", (cause) => Effect.die(cause)))
    }
    owned.take(compared)
    return owned
  })

  const partitions = new Map<number, OwnedUnits>()
  /** Those of the partition as this process has it since its epoch began. */
  const of = Effect.fnUntraced(function* (at: TopicPartition, epoch: bigint) {
    const now = clock.currentTimeMillisUnsafe()
    const known = partitions.get(at.partition)
    if (known?.epoch === epoch) {
      known.usedAt = now
      return known
    }
    const loaded = yield* load(at, epoch)
    loaded.usedAt = now
    const current = partitions.get(at.partition)
    if (current === undefined || current.epoch < epoch) partitions.set(at.partition, loaded)
    for (const [number, { usedAt }] of partitions) if (now - usedAt > FORGOTTEN_AFTER_MILLIS) partitions.delete(number)
    return loaded
  })

  return of
})
