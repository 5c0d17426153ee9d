/**
 * What the readings of a batch come to, asset by asset: the next states and what is told by them. Nothing that is known
 * before is changed.
 * @module
 */
import type { AssetProfile } from "@argusiq/domain/asset/asset.ts"
import {
  type AssetFold,
  assetFold,
  type AssetOutput,
  isAhead,
  quietAssetFold
} from "@argusiq/domain/asset/asset-fold.ts"
import type { AssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { beginOfSecond, secondOf } from "@argusiq/domain/asset/child-view.ts"
import { versionsOf } from "@argusiq/domain/asset/device-view.ts"
import type { AssetTypeProfile } from "@argusiq/domain/asset/asset-type.ts"
import type { Evaluate } from "@argusiq/domain/expression/expression.ts"
import { DEFAULT_HORIZON_MICROS } from "@argusiq/domain/fold.ts"
import { advance, BEFORE_ALL, emptyState, foldAll, rebase, toldSince } from "@argusiq/domain/fold-state.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import type { StoredAsset } from "@argusiq/layers/asset-state/foldRows.ts"

/** What is known of assets and types in a batch, parents included. */
export interface KnownAssets {
  readonly assets: ReadonlyMap<string, AssetProfile>
  readonly types: ReadonlyMap<string, AssetTypeProfile>
}

export interface FoldedAsset {
  readonly asset: StoredAsset
  readonly profile: AssetProfile
  /** By timestamp. */
  readonly changed: ReadonlyMap<string, AssetOutput>
  readonly retracted: ReadonlyArray<string>
  /** Of an asset with a parent, by second: what the parent sees of it; undefined: nothing any more. */
  readonly seconds: ReadonlyMap<Instant, AssetOutput | undefined>
  readonly late: ReadonlyArray<AssetReading>
  readonly ahead: ReadonlyArray<AssetReading>
}

/** Readings that an asset takes in under one assignment of its partition, at most: eight years of one a second. */
const ARRIVALS_OF_EPOCH = 2 ** 28

/**
 * As it comes into the memory of a new owner: its revisions are above all that may have been told of it, also by those who ended
 * before they saved how far they were.
 */
export const beginEpoch = (asset: StoredAsset, epoch: bigint): StoredAsset => ({
  ...asset,
  arrivals: Math.max(asset.arrivals, Number(epoch) * ARRIVALS_OF_EPOCH)
})

export const newAsset = (
  { assetId, tenantId }: { readonly assetId: string; readonly tenantId: string },
  epoch: bigint
): StoredAsset =>
  beginEpoch(
    {
      assetId,
      tenantId,
      state: emptyState(quietAssetFold({ versions: [] })),
      arrivals: 0,
      revision: 0,
      told: 0
    },
    epoch
  )

/** The base moves when states are saved, and only then: what memory and the row say of it is the same. */
const takeIn = { horizonMicros: DEFAULT_HORIZON_MICROS, baseLimit: BEFORE_ALL }

/** Readings that an asset remembers at most: beyond, the base moves whether or not all that is older has come. */
const MAX_RECENT = 20_000

const foldOf = (profile: AssetProfile, { types }: KnownAssets, evaluate: Evaluate) => {
  const type = types.get(profile.assetTypeId)
  if (type === undefined) return undefined
  return assetFold({ versions: versionsOf(type), evaluate, holdsForParent: profile.parentId !== undefined })
}
const quietFoldOf = (profile: AssetProfile, { types }: KnownAssets) => {
  const type = types.get(profile.assetTypeId)
  return type && quietAssetFold({ versions: versionsOf(type) })
}

const noSeconds: FoldedAsset["seconds"] = new Map()

/** Whether no reading of the second comes after this instant. */
const isLastOfSecond = (recent: StoredAsset["state"]["recent"], ts: Instant): boolean => {
  const next = recent.firstAfter(ts)
  return next === undefined || secondOf(next.ts) !== secondOf(ts)
}

/** The last that is told of each second in which something has changed. */
const secondsOf = (
  { parentId }: AssetProfile,
  fold: AssetFold,
  state: StoredAsset["state"],
  changed: ReadonlyMap<string, AssetOutput>,
  retracted: ReadonlyArray<string>
): FoldedAsset["seconds"] => {
  if (parentId === undefined || changed.size + retracted.length === 0) return noSeconds
  const seconds = new Map<Instant, AssetOutput | undefined>()
  for (const ts of retracted) seconds.set(secondOf(Number(ts)), undefined)
  for (const output of changed.values()) {
    const second = secondOf(output.ts)
    const before = seconds.get(second)
    if (before === undefined || before.ts < output.ts) seconds.set(second, output)
  }
  const isPlain = retracted.length === 0 && seconds.values().every((output) => isLastOfSecond(state.recent, output!.ts))
  if (isPlain) return seconds
  // Readings that tell nothing, and outputs that have not changed, lie in these seconds: all of them tell which is the last.
  const first = seconds.keys().reduce((earliest, second) => Math.min(earliest, second))
  const last = new Map<Instant, AssetOutput>()
  for (const output of toldSince(fold, state, beginOfSecond(first)).values()) {
    const before = last.get(secondOf(output.ts))
    if (before === undefined || before.ts < output.ts) last.set(secondOf(output.ts), output)
  }
  return new Map(seconds.keys().map((second) => [second, last.get(second)]))
}

/** Undefined: the asset, or what its type says, is not known. */
export const foldAsset = (
  before: StoredAsset,
  readings: ReadonlyArray<AssetReading>,
  known: KnownAssets,
  evaluate: Evaluate
): FoldedAsset | undefined => {
  const profile = known.assets.get(before.assetId)
  const fold = profile && foldOf(profile, known, evaluate)
  if (fold === undefined) return undefined
  const hasAhead = readings.some(isAhead)
  const ahead = hasAhead ? readings.filter(isAhead) : []
  const usable = hasAhead ? readings.filter((reading) => !isAhead(reading)) : readings
  const { changed, late, retracted, state } = advance(fold, before.state, usable, takeIn)
  const asset = { ...before, state, arrivals: before.arrivals + usable.length }
  const seconds = secondsOf(profile!, fold, state, changed, retracted)
  return { asset, profile: profile!, changed, retracted, seconds, late, ahead }
}

/**
 * All that is the case from an instant on, told again under the revision of this epoch, and taken back what could have been told
 * by any of its readings since: for an asset of which nobody knows what was told of it, since a process ended after it was
 * published and before that was stored.
 * @param since the earliest reading that may have been told of: nothing before it comes of it
 */
export const retellAsset = (
  folded: FoldedAsset,
  known: KnownAssets,
  evaluate: Evaluate,
  since: Instant
): FoldedAsset => {
  const { asset, profile } = folded
  const fold = foldOf(profile, known, evaluate)
  if (fold === undefined) return folded
  const told = new Map<string, AssetOutput>()
  for (const [ts, output] of toldSince(fold, asset.state, since)) if (output.ts >= since) told.set(ts, output)
  const possible = new Set(folded.retracted)
  for (const { ts } of asset.state.recent) if (ts >= since) possible.add(String(ts))
  const retracted = [...possible].filter((ts) => !told.has(ts))
  const seconds = secondsOf(profile, fold, asset.state, told, retracted)
  return { ...folded, changed: told, retracted, seconds }
}

/** Takes in what was read and told before: for a partition that is taken over. The trail would not know what was told. */
export const recall = (before: StoredAsset, readings: ReadonlyArray<AssetReading>, known: KnownAssets): StoredAsset => {
  const profile = known.assets.get(before.assetId)
  const fold = profile && quietFoldOf(profile, known)
  if (fold === undefined) return before
  const usable = readings.filter((reading) => !isAhead(reading))
  const { state } = advance(fold, before.state, usable, takeIn)
  return { ...before, state: { ...state }, arrivals: before.arrivals + usable.length }
}

/** The tip of an asset as it was loaded. */
export const withTip = (asset: StoredAsset, known: KnownAssets): StoredAsset => {
  const profile = known.assets.get(asset.assetId)
  const fold = profile && quietFoldOf(profile, known)
  if (fold === undefined) return asset
  let tip = asset.state.base
  for (const input of asset.state.recent)
    if (!("retracted" in input && input.retracted)) tip = fold.step(tip, input, () => {})
  return { ...asset, state: { ...asset.state, tip } }
}

/** What is older than the horizon goes into the base. @param limit what may still be on its way for reasons of ours */
export const settleAsset = (asset: StoredAsset, known: KnownAssets, limit: Instant | undefined): StoredAsset => {
  const profile = known.assets.get(asset.assetId)
  const fold = profile && quietFoldOf(profile, known)
  if (fold === undefined) return asset
  const isFull = asset.state.recent.length > MAX_RECENT
  const baseLimit = isFull ? Number.MAX_SAFE_INTEGER : limit === undefined ? BEFORE_ALL : limit - DEFAULT_HORIZON_MICROS
  const { state } = advance(fold, asset.state, [], { horizonMicros: DEFAULT_HORIZON_MICROS, baseLimit })
  return state === asset.state ? asset : { ...asset, state }
}

/** Takes a base over that a rebuild has stored, and tells what is another by it: all, where that is not known any more. */
export const rebaseAsset = (
  before: StoredAsset,
  stored: StoredAsset,
  known: KnownAssets,
  evaluate: Evaluate
): FoldedAsset | undefined => {
  const profile = known.assets.get(before.assetId)
  const fold = profile && foldOf(profile, known, evaluate)
  if (fold === undefined) return undefined
  const { base, baseTime } = stored.state
  const rebased = rebase(fold, before.state, base, baseTime)
  const { revision } = stored
  const arrivals = Math.max(before.arrivals, stored.arrivals) + 1
  const asset = { ...before, state: rebased.state, arrivals, revision, told: revision }
  const { changed, retracted } =
    before.revision !== revision
      ? rebased
      : { changed: foldAll(fold, asset.state.recent, undefined, base).told, retracted: [] }
  const seconds = secondsOf(profile!, fold, asset.state, changed, retracted)
  return { asset, profile: profile!, changed, retracted, seconds, late: [], ahead: [] }
}
