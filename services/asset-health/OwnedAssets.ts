/**
 * The assets of the partitions that this process owns, in memory: read from their rows when they are needed, and brought up to
 * the partition's offset when it is assigned, by reading again what came after the rows were saved.
 * @module
 */
import type { AssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { type Retryable } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { loadAssets, placesOf, type StoredAsset } from "@argusiq/layers/asset-state/foldRows.ts"
import type { Candidate } from "@argusiq/layers/asset-state/settledTime.ts"
import { Bus, type StoredRecord, type TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Clock, Effect, Result, Semaphore, Stream } from "effect"
import { beginEpoch, type KnownAssets, newAsset, recall, withTip } from "./foldAssets.ts"
import { readAssetReading } from "./readAssetReading.ts"

/** A partition under one assignment. */
export interface OwnedPartition {
  readonly epoch: bigint
  readonly assets: Map<string, StoredAsset>
  /** Those that are another than their rows say. */
  readonly unsaved: Set<string>
  /** Up to where all records have been taken in and stored. */
  next: bigint | undefined
  /** Up to where rows hold it. */
  savedNext: bigint | undefined
  /** Where the log ended at a clock time, which is not yet read. */
  ahead: { readonly clock: Instant; readonly end: bigint } | undefined
  candidates: ReadonlyArray<Candidate>
  /** Records before this offset may have been told of by the process that had the partition before; undefined: all is known. */
  doubtfulUntil: bigint | undefined
  /** Whom those were of, as far as they are read, and when the earliest was measured. */
  readonly doubtful: Map<string, Instant>
  /** What is being saved a part at a time: those that wait, and the place that rows hold once none does. */
  round: SavingRound | undefined
  /** When the last round began, epoch milliseconds. */
  savedAt: number
  /** Milliseconds from one time of saving to the next, at least. */
  saveEvery: number
  usedAt: number
}

interface SavingRound {
  readonly next: bigint
  readonly waiting: Array<string>
  tookMillis: number
}

/** An owned partition is asked for every second: one that was not for so long is somebody else's, or will be loaded again. */
const IDLE_MILLIS = 60_000
/** Assets of a partition in memory; of more, saved ones are forgotten, those used longest ago first. */
const MAX_ASSETS = 20_000

/** Records that a consumer is given at most at once: what lies beyond was not told of by the process before. */
const BATCH = 2_000n

export const makeOwnedAssets = Effect.fnUntraced(function* (
  know: (assetIds: Iterable<string>) => Effect.Effect<KnownAssets, Retryable>,
  saveInterval: number
) {
  const sql = yield* PipelineSql
  const bus = yield* Bus
  const partitions = new Map<string, OwnedPartition>()
  const loading = Semaphore.makeUnsafe(1)

  const load = Effect.fnUntraced(function* (assetIds: ReadonlyArray<string>, epoch: bigint) {
    const rows = yield* loadAssets(sql, assetIds)
    const known = yield* know(rows.map(({ assetId }) => assetId))
    return rows.map((asset) => beginEpoch(withTip(asset, known), epoch))
  })

  /** What was read after the rows were saved, by asset; that it was told is known by the offset. */
  const readAgain = Effect.fnUntraced(function* (at: TopicPartition, from: bigint, to: bigint) {
    const readings = new Map<string, Array<AssetReading>>()
    const take = (record: StoredRecord) => {
      const read = readAssetReading(record)
      if (Result.isFailure(read)) return // a dead letter by now
      const reading = read.success
      const others = readings.get(reading.assetId)
      if (others === undefined) readings.set(reading.assetId, [reading])
      else others.push(reading)
    }
    yield* bus.read(at, from, to).pipe(
      Stream.runForEach((record) => Effect.sync(() => take(record))),
      Effect.catchTag("UnknownTopic", (unknown) => Effect.die(unknown))
    )
    return readings
  })

  const takeOver = Effect.fnUntraced(function* (at: TopicPartition, epoch: bigint) {
    const now = yield* Clock.currentTimeMillis
    const { read, saved } = yield* placesOf(sql, at, bus.logId)
    const { end: present, start } = yield* Effect.catchTag(bus.range(at), "UnknownTopic", Effect.die)
    const most = (read ?? start) + BATCH
    const end = present < most ? present : most
    const owned: OwnedPartition = {
      epoch,
      assets: new Map(),
      unsaved: new Set(),
      next: read,
      savedNext: saved,
      ahead: undefined,
      candidates: [],
      doubtfulUntil: read === undefined || read < end ? end : undefined,
      doubtful: new Map(),
      round: undefined,
      // Not all partitions at the same time: saving keeps the processor busy.
      savedAt: now - (saveInterval * at.partition) / bus.partitions,
      saveEvery: saveInterval,
      usedAt: now
    }
    if (read === undefined || (saved !== undefined && saved >= read)) return owned
    const again = yield* readAgain(at, saved ?? 0n, read)
    const ids = [...again.keys()]
    const known = yield* know(ids)
    const rows = new Map((yield* load(ids, epoch)).map((asset) => [asset.assetId, asset]))
    for (const [assetId, readings] of again) {
      const before = rows.get(assetId) ?? newAsset(readings[0]!, epoch)
      owned.assets.set(assetId, recall(before, readings, known))
      owned.unsaved.add(assetId)
      yield* Effect.yieldNow
    }
    return owned
  })

  const of = Effect.fnUntraced(function* (at: TopicPartition, epoch: bigint) {
    const key = `${at.topic}/${at.partition}`
    const usedAt = yield* Clock.currentTimeMillis
    const present = partitions.get(key)
    if (present?.epoch === epoch) {
      present.usedAt = usedAt
      return present
    }
    const owned = yield* takeOver(at, epoch)
    const current = partitions.get(key)
    if (current === undefined || current.epoch < epoch) partitions.set(key, owned)
    for (const [other, one] of partitions) if (one.usedAt < usedAt - IDLE_MILLIS) partitions.delete(other)
    return owned
  })

  /** These of the partition as they are, those that have no row as new ones. */
  const assets = Effect.fnUntraced(function* (
    { assets: held, epoch }: OwnedPartition,
    asked: Iterable<{ readonly assetId: string; readonly tenantId: string }>
  ) {
    const found = new Map<string, StoredAsset>()
    const missing = new Map<string, { readonly assetId: string; readonly tenantId: string }>()
    for (const one of asked) {
      const present = held.get(one.assetId)
      if (present !== undefined) found.set(one.assetId, present)
      else missing.set(one.assetId, one)
    }
    if (missing.size === 0) return found
    for (const asset of yield* load([...missing.keys()], epoch)) found.set(asset.assetId, asset)
    for (const [assetId, one] of missing) if (!found.has(assetId)) found.set(assetId, newAsset(one, epoch))
    return found
  })

  return {
    of: (at: TopicPartition, epoch: bigint) => loading.withPermit(of(at, epoch)),
    assets,
    /** As they are from here on. */
    put: ({ assets, unsaved }: OwnedPartition, changed: Iterable<StoredAsset>) => {
      for (const asset of changed) {
        assets.delete(asset.assetId)
        assets.set(asset.assetId, asset)
        unsaved.add(asset.assetId)
      }
      if (assets.size <= MAX_ASSETS) return
      for (const assetId of assets.keys()) {
        if (assets.size <= MAX_ASSETS) return
        if (!unsaved.has(assetId)) assets.delete(assetId)
      }
    }
  }
})
