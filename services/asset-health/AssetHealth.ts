/**
 * What assets come to: each reading of an asset goes through its fold, what is told by it is published and then stored with
 * the offset, and what a parent sees of a child goes back to the same topic under the parent's key.
 *
 * The states of the folds stay in memory and are saved every half minute, with the place up to which they hold what was read.
 * The base of a state moves only then, so that a rebuild, which replaces it, and this process speak of the same one.
 * @module
 */
import { type AssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { savingPause } from "@argusiq/domain/saving-pause.ts"
import { type AssetBatch, storeAssets } from "@argusiq/layers/asset-state/AssetStore.ts"
import {
  encodeAsset,
  type EncodedAsset,
  loadAssets,
  revisionsOf,
  saveAssets
} from "@argusiq/layers/asset-state/foldRows.ts"
import {
  clockOf,
  nextRound,
  noteRead,
  noteSettled,
  progressOf,
  settledTime
} from "@argusiq/layers/asset-state/settledTime.ts"
import { showOverdue } from "@argusiq/layers/asset-state/visibility.ts"
import { Bus, type StoredRecord, type TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { AssetProfiles } from "@argusiq/layers/profiles/AssetProfiles.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { withExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
import { Clock, Context, Effect, Metric, Result } from "effect"
import { MAX_DRIFT_MICROS, SERVICE } from "./AssetMapping.ts"
import { Failpoints } from "./Failpoints.ts"
import { foldAsset, type FoldedAsset, type KnownAssets, rebaseAsset, retellAsset, settleAsset } from "./foldAssets.ts"
import { makeOwnedAssets, type OwnedPartition } from "./OwnedAssets.ts"
import { readAssetReading } from "./readAssetReading.ts"
import { commonHeaders, tell } from "./told.ts"

const counter = (name: string) =>
  Metric.withAttributes(Metric.counter(name, { incremental: true }), { service: SERVICE })
const stored = counter("argusiq_asset_frames_total")
const lateReadings = counter("argusiq_late_asset_readings_total")

/** How often states are saved, in milliseconds. */
export const SaveInterval = Context.Reference<number>("argusiq/services/asset-health/SaveInterval", {
  defaultValue: () => 30_000
})
/** Assets saved before the partition goes on: what comes of it waits meanwhile. */
const SAVED_AT_ONCE = 100
/** Assets encoded before others are let in. */
const ENCODED_AT_ONCE = 20

const nothing: Outcome = { publish: [], deadLetters: [] }

interface Arrived {
  readonly readings: Array<AssetReading>
  readonly headers: Array<StoredRecord["headers"]>
}

const open = (records: ReadonlyArray<StoredRecord>) => {
  const arrived = new Map<string, Arrived>()
  const deadLetters: Array<Outcome["deadLetters"][number]> = []
  for (const record of records) {
    const read = readAssetReading(record)
    if (Result.isFailure(read)) {
      deadLetters.push({ record, error: read.failure })
      continue
    }
    const reading = read.success
    const others = arrived.get(reading.assetId)
    if (others === undefined) arrived.set(reading.assetId, { readings: [reading], headers: [record.headers] })
    else {
      others.readings.push(reading)
      others.headers.push(record.headers)
    }
  }
  return { arrived, deadLetters }
}

export const assetHealth: Effect.Effect<Consumer, never, AssetProfiles | Bus | PipelineSql | Sandbox> = Effect.gen(
  function* () {
    const profiles = yield* AssetProfiles
    const sql = yield* PipelineSql
    const bus = yield* Bus
    const sandbox = yield* Sandbox
    const reach = yield* Failpoints
    const saveInterval = yield* SaveInterval
    const clock = yield* Clock.Clock

    /** The assets, their parents, and the types of both. */
    const know = Effect.fnUntraced(function* (assetIds: Iterable<string>) {
      const own = yield* profiles.assets(assetIds)
      const parentIds = new Set<string>()
      for (const { parentId } of own.values()) if (parentId !== undefined && !own.has(parentId)) parentIds.add(parentId)
      const parents = parentIds.size === 0 ? new Map() : yield* profiles.assets(parentIds)
      const assets = parentIds.size === 0 ? own : new Map([...own, ...parents])
      const types = yield* profiles.types(new Set(assets.values().map(({ assetTypeId }) => assetTypeId)))
      return { assets, types } satisfies KnownAssets
    })
    const owned = yield* makeOwnedAssets(know, saveInterval)

    const store = (rows: AssetBatch) =>
      Effect.gen(function* () {
        reach("storing")
        yield* storeAssets(sql, rows)
        yield* Metric.update(stored, rows.frames.length)
        yield* Metric.update(lateReadings, rows.aside.length)
        reach("stored")
      })

    const process: Consumer["process"] = Effect.fnUntraced(function* (batch, _partitionTime, epoch) {
      const partition = yield* owned.of(batch, epoch)
      const { arrived, deadLetters } = open(batch.records)
      const { doubtful, doubtfulUntil } = partition
      if (doubtfulUntil !== undefined) {
        for (const [assetId, { readings }] of arrived) {
          const earliest = readings.reduce((least, { ts }) => Math.min(least, ts), doubtful.get(assetId) ?? Infinity)
          doubtful.set(assetId, earliest)
        }
      }
      // Those whose last doubtful record this is have to be told of anew, whether or not it brings something of them.
      const isCertain = doubtfulUntil !== undefined && batch.next >= doubtfulUntil
      if (isCertain)
        for (const assetId of doubtful.keys())
          if (!arrived.has(assetId)) arrived.set(assetId, { readings: [], headers: [] })
      const asked = Array.from(arrived, ([assetId, { readings }]) => ({
        assetId,
        tenantId: readings[0]?.tenantId ?? partition.assets.get(assetId)?.tenantId ?? ""
      }))
      const before = yield* owned.assets(partition, asked)
      const known = yield* know(arrived.keys())
      const folded = yield* withExpressions(sandbox, (evaluate) =>
        Array.from(arrived, ([assetId, { readings }]) => {
          const one = foldAsset(before.get(assetId)!, readings, known, evaluate)
          return isCertain && one !== undefined ? retellAsset(one, known, evaluate, doubtful.get(assetId)!) : one
        })
      )
      const done = folded.filter((one): one is FoldedAsset => one !== undefined)
      const { publish, rows } = tell(done, known, (assetId) => commonHeaders(arrived.get(assetId)!.headers))
      reach("folded-before-store")
      const isEmpty = rows.frames.length + rows.aside.length + rows.gone.length === 0
      return {
        publish,
        deadLetters,
        ...(!isEmpty && { store: store(rows) }),
        stored: () => {
          owned.put(
            partition,
            done.map(({ asset }) => asset)
          )
          partition.next = batch.next
          if (isCertain) {
            partition.doubtfulUntil = undefined
            doubtful.clear()
          }
          reach("committed")
        }
      }
    })

    /** What rebuilds have made of assets in memory since they were loaded. */
    const takeRebuilt = Effect.fnUntraced(function* (
      partition: OwnedPartition,
      revisions: ReadonlyMap<string, number>
    ) {
      const raised = [...revisions].flatMap(([assetId, revision]) =>
        (partition.assets.get(assetId)?.told ?? revision) === revision ? [] : [assetId]
      )
      if (raised.length === 0) return undefined
      const known = yield* know(raised)
      const rows = yield* loadAssets(sql, raised)
      const folded = yield* withExpressions(sandbox, (evaluate) =>
        rows.map((row) => rebaseAsset(partition.assets.get(row.assetId)!, row, known, evaluate))
      )
      const done = folded.filter((one): one is FoldedAsset => one !== undefined)
      const { publish, rows: told } = tell(done, known, () => ({}))
      return {
        publish,
        deadLetters: [],
        store: Effect.andThen(
          store(told),
          Effect.sync(() => reach("stored-before-publish"))
        ),
        stored: () =>
          owned.put(
            partition,
            done.map(({ asset }) => asset)
          ),
        tickAtOnce: true
      } satisfies Outcome
    })

    const encode = Effect.fnUntraced(function* (partition: OwnedPartition, ids: ReadonlyArray<string>) {
      const known = yield* know(ids)
      const limit = yield* settledTime(sql)
      const encoded: Array<EncodedAsset> = []
      for (const assetId of ids) {
        const asset = partition.assets.get(assetId)
        if (asset === undefined || !known.assets.has(assetId)) continue
        const settled = settleAsset(asset, known, limit)
        encoded.push({ asset: settled, ...encodeAsset(settled) })
        if (encoded.length % ENCODED_AT_ONCE === 0) yield* Effect.yieldNow
      }
      return encoded
    })

    const save = Effect.fnUntraced(function* (at: TopicPartition, partition: OwnedPartition) {
      const now = yield* Clock.currentTimeMillis
      const { next, savedNext } = partition
      if (partition.round === undefined) {
        if (next === undefined || next === savedNext || now - partition.savedAt < partition.saveEvery) return nothing
        partition.round = { next, waiting: [...partition.unsaved], tookMillis: 0 }
        partition.savedAt = now
      }
      const { round } = partition
      const ids = round.waiting.slice(0, SAVED_AT_ONCE)
      const isLast = ids.length === round.waiting.length
      const rebuilt = yield* takeRebuilt(partition, yield* revisionsOf(sql, ids))
      if (rebuilt !== undefined) return rebuilt
      const encoded = yield* encode(partition, ids)
      let isSaved = false
      return {
        ...nothing,
        store: Effect.gen(function* () {
          reach("saving")
          isSaved = yield* saveAssets(sql, at, bus.logId, isLast ? round.next : undefined, encoded)
        }),
        stored: () => {
          // A rebuild came in between: what it did is taken over first.
          if (!isSaved) return
          round.waiting.splice(0, ids.length)
          round.tookMillis += clock.currentTimeMillisUnsafe() - now
          for (const { asset } of encoded) partition.assets.set(asset.assetId, asset)
          for (const assetId of ids) partition.unsaved.delete(assetId)
          if (!isLast) return
          partition.round = undefined
          partition.saveEvery = savingPause(saveInterval, round.tookMillis)
          partition.savedNext = round.next
          reach("saved")
        }
      } satisfies Outcome
    })

    /** What lies in the log is read, as far as it is; and what follows from that of all partitions. */
    const noteProgress = Effect.fnUntraced(function* (at: TopicPartition, partition: OwnedPartition) {
      const clock = yield* clockOf(sql)
      const { end, start } = yield* Effect.catchTag(bus.range(at), "UnknownTopic", Effect.die)
      const next = partition.next ?? start
      const { ahead } = partition
      if (next >= end) yield* noteRead(sql, at.partition, clock)
      else if (ahead !== undefined && next >= ahead.end) yield* noteRead(sql, at.partition, ahead.clock)
      if (ahead === undefined || next >= ahead.end) partition.ahead = { clock, end }
      if (at.partition !== 0) return
      const { candidates, settled } = nextRound(partition.candidates, yield* progressOf(sql, bus.partitions))
      partition.candidates = candidates
      if (settled !== undefined) yield* noteSettled(sql, settled)
    })

    const tick: NonNullable<Consumer["tick"]> = Effect.fnUntraced(function* (at, _partitionTime, epoch) {
      // One of the partitions cares for what waits for its transaction.
      if (at.partition === 0) yield* showOverdue(sql)
      const partition = yield* owned.of(at, epoch)
      yield* noteProgress(at, partition)
      return yield* save(at, partition)
    })

    return {
      service: SERVICE,
      group: Groups.assetHealth,
      topics: [Topics.assetReadings],
      offsets: "postgres",
      maxWaitMillis: 100,
      maxDriftMicros: MAX_DRIFT_MICROS,
      process,
      tick
    }
  }
)
