/**
 * The rule engine: folds the readings of devices, and of assets, by the rules that concern them, and stores the alarms that come
 * of it with their events, in the transaction of the offset. As time passes it sees to what ends or is missed without a reading.
 * @module
 */
import { onlyDeviceOf } from "@argusiq/domain/envelope.ts"
import type { Gap } from "@argusiq/domain/connection-status.ts"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import type { Evaluate } from "@argusiq/domain/expression/expression.ts"
import { DEFAULT_HORIZON_MICROS } from "@argusiq/domain/fold.ts"
import type { Instant, TenantId } from "@argusiq/domain/ids.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { ruleCompiler } from "@argusiq/domain/rule/compile-rule.ts"
import type { RuleAlarm, RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { loadLiveAlarms, saveAlarmChanges } from "@argusiq/layers/alarms/AlarmRows.ts"
import {
  loadDueRuleStates,
  loadRuleStates,
  readProgress,
  type RuleStateKind,
  saveProgress,
  saveRuleStates,
  type StoredRuleState
} from "@argusiq/layers/alarms/RuleStates.ts"
import { settledTime } from "@argusiq/layers/asset-state/settledTime.ts"
import { Bus, type StoredRecord, type TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { makePauses } from "@argusiq/layers/bus/pauses.ts"
import { readAcceptance } from "@argusiq/layers/connectivity/IngestGaps.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { RuleSets } from "@argusiq/layers/profiles/RuleSets.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { withExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
import { Clock, Effect, Metric, Result, Stream } from "effect"
import { Failpoints } from "./Failpoints.ts"
import { OwnedUnits } from "./OwnedUnits.ts"
import { type EntityReading, readAssetReadings, readDeviceReadings, type ReadReadings } from "./readReadings.ts"
import { sharedOf, type Step, Unit } from "./Unit.ts"

interface Kind {
  readonly entityType: "asset" | "device"
  readonly group: string
  readonly topic: string
  readonly states: RuleStateKind
  readonly read: ReadReadings
  /** Readings of one entity come through several partitions on their way: the base of none passes what is known of all. */
  readonly isFedByAll: boolean
}

const kinds = {
  device: {
    entityType: "device",
    group: Groups.deviceRules,
    topic: Topics.normalized,
    states: "device_rule",
    read: readDeviceReadings,
    isFedByAll: false // all readings of a device come through one partition
  },
  asset: {
    entityType: "asset",
    group: Groups.assetRules,
    topic: Topics.asset,
    states: "asset_rule",
    read: readAssetReadings,
    isFedByAll: true
  }
} as const satisfies Record<string, Kind>

export interface RuleEngineOptions {
  readonly horizonMicros?: number
  /** Between two times at which what has changed is saved. */
  readonly saveEveryMillis?: number
}

/** A partition that was not asked for so long is another's by now. */
const FORGOTTEN_AFTER_MILLIS = 60_000
const REFRESH_MILLIS = 1_000
const REPLAYED_AT_ONCE = 2_000

const unknown: Evaluate = () => Result.succeed(undefined)

const nothing: Outcome = { publish: [], deadLetters: [] }

const raised = Metric.counter("argusiq_alarms_raised_total", { incremental: true })

const makeEngine = (kind: Kind, options: RuleEngineOptions) =>
  Effect.gen(function* () {
    const sql = yield* PipelineSql
    const bus = yield* Bus
    const ruleSets = yield* RuleSets
    const sandbox = yield* Sandbox
    const reach = yield* Failpoints
    const clock = yield* Clock.Clock
    const { entityType, group } = kind
    const { horizonMicros = DEFAULT_HORIZON_MICROS, saveEveryMillis = 30_000 } = options

    let evaluate = unknown
    let gaps: ReadonlyArray<Gap> = []
    const shared = sharedOf(
      {
        compile: ruleCompiler({
          parse: (source) => Result.getOrUndefined(parseExpression(source)),
          evaluate: (expression, input) => evaluate(expression, input)
        }),
        gaps: () => gaps
      },
      horizonMicros
    )
    if (kind.isFedByAll) shared.baseLimit = -Infinity
    const raisedHere = Metric.withAttributes(raised, { entity: entityType })

    let refreshedAt = -Infinity
    /** What all partitions share: when nothing was accepted, and how far those are that feed them. */
    const refresh = Effect.gen(function* () {
      const now = clock.currentTimeMillisUnsafe()
      if (now - refreshedAt < REFRESH_MILLIS) return
      const acceptance = yield* readAcceptance(sql)
      gaps = [...acceptance.gaps, { from: acceptance.acceptedUntil, to: Number.MAX_SAFE_INTEGER }]
      refreshedAt = now
    })

    const learnRules = Effect.fnUntraced(function* (units: Iterable<Unit>) {
      const asked = [...units]
      if (asked.length === 0) return
      const rules = yield* ruleSets.rulesOf(
        entityType,
        asked.map(({ entity }) => entity.entityId)
      )
      for (const unit of asked) unit.learn(rules.get(unit.entity.entityId) ?? [])
    })

    const addUnits = Effect.fnUntraced(function* (
      owned: OwnedUnits,
      entities: ReadonlyMap<string, string>,
      stored: ReadonlyArray<StoredRuleState>
    ) {
      const states = new Map(stored.map((state) => [state.entityId, state]))
      const units = [...entities].map(([entityId, tenantId]) => {
        const entity = { entityType, entityId, tenantId: tenantId as TenantId }
        return new Unit(entity, shared, states.get(entityId))
      })
      yield* learnRules(units)
      const since = units.map(({ entity, standing }) => ({ entityId: entity.entityId, since: standing.state.baseTime }))
      const live = yield* loadLiveAlarms(sql, since)
      for (const unit of units) {
        const alarms = live.get(unit.entity.entityId)
        if (alarms !== undefined) unit.standing = { ...unit.standing, live: alarms }
        unit.restore()
        owned.units.set(unit.entity.entityId, unit)
      }
      return units
    })

    /** Those that are not in memory and that rules concern. */
    const ensure = Effect.fnUntraced(function* (owned: OwnedUnits, tenants: ReadonlyMap<string, string>) {
      const known: Array<Unit> = []
      const missing: Array<string> = []
      for (const entityId of tenants.keys()) {
        const unit = owned.units.get(entityId)
        if (unit === undefined) missing.push(entityId)
        else known.push(unit)
      }
      yield* learnRules(known)
      if (missing.length === 0) return
      const rules = yield* ruleSets.rulesOf(entityType, missing)
      const concerned = missing.filter((entityId) => (rules.get(entityId)?.length ?? 0) > 0)
      if (concerned.length === 0) return
      const stored = yield* loadRuleStates(sql, kind.states, concerned)
      yield* addUnits(owned, new Map(concerned.map((entityId) => [entityId, tenants.get(entityId)!])), stored)
    })

    /** Without those of devices that no rule is about: they need not be parsed. */
    const ofInterest = Effect.fnUntraced(function* (records: ReadonlyArray<StoredRecord>) {
      if (entityType !== "device") return records
      const senders = new Set(records.flatMap(({ headers }) => onlyDeviceOf(headers) ?? []))
      if (senders.size === 0) return records
      const rules = yield* ruleSets.rulesOf(entityType, senders)
      return records.filter(({ headers }) => {
        const sender = onlyDeviceOf(headers)
        return sender === undefined || (rules.get(sender)?.length ?? 0) > 0
      })
    })

    /** The readings of some records by entity; the units that they concern are in memory afterwards. */
    const collect = Effect.fnUntraced(function* (owned: OwnedUnits, records: ReadonlyArray<StoredRecord>) {
      const deadLetters: Array<Outcome["deadLetters"][number]> = []
      const readings: Array<EntityReading> = []
      const tenants = new Map<string, string>()
      const pause = makePauses()
      for (const record of yield* ofInterest(records)) {
        const read = kind.read(record)
        if (Result.isFailure(read)) {
          deadLetters.push({ record, error: read.failure })
          continue
        }
        for (const reading of read.success) {
          tenants.set(reading.entityId, reading.tenantId)
          readings.push(reading)
        }
        yield* pause(1 + read.success.length)
      }
      yield* ensure(owned, tenants)
      const inputs = new Map<Unit, Array<RuleInput>>()
      for (const reading of readings) {
        const unit = owned.units.get(reading.entityId)
        if (unit === undefined || unit.entity.tenantId !== reading.tenantId) continue
        const input = unit.inputOf(reading)
        if (input === undefined) continue
        const ofUnit = inputs.get(unit)
        if (ofUnit === undefined) inputs.set(unit, [input])
        else ofUnit.push(input)
      }
      return { deadLetters, inputs }
    })

    const fold = (inputs: ReadonlyMap<Unit, ReadonlyArray<RuleInput>>, partitionTime: Instant | undefined) =>
      withExpressions(sandbox, (given) => {
        evaluate = given
        return [...inputs].map(([unit, ofUnit]) => unit.step(ofUnit, partitionTime))
      })

    const storeSteps = (steps: ReadonlyArray<Step>) => {
      const rows = steps.flatMap((step) => step.rows)
      const events = steps.flatMap((step) => step.events)
      if (rows.length === 0 && events.length === 0) return undefined
      const units = new Map(steps.map(({ unit }) => [unit.entity.entityId, unit]))
      const byAlarm = new Map<RuleAlarm, Unit>()
      for (const { alarm, entityId } of [...rows, ...events]) byAlarm.set(alarm, units.get(entityId)!)
      return Effect.gen(function* () {
        reach("storing")
        yield* saveAlarmChanges(sql, entityType, rows, events, (alarm) => byAlarm.get(alarm)?.configOf(alarm))
        const breaches = events.filter(({ eventType }) => eventType === "THRESHOLD_BREACH").length
        if (breaches > 0) yield* Metric.update(raisedHere, breaches)
        reach("stored")
      })
    }

    /** What is saved, brought up to the group's offset and time; what the rows say otherwise is corrected. */
    const load = Effect.fnUntraced(function* (at: TopicPartition, epoch: bigint) {
      const { next, saved, time } = yield* readProgress(sql, group, at, bus.logId)
      const owned = new OwnedUnits(at, epoch, next, saved ?? next)
      if (saved === undefined) yield* saveProgress(sql, group, at, bus.logId, next)
      refreshedAt = -Infinity
      yield* refresh
      const due = yield* loadDueRuleStates(sql, kind.states, at.partition)
      yield* addUnits(owned, new Map(due.map(({ entityId, tenantId }) => [entityId, tenantId])), due)
      const settled = new Map<Unit, Map<string, RuleAlarm>>()
      /** The rows are ahead of it: they are compared when all has been read. */
      const recall = (steps: ReadonlyArray<Step>) => {
        for (const { settled: told, unit } of steps)
          if (told.size > 0) settled.set(unit, new Map([...(settled.get(unit) ?? []), ...told]))
        owned.take(steps.map((step) => ({ ...step, live: step.unit.standing.live })))
      }
      if (saved !== undefined && saved < next) {
        yield* bus.read(at, saved, next).pipe(
          Stream.grouped(REPLAYED_AT_ONCE),
          Stream.runForEach((records) =>
            Effect.gen(function* () {
              const own = records.filter(({ headers }) => (headers["retry-group"] ?? group) === group)
              const { inputs } = yield* collect(owned, own)
              recall(yield* fold(inputs, undefined))
            })
          ),
          Effect.catchTag("UnknownTopic", (unknown) => Effect.die(unknown))
        )
      }
      if (owned.units.size === 0) return owned
      recall(yield* fold(new Map([...owned.units.values()].map((unit) => [unit, []])), time))
      const compared = yield* withExpressions(sandbox, (given) => {
        evaluate = given
        return [...owned.units.values()].map((unit) => unit.compare(unit.standing.live, settled.get(unit)))
      })
      const store = storeSteps(compared)
      if (store !== undefined) {
        yield* sql.withTransaction(store).pipe(Effect.catchTag("SqlError", (cause) => Effect.die(cause)))
      }
      owned.take(compared)
      return owned
    })

    const partitions = new Map<number, OwnedUnits>()
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
      for (const [number, { usedAt }] of partitions)
        if (now - usedAt > FORGOTTEN_AFTER_MILLIS) partitions.delete(number)
      return loaded
    })

    const process: Consumer["process"] = Effect.fnUntraced(function* (batch, _, epoch) {
      const owned = yield* of(batch, epoch)
      yield* refresh
      const { deadLetters, inputs } = yield* collect(owned, batch.records)
      const steps = yield* fold(inputs, undefined)
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
      const live = yield* loadLiveAlarms(sql, since)
      return yield* withExpressions(sandbox, (given) => {
        evaluate = given
        return stored.flatMap((state) => {
          const unit = owned.units.get(state.entityId)
          if (unit === undefined) return []
          unit.replaceBase(state)
          return [unit.compare(live.get(state.entityId) ?? new Map())]
        })
      })
    })

    /** Up to when all is known of assets, once what had been published of them by then is folded here. */
    const limitBases = Effect.fnUntraced(function* (owned: OwnedUnits) {
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
      const settled = Array.from(partitions.values(), ({ settledUntil }) => settledUntil)
      shared.baseLimit = Math.min(...settled) - horizonMicros
    })

    const tick: NonNullable<Consumer["tick"]> = Effect.fnUntraced(function* (at, partitionTime, epoch) {
      const owned = yield* of(at, epoch)
      if (kind.isFedByAll) yield* limitBases(owned)
      yield* refresh
      const timed = [...owned.units.values()].filter(
        ({ standing }) => standing.dueAt !== Infinity || standing.live.size > 0
      )
      yield* learnRules(timed)
      const due = owned.due(partitionTime)
      const steps = yield* fold(new Map(due.map((unit) => [unit, []])), partitionTime)
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
          if (saving !== undefined) owned.saved(saving)
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
