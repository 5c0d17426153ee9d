/**
 * Telemetry for those who watch a device or an asset: only records that concern one are opened, and what they say is told at
 * most four times a second.
 * @module
 */
import type { AssetTelemetry } from "@argusiq/domain/asset/asset-reading.ts"
import { onlyDeviceOf } from "@argusiq/domain/envelope.ts"
import type { AssetId, DeviceId } from "@argusiq/domain/ids.ts"
import { movesLatest } from "@argusiq/domain/normalize.ts"
import { parseNormalized, parseRecord } from "@argusiq/domain/record-json.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { Batch, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { Result } from "effect"
import type { Audience } from "./Audience.ts"
import type { Watch, Watched } from "./Watched.ts"

/** A replay tells of the past, and what one group takes again was told before. */
export const isNews = ({ headers }: StoredRecord): boolean =>
  headers["replay-job"] === undefined && headers["retry-group"] === undefined

export class Telemetry {
  readonly #watched: Watched
  readonly #audience: Audience
  /** Those that have something to tell. */
  readonly #waiting = new Set<Watch>()

  constructor(watched: Watched, audience: Audience) {
    this.#watched = watched
    this.#audience = audience
  }

  /** Of `telemetry.normalized.v1` or `telemetry.asset.v1`. `now` as for {@link flush}. */
  take({ records, topic }: Batch, now: number): void {
    if (topic === Topics.asset) {
      if (!this.#watched.hasAssets) return
      for (const record of records) this.#takeAsset(record)
    } else {
      if (!this.#watched.hasDevices) return
      for (const record of records) this.#takeMessage(record)
    }
    this.flush(now)
  }

  /** Tells what is due. `now` in milliseconds of a clock that does not go back. */
  flush(now: number): void {
    for (const watch of this.#waiting) {
      const due = watch.values.dueAt
      if (watch.connections > 0 && due !== undefined && due > now) continue
      this.#waiting.delete(watch)
      if (watch.connections > 0) this.#tell(watch, now)
    }
  }

  #takeMessage(record: StoredRecord): void {
    const { headers, key } = record
    const only = onlyDeviceOf(headers)
    const isWatched =
      only === undefined ? this.#watched.mayHear(headers["device-id"] ?? key) : this.#watched.device(only) !== undefined
    if (!isWatched || !isNews(record)) return
    const read = parseNormalized(record)
    if (Result.isFailure(read)) return
    const { readings, receivedAt, tenantId } = read.success
    for (const reading of readings) {
      const watch = this.#watched.device(reading.deviceId)
      if (watch === undefined || watch.tenantId !== tenantId || !movesLatest(reading, receivedAt)) continue
      watch.values.offer(reading)
      this.#waiting.add(watch)
    }
  }

  #takeAsset(record: StoredRecord): void {
    const watch = this.#watched.asset(record.key)
    if (watch === undefined || !isNews(record)) return
    const read = parseRecord<AssetTelemetry>(record, "an asset's telemetry")
    if (Result.isFailure(read)) return
    const { health, metrics, quality, retracted, tenantId, ts } = read.success
    if (watch.tenantId !== tenantId) return
    if (retracted) {
      if (!watch.values.retract(ts)) return
      const { entityType, id } = watch
      const payload = { reason: "corrected", entityType, entityId: id } as const
      this.#audience.tell([watch.room], { name: "refetch", payload })
      return
    }
    watch.values.offer({ ts, metrics, ...(quality !== undefined && { quality }), score: health?.score })
    this.#waiting.add(watch)
  }

  #tell({ entityType, id, room, values }: Watch, now: number): void {
    const told = values.take(now)
    if (told === undefined) return
    if (entityType === "device") {
      this.#audience.tellTelemetry(room, "telemetry:new", { deviceId: id as DeviceId, ...told.latest })
      return
    }
    const assetId = id as AssetId
    const healthScore = told.score ?? null
    this.#audience.tellTelemetry(room, "asset:telemetry", { assetId, ...told.latest, healthScore })
    if (told.scoreChange === undefined || healthScore === null) return
    const { at, previous = null } = told.scoreChange
    const payload = { assetId, healthScore, previousScore: previous, timestamp: at }
    this.#audience.tellTelemetry(room, "asset:healthscore", payload)
  }
}
