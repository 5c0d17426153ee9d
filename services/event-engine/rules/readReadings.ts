/**
 * The readings that a record brings to the rules.
 * @module
 */
import { parseNormalized, parseRecord } from "@argusiq/domain/record-json.ts"
import type { AssetTelemetry } from "@argusiq/domain/asset/asset-reading.ts"
import type { Poison } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import type { Reading } from "@argusiq/domain/readings.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { Result } from "effect"

/** A reading that is further ahead of the time at which it was received takes no part: its clock is wrong. */
export const MOST_AHEAD_MICROS = 60_000_000

/** Of a device or of an asset. */
export type EntityReading = AssetTelemetry | Reading

/** What a record brings. */
export interface Brought {
  readonly tenantId: string
  readonly receivedAt: Instant
  readonly readings: ReadonlyArray<EntityReading>
}

export type ReadReadings = (record: StoredRecord) => Result.Result<Brought, Poison>

const nothing = Result.succeed<Brought>({ tenantId: "", receivedAt: 0, readings: [] })

/** A replay says whether what it brings may have effects. */
const takesPart = ({ headers }: StoredRecord): boolean => headers["side-effects"] !== "off"

export const isTimely = ({ receivedAt }: Brought, { ts }: EntityReading): boolean =>
  ts - receivedAt <= MOST_AHEAD_MICROS

export const entityIdOf = (reading: EntityReading): string =>
  "assetId" in reading ? reading.assetId : reading.deviceId

/** Of `telemetry.normalized.v1`. */
export const readDeviceReadings: ReadReadings = (record) => (takesPart(record) ? parseNormalized(record) : nothing)

/** Of `telemetry.asset.v1`. */
export const readAssetReadings: ReadReadings = (record) => {
  if (!takesPart(record)) return nothing
  return Result.map(parseRecord<AssetTelemetry>(record, "a reading"), (reading) => ({
    tenantId: reading.tenantId,
    receivedAt: reading.receivedAt,
    readings: [reading]
  }))
}
