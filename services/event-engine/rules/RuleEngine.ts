/**
 * The rule engine: folds the readings of devices, and of assets, by the rules that concern them, and stores the alarms that come
 * of it with their events, in the transaction of the offset. As time passes it sees to what ends or is missed without a reading.
 * @module
 */
import { DEFAULT_HORIZON_MICROS } from "@argusiq/domain/fold.ts"
import { loadSaidAlarms } from "@argusiq/layers/alarms/AlarmRows.ts"
import { loadRuleStates, saveProgress, saveRuleStates } from "@argusiq/layers/alarms/RuleStates.ts"
import { settledTime } from "@argusiq/layers/asset-state/settledTime.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Clock, Effect } from "effect"
import { makeCollect } from "./collectInputs.ts"
import { Failpoints } from "./Failpoints.ts"
import { type Kind, kinds } from "./kinds.ts"
import { makeOwnedPartitions } from "./ownedPartitions.ts"
import type { OwnedUnits } from "./OwnedUnits.ts"
import { makeStoreSteps } from "./storeSteps.ts"
import type { Step } from "./Unit.ts"
import { makeUnitJudge } from "./unitJudge.ts"

export interface RuleEngineOptions {
  readonly horizonMicros?: number
  /** Between two times at which what has changed is saved. */
  readonly saveEveryMillis?: number
}

const nothing: Outcome = { publish: [], deadLetters: [] }

const makeEngine = (kind: Kind, options: RuleEngineOptions) =>
  Effect.gen(function* () {
    const sql = yield* PipelineSql
    const bus = yield* Bus
    const reach = yield* Failpoints
    const clock = yield* Clock.Clock
    const { group } = kind
    const { horizonMicros = DEFAULT_HORIZON_MICROS, saveEveryMillis = 30_000 } = options
    const judge = yield* makeUnitJudge(kind, horizonMicros)
    const collecting = yield* makeCollect(kind, judge)
    const { collect } = collecting
    const storeSteps = yield* makeStoreSteps(kind)
    const of = yield* makeOwnedPartitions(kind, judge, collecting, storeSteps)

    const process: Consumer["process"] = Effect.fnUntraced(function* (batch, _, epoch) {
      const owned = yield* of(batch, epoch)
      yield* judge.refreshIfOld
      const { deadLetters, inputs } = yield* collect(owned, batch.records)
      const steps = yield* judge.fold(owned, inputs, undefined)
      reach("folded")
      const store = storeSteps(steps)
      return {
        publish: [],
        deadLetters,
        ...(store !== undefined && { store }),
        stored: () => {
          owned.take(steps)
          owned.next = batch.next
          reach("committed")
        }
      }
    })

    /** The states of these were replaced by a rebuild: what memory has of newer readings goes on from there. */
    const takeRebuilt = Effect.fnUntraced(function* (owned: OwnedUnits, entityIds: ReadonlyArray<string>) {
      const stored = yield* loadRuleStates(sql, kind.states, entityIds)
      const since = stored.map(({ baseTime, entityId }) => ({ entityId, since: baseTime }))
      const said = yield* loadSaidAlarms(sql, since)
      return yield* judge.run(() =>
        stored.flatMap((state) => {
          const unit = owned.units.get(state.entityId)
          if (unit === undefined) return []
          unit.replaceBase(state)
          return [unit.compare(said.get(state.entityId))]
        })
      )
    })

    /** Up to when all is known of assets, once what had been published of them by then is folded here. */
    const moveSettled = Effect.fnUntraced(function* (owned: OwnedUnits) {
      const { ahead, at } = owned
      if (ahead !== undefined && owned.next >= ahead.end) {
        owned.settledUntil = Math.max(owned.settledUntil, ahead.time)
        owned.ahead = undefined
      }
      if (owned.ahead === undefined) {
        const time = yield* settledTime(sql)
        const { end } = yield* Effect.catchTag(bus.range(at), "UnknownTopic", Effect.die)
        if (time !== undefined) owned.ahead = { time, end }
      }
    })

    const tick: NonNullable<Consumer["tick"]> = Effect.fnUntraced(function* (at, partitionTime, epoch) {
      const owned = yield* of(at, epoch)
      if (kind.isFedByAll) yield* moveSettled(owned)
      yield* judge.refreshIfOld
      const timed = [...owned.units.values()].filter(
        ({ standing }) => standing.dueAt !== Infinity || standing.live.size > 0
      )
      yield* judge.learnRules(timed)
      const due = owned.due(partitionTime)
      const steps = yield* judge.fold(owned, new Map(due.map((unit) => [unit, []])), partitionTime)
      const store = storeSteps(steps)
      const saving = owned.toSave(clock.currentTimeMillisUnsafe(), saveEveryMillis)
      if (store === undefined && saving === undefined) {
        owned.take(steps)
        return nothing
      }
      let rebuilt: ReadonlyArray<Step> = []
      return {
        ...nothing,
        store: Effect.gen(function* () {
          if (store !== undefined) yield* store
          if (saving === undefined) return
          reach("saving")
          const replaced =
            saving.states.length === 0 ? [] : yield* saveRuleStates(sql, kind.states, at.partition, saving.states)
          if (replaced.length > 0) {
            rebuilt = yield* takeRebuilt(owned, replaced)
            const corrections = storeSteps(rebuilt)
            if (corrections !== undefined) yield* corrections
          }
          if (saving.upTo !== undefined && replaced.length === 0)
            yield* saveProgress(sql, group, at, bus.logId, saving.upTo)
          reach("saved")
        }),
        stored: () => {
          if (saving !== undefined) owned.saved(saving, clock.currentTimeMillisUnsafe())
          owned.take([...steps, ...rebuilt])
          reach("committed")
        }
      }
    })

    return {
      service: "event-engine",
      group,
      topics: [kind.topic],
      offsets: "postgres",
      maxWaitMillis: 100,
      process,
      tick
    } satisfies Consumer
  })

/** The rules of devices. */
export const deviceRules = (options: RuleEngineOptions = {}) => makeEngine(kinds.device, options)
/** The rules of assets. */
export const assetRules = (options: RuleEngineOptions = {}) => makeEngine(kinds.asset, options)
