/**
 * The alarms of one device or asset made anew from its stored readings, through the fold that live readings go through. In the
 * transaction that the fiber is in. Nobody is told of it: the events of the past stay as they were.
 * @module
 */
import type { Gap } from "@argusiq/domain/connection-status.ts"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import type { Evaluate } from "@argusiq/domain/expression/expression.ts"
import type { BusUnavailable } from "@argusiq/domain/errors.ts"
import { DEFAULT_HORIZON_MICROS } from "@argusiq/domain/fold.ts"
import type { SeenReading } from "@argusiq/domain/asset/device-view.ts"
import { BEFORE_ALL, foldAll } from "@argusiq/domain/fold-state.ts"
import type { Instant, TenantId } from "@argusiq/domain/ids.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { type AlarmRow, alarmIdOf, noAlarms, type SaidAlarms } from "@argusiq/domain/rule/alarm-changes.ts"
import { ruleCompiler } from "@argusiq/domain/rule/compile-rule.ts"
import { RecentInputs } from "@argusiq/domain/recent-inputs.ts"
import { askedBy, askedMetrics, entityDue, type EntityRules, entityRules } from "@argusiq/domain/rule/entity-rules.ts"
import type { RuleConfig, RuleVersion } from "@argusiq/domain/rule/rule.ts"
import type { RuleAlarm, RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import { warmUpSeconds } from "@argusiq/domain/rule/warm-up.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { loadSaidAlarms, saveAlarmChanges } from "@argusiq/layers/alarms/AlarmRows.ts"
import { settledTime } from "@argusiq/layers/asset-state/settledTime.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import * as Swap from "@argusiq/layers/jobs/alarmSwap.ts"
import { timeOf } from "@argusiq/layers/jobs/rebuildProgress.ts"
import { heldAt, newestOf, StoredFrames } from "@argusiq/layers/jobs/storedFrames.ts"
import type { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { withExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
import { Effect, Equal, Result } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import { Overtaken, type Span } from "./rebuildAsset.ts"

type Sql = SqlClient.SqlClient

const SECOND = 1_000_000
const noValue: Evaluate = () => Result.succeed(undefined)

const kinds = {
  device: { states: "device_rule", group: Groups.deviceRules, topic: Topics.normalized },
  asset: { states: "asset_rule", group: Groups.assetRules, topic: Topics.asset }
} as const

export interface RebuiltEntity {
  readonly entityType: "asset" | "device"
  readonly entityId: string
  readonly tenantId: string
  /** All versions of the rules that concern it, by which the past is made. */
  readonly versions: ReadonlyArray<RuleVersion>
  /** In which no message could come in, as live knows them. */
  readonly gaps: ReadonlyArray<Gap>
}

/** The last version of each rule, as if it had been in force for ever. */
export const publishedVersions = (versions: ReadonlyArray<RuleVersion>): ReadonlyArray<RuleVersion> =>
  [...Map.groupBy(versions, ({ id }) => id).values()].map((ofRule) => ({ ...ofRule.at(-1)!, effectiveAt: BEFORE_ALL }))

const warmUp = (versions: ReadonlyArray<RuleVersion>): number =>
  Math.max(...versions.map(({ config }) => warmUpSeconds(config))) * SECOND

/** The row of an alarm under the id that it has, or would have had. */
const rowsOf = (
  { entityId, entityType, tenantId }: RebuiltEntity,
  { live: present, spent }: SaidAlarms,
  told: ReadonlyMap<string, RuleAlarm>,
  isSettled: (alarm: RuleAlarm) => boolean
): ReadonlyArray<AlarmRow> => {
  const taken = new Set([...present.values().map(({ id }) => id), ...spent.keys()])
  const entity = { tenantId: tenantId as TenantId, entityType, entityId }
  return [...told].flatMap(([key, alarm]): ReadonlyArray<AlarmRow> => {
    const before = present.get(key)
    const settled = isSettled(alarm)
    const isSame =
      before !== undefined &&
      before.settled === settled &&
      Equal.equals({ ...before.alarm, severityAt: 0 }, { ...alarm, severityAt: 0 })
    if (isSame) return []
    const { firstStartedAt, id } = before ?? {
      id: alarmIdOf(alarm, entityId, (id) => taken.has(id)),
      firstStartedAt: alarm.startedAt
    }
    taken.add(id)
    return [{ ...entity, id, firstStartedAt, alarm, settled, announced: alarm.severity, retracted: false }]
  })
}

/**
 * @param partitions of the bus
 * @param storedBefore readings received before it are stored
 * @param untilStored waits until all that the row of the state holds is stored
 * @returns readings that were folded
 */
export const rebuildAlarms = Effect.fn("rebuildAlarms")(function* (
  sql: Sql,
  sandbox: Sandbox["Service"],
  partitions: number,
  entity: RebuiltEntity,
  { from, to }: Span,
  untilStored: Effect.Effect<Instant, BusUnavailable | SqlError>
) {
  const { entityId, entityType, gaps, versions } = entity
  const { group, states, topic } = kinds[entityType]
  if (versions.length === 0) return 0
  let evaluate: Evaluate = noValue
  const rules = ruleCompiler({
    parse: (source) => Result.getOrUndefined(parseExpression(source)),
    evaluate: (expression, input) => evaluate(expression, input)
  })(versions)
  const fold = entityRules(rules, () => gaps)
  const asked = askedBy(rules)
  const inputsOf = (slice: ReadonlyArray<SeenReading>) =>
    slice.flatMap(({ metrics, quality, readingId, receivedAt, ts }): ReadonlyArray<RuleInput> => {
      const read = askedMetrics(asked, metrics, quality)
      return read === undefined ? [] : [{ ts, readingId, receivedAt, metrics: read }]
    })

  const usual = from - warmUp(versions)
  const underWay = yield* Swap.earliestUnderWay(sql, entityId, usual, to)
  const start = underWay === undefined ? usual : Math.min(usual, underWay - warmUp(versions))
  let state: EntityRules = fold.initial
  let readings = 0
  let last: Pick<RuleInput, "receivedAt" | "ts"> | undefined
  let position = start
  /** Of the span, by the base. */
  const told = new Map<string, RuleAlarm>()
  const frames = new StoredFrames(sql, [entityId], start - 1)

  const take = Effect.fnUntraced(function* (inputs: ReadonlyArray<RuleInput>, until: Instant | undefined) {
    const folded = yield* withExpressions(sandbox, (given) => {
      evaluate = given
      return foldAll(fold, inputs, until, state)
    })
    state = folded.state
    readings += inputs.length
    last = inputs.at(-1) ?? last
    for (const [key, alarm] of folded.told) {
      if (alarm.endedAt !== undefined && alarm.endedAt <= from) told.delete(key)
      else told.set(key, alarm)
    }
  })
  const foldUntil = Effect.fnUntraced(function* (until: Instant) {
    if (until <= position) return
    for (let slice = yield* frames.next(until); slice !== undefined; slice = yield* frames.next(until)) {
      yield* take(inputsOf(slice), undefined)
    }
    yield* take([], until)
    position = until
  })

  yield* take(inputsOf(yield* heldAt(sql, [entityId], start - 1)), undefined)
  const before = yield* Swap.loadState(sql, states, entityId)
  if (before !== undefined) yield* foldUntil(before.baseTime)
  const row = yield* Swap.lockState(sql, states, entityId, from)
  yield* row !== undefined && row.baseTime === before?.baseTime ? Effect.void : untilStored

  const partition = partitionOf(partitions, Buffer.from(entityId))
  const time = yield* timeOf(sql, group, topic, partition)
  const untilOf = (newest: typeof last) =>
    time === undefined || newest === undefined ? newest?.ts : Math.max(newest.ts, newest.ts + time - newest.receivedAt)
  let recent: RecentInputs<RuleInput>
  let baseTime: Instant
  let until: Instant | undefined
  const newest = (yield* newestOf(sql, [entityId])) ?? BEFORE_ALL
  const known = entityType === "asset" ? yield* settledTime(sql) : Infinity
  // What an asset has come to by its base is told of no more.
  const final = entityType === "asset" ? yield* Swap.assetBaseTime(sql, entityId) : BEFORE_ALL
  if (row === undefined) {
    const rest: Array<RuleInput> = []
    const limit = known ?? Infinity
    // Up to the newest reading first: how far the entity's time has come is told by it.
    yield* foldUntil(Math.max(final, Math.min(newest, limit) - DEFAULT_HORIZON_MICROS))
    for (let slice = yield* frames.next(newest); slice !== undefined; slice = yield* frames.next(newest))
      rest.push(...inputsOf(slice))
    const lastOf = rest.at(-1) ?? last
    until = untilOf(lastOf)
    const settledUntil = until === undefined ? position : Math.min(until, limit) - DEFAULT_HORIZON_MICROS
    const ofAge = rest.filter(({ ts }) => ts <= settledUntil)
    yield* take(ofAge, Math.max(position, settledUntil))
    last = lastOf
    position = Math.max(position, settledUntil)
    recent = RecentInputs.of(rest.slice(ofAge.length))
    baseTime = position
  } else {
    baseTime = Math.max(row.baseTime, final, Math.min(newest, known ?? BEFORE_ALL) - DEFAULT_HORIZON_MICROS)
    if (baseTime > row.baseTime) yield* untilStored
    yield* foldUntil(baseTime)
    recent = row.recent.splitAfter(baseTime).rest
    last = last === undefined || (row.last !== undefined && row.last.ts >= last.ts) ? row.last : last
    until = untilOf(last)
  }

  const isReached = to > baseTime
  const after = yield* withExpressions(sandbox, (given) => {
    evaluate = given
    return foldAll(fold, recent, until, state)
  })
  const said = (yield* loadSaidAlarms(sql, [{ entityId, since: from }])).get(entityId) ?? noAlarms
  const present = said.live
  const all = new Map<string, RuleAlarm>()
  for (const [key, alarm] of told) {
    // An alarm that goes on beyond a span in the past is left to a rebuild of what follows.
    if (alarm.startedAt < to && (isReached || alarm.endedAt !== undefined)) all.set(key, alarm)
  }
  if (isReached) {
    for (const [key, alarm] of after.told) {
      const before = present.get(key)?.alarm
      const end =
        before?.endedAt === undefined ? {} : { endedAt: before.endedAt, ...(before.end && { end: before.end }) }
      // Beyond its base the entity is live's.
      if (alarm.startedAt <= baseTime) all.set(key, { ...alarm, ...end })
      else if (
        ![...present.values()].some((one) => one.alarm.ruleId === alarm.ruleId && one.alarm.startedAt > baseTime)
      )
        all.set(key, alarm)
    }
  }
  const gone = [...present]
    .filter(([key, { alarm }]) => {
      const isOfSpan = alarm.startedAt < to && alarm.startedAt <= baseTime && (isReached || alarm.endedAt !== undefined)
      return isOfSpan && !all.has(key)
    })
    .map(([, one]): AlarmRow => ({
      ...one,
      tenantId: entity.tenantId as TenantId,
      entityType,
      entityId,
      settled: true,
      retracted: true
    }))
  const configs = new Map(versions.map(({ config, id, version }) => [`${id}:${version}`, config]))
  const configOf = ({ ruleId, ruleVersion }: RuleAlarm): RuleConfig | undefined =>
    configs.get(`${ruleId}:${ruleVersion}`)
  const isSettled = ({ endedAt, startedAt }: RuleAlarm) => startedAt <= baseTime && (endedAt ?? startedAt) <= baseTime
  yield* saveAlarmChanges(sql, entityType, [...gone, ...rowsOf(entity, said, all, isSettled)], [], configOf)
  if (!isReached) return readings
  if (last === undefined) return readings
  const isTimed =
    entityDue(rules, after.state, () => gaps) !== Infinity || all.values().some((alarm) => !isSettled(alarm))
  const made = { entityId, tenantId: entity.tenantId as TenantId, base: state, baseTime, recent, last }
  if (row !== undefined) yield* Swap.replaceBase(sql, states, partition, { ...made, revision: row.revision }, isTimed)
  else if (!(yield* Swap.insertState(sql, states, partition, made, isTimed))) return yield* new Overtaken()
  return readings
})
