/**
 * One asset's past made anew: its devices' stored readings, and what its children came to, through the fold that live readings go
 * through. In one transaction; what is older than the base of the asset's state is done before anything of live is locked.
 * @module
 */
import type { AssetProfile, Link } from "@argusiq/domain/asset/asset.ts"
import { assetFold, type AssetOutput, type AssetState, quietAssetFold } from "@argusiq/domain/asset/asset-fold.ts"
import type { AssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { childReadingOf, rolledUp, secondOf } from "@argusiq/domain/asset/child-view.ts"
import type { CompiledAssetType } from "@argusiq/domain/asset/compiled-asset-type.ts"
import { type SeenReading, storedPort, throughLink } from "@argusiq/domain/asset/device-view.ts"
import { takes } from "@argusiq/domain/asset/mapping.ts"
import { DEFAULT_WINDOW_SECONDS } from "@argusiq/domain/asset/window.ts"
import type { BusUnavailable } from "@argusiq/domain/errors.ts"
import { DEFAULT_HORIZON_MICROS } from "@argusiq/domain/fold.ts"
import { BEFORE_ALL, compareInputs, foldAll } from "@argusiq/domain/fold-state.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { RecentInputs } from "@argusiq/domain/recent-inputs.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import type { StoredAsset } from "@argusiq/layers/asset-state/foldRows.ts"
import type { AssetFrame } from "@argusiq/layers/asset-state/frameStatement.ts"
import { showLatest } from "@argusiq/layers/asset-state/latestOfFrames.ts"
import { settledTime } from "@argusiq/layers/asset-state/settledTime.ts"
import * as Swap from "@argusiq/layers/jobs/assetSwap.ts"
import { heldAt, newestOf, StoredFrames } from "@argusiq/layers/jobs/storedFrames.ts"
import type { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { withExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
import { Effect, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"

type Sql = SqlClient.SqlClient

export interface RebuiltAsset {
  readonly profile: AssetProfile
  /** By which the past is made, oldest first. */
  readonly versions: ReadonlyArray<CompiledAssetType>
  /** By which live goes on. */
  readonly liveVersions: ReadonlyArray<CompiledAssetType>
  /** By device. */
  readonly links: ReadonlyMap<string, ReadonlyArray<Link>>
  readonly children: ReadonlyMap<string, AssetProfile>
}

export interface Span {
  readonly from: Instant
  /** Not included. */
  readonly to: Instant
}

const HOUR = 3_600_000_000
/** The year 9999. */
const END_OF_TIME = 253_370_764_800_000_000

/** How long before `from` a fold of an asset begins, in microseconds: its longest window, and an hour for values that hold. */
export const assetWarmUp = (versions: ReadonlyArray<CompiledAssetType>): number => {
  const windows = versions.flatMap(({ config }) =>
    Object.values(config.aggregationRules).map(({ windowSeconds }) => windowSeconds)
  )
  return Math.max(DEFAULT_WINDOW_SECONDS, ...windows) * 1_000_000 + HOUR
}

/** What the asset sees of a slice of stored readings, in the order of its fold. */
const inputsOf = (
  { children, links, profile, versions }: RebuiltAsset,
  wanted: ReadonlySet<string> | undefined,
  slice: ReadonlyArray<SeenReading>
): ReadonlyArray<AssetReading> => {
  const inputs: Array<AssetReading> = []
  const seconds = new Map<string, Array<SeenReading>>()
  for (const reading of slice) {
    const child = children.get(reading.deviceId)
    if (child !== undefined) {
      if (wanted === undefined) continue
      const key = `${reading.deviceId} ${secondOf(reading.ts)}`
      const others = seconds.get(key)
      if (others === undefined) seconds.set(key, [reading])
      else others.push(reading)
      continue
    }
    for (const link of links.get(reading.deviceId) ?? []) {
      const ported = { ...reading, ...storedPort(link, reading.metrics) }
      const seen = takes(link, ported) ? throughLink(link, profile, versions, ported) : undefined
      if (seen !== undefined) inputs.push(seen)
    }
  }
  for (const frames of seconds.values()) {
    inputs.push(childReadingOf(children.get(frames[0]!.deviceId)!, profile.assetId, wanted!, frames))
  }
  return inputs.toSorted(compareInputs)
}

const frameOf = ({ assetId, tenantId }: AssetProfile, output: AssetOutput, revision: number): AssetFrame => ({
  assetId,
  tenantId,
  readingId: uuidV5(assetId, String(output.ts)) as string,
  revision,
  output
})

/** Live has made a row for it meanwhile: all has to be done again. */
export class Overtaken extends Schema.TaggedError<Overtaken>()("Overtaken", {}) {}

/**
 * @param partitions of the bus
 * @param storedBefore readings received before it are stored
 * @param untilStored waits until all that the row of the state holds is stored
 * @returns readings that were folded
 */
export const rebuildAsset = Effect.fn("rebuildAsset")(function* (
  sql: Sql,
  sandbox: Sandbox["Service"],
  partitions: number,
  rebuilt: RebuiltAsset,
  { from, to }: Span,
  storedBefore: Instant,
  untilStored: Effect.Effect<Instant, BusUnavailable | SqlError>
) {
  const { children, links, liveVersions, profile, versions } = rebuilt
  const { assetId, tenantId } = profile
  const wanted = rolledUp(versions)
  const entityIds = [...links.keys(), ...(wanted === undefined ? [] : children.keys())]
  const start = from - assetWarmUp(versions)
  const keys = new Set<string>()
  let state: AssetState = quietAssetFold({ versions }).initial
  let position = start
  let readings = 0
  let revision = 0
  const frames = new StoredFrames(sql, entityIds, start - 1)
  /** Of a second that goes beyond what is folded: a parent sees a child once a second. */
  let begun: ReadonlyArray<SeenReading> = []

  const fold = (inputs: ReadonlyArray<AssetReading>) =>
    Effect.map(
      withExpressions(sandbox, (evaluate) => foldAll(assetFold({ versions, evaluate }), inputs, undefined, state)),
      (folded) => {
        state = folded.state
        readings += inputs.length
        return folded.told
      }
    )

  const put = Effect.fnUntraced(function* (inputs: ReadonlyArray<AssetReading>, end: Instant) {
    const told = yield* fold(inputs)
    const outputs = [...told.values()].filter(({ ts }) => ts >= from && ts < end)
    for (const { metrics } of outputs) for (const key in metrics) keys.add(key)
    yield* Swap.insertFrames(
      sql,
      outputs.map((output) => frameOf(profile, output, revision))
    )
  })

  /** Frames up to and with `until` are in place of the old ones. */
  const replaceUntil = Effect.fnUntraced(function* (until: Instant, stored: Instant) {
    if (until <= position) return
    const first = Math.max(position, from - 1)
    const last = Math.min(until, to - 1)
    if (first < last) yield* Swap.deleteFrames(sql, assetId, first, last, stored)
    for (;;) {
      const slice = yield* frames.next(until)
      const all = slice === undefined ? begun : [...begun, ...slice]
      const complete = slice === undefined ? until : slice.at(-1)!.ts
      // A child's second may go on in the next slice; its reading lies at the second's end.
      const isOver = ({ deviceId, ts }: SeenReading) => !children.has(deviceId) || secondOf(ts) <= complete
      begun = all.filter((reading) => !isOver(reading))
      yield* put(inputsOf(rebuilt, wanted, all.filter(isOver)), to)
      if (slice === undefined) break
    }
    position = until
  })

  const before = yield* Swap.loadAsset(sql, assetId)
  revision = before?.arrivals ?? 0
  const held = yield* heldAt(sql, entityIds, start - 1)
  yield* fold(inputsOf(rebuilt, wanted, held))
  if (before !== undefined) yield* replaceUntil(Math.min(before.state.baseTime, to - 1), storedBefore)
  const isReached = (baseTime: Instant) => to > baseTime
  if (before !== undefined && !isReached(before.state.baseTime)) {
    yield* Swap.lockLatest(sql, assetId)
    yield* showLatest(sql, assetId, tenantId, keys)
    return readings
  }

  const row = yield* Swap.lockAsset(sql, assetId)
  const newest = (yield* newestOf(sql, entityIds)) ?? BEFORE_ALL
  const limit = yield* settledTime(sql)
  const settled = Math.min(newest, limit ?? (row === undefined ? Infinity : BEFORE_ALL)) - DEFAULT_HORIZON_MICROS
  const baseTime = Math.max(row?.state.baseTime ?? BEFORE_ALL, settled)
  const stored = baseTime === before?.state.baseTime ? storedBefore : yield* untilStored
  yield* Swap.lockLatest(sql, assetId)
  let present: StoredAsset
  if (row === undefined) {
    yield* replaceUntil(Math.min(baseTime, to - 1), stored)
    if (!isReached(baseTime)) {
      yield* showLatest(sql, assetId, tenantId, keys)
      return readings
    }
    const seen = [...begun]
    for (let slice = yield* frames.next(newest); slice !== undefined; slice = yield* frames.next(newest))
      seen.push(...slice)
    const recent = RecentInputs.of(inputsOf(rebuilt, wanted, seen))
    const arrivals = readings + recent.length
    present = {
      assetId,
      tenantId,
      arrivals,
      revision: 1,
      told: 1,
      state: { base: state, baseTime: position, recent, tip: state }
    }
    if (arrivals > 0 && !(yield* Swap.insertState(sql, partitions, present))) return yield* new Overtaken()
    yield* Swap.deleteFrames(sql, assetId, Math.max(position, from - 1), END_OF_TIME, stored)
  } else {
    yield* replaceUntil(Math.min(baseTime, to - 1), stored)
    if (!isReached(baseTime)) {
      yield* showLatest(sql, assetId, tenantId, keys)
      return readings
    }
    const recent = row.state.recent.splitAfter(baseTime).rest
    present = { ...row, state: { base: state, baseTime, recent, tip: state } }
    yield* Swap.replaceBase(sql, present)
    yield* Swap.deleteRecentFrames(sql, present)
  }
  const after = yield* withExpressions(sandbox, (evaluate) =>
    foldAll(assetFold({ versions: liveVersions, evaluate }), present.state.recent, undefined, state)
  )
  for (const { metrics } of after.told.values()) for (const key in metrics) keys.add(key)
  yield* Swap.insertFrames(
    sql,
    [...after.told.values()].filter(({ ts }) => ts >= from).map((output) => frameOf(profile, output, present.arrivals))
  )
  yield* showLatest(sql, assetId, tenantId, keys)
  return readings
})
