/**
 * The readings that a record brings to the rules.
 * @module
 */
import { parseRecord } from "@argusiq/domain/record-json.ts"
import type { AssetTelemetry } from "@argusiq/domain/asset/asset-reading.ts"
import type { Poison } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import type { NormalizedMessage, Reading } from "@argusiq/domain/readings.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { Result } from "effect"

/** A reading that is further ahead of the time at which it was received takes no part: its clock is wrong. */
export const MOST_AHEAD_MICROS = 60_000_000

export interface EntityReading {
  readonly entityId: string
  readonly tenantId: string
  readonly ts: Instant
  readonly readingId: string
  readonly receivedAt: Instant
  readonly metrics: Reading["metrics"]
  readonly quality?: Reading["quality"]
  readonly revision?: number
  readonly retracted?: boolean
}

export type ReadReadings = (record: StoredRecord) => Result.Result<ReadonlyArray<EntityReading>, Poison>

const nothing = Result.succeed<ReadonlyArray<EntityReading>>([])

/** A replay says whether what it brings may have effects. */
const takesPart = ({ headers }: StoredRecord): boolean => headers["side-effects"] !== "off"

const isTimely = ({ receivedAt, ts }: { readonly ts: Instant; readonly receivedAt: Instant }): boolean =>
  ts - receivedAt <= MOST_AHEAD_MICROS

/** Of `telemetry.normalized.v1`. */
export const readDeviceReadings: ReadReadings = (record) => {
  if (!takesPart(record)) return nothing
  return Result.map(parseRecord<NormalizedMessage>(record, "a reading"), ({ readings, receivedAt, tenantId }) =>
    readings.flatMap((reading) => {
      const { deviceId, metrics, quality, readingId, ts } = reading
      if (!isTimely({ ts, receivedAt })) return []
      return [
        { entityId: deviceId, tenantId, ts, readingId, receivedAt, metrics, ...(quality !== undefined && { quality }) }
      ]
    })
  )
}

/** Of `telemetry.asset.v1`. */
export const readAssetReadings: ReadReadings = (record) => {
  if (!takesPart(record)) return nothing
  return Result.map(parseRecord<AssetTelemetry>(record, "a reading"), (reading) =>
    isTimely(reading) ? [{ ...reading, entityId: reading.assetId }] : []
  )
}
