/**
 * The value of a record of `telemetry.asset_readings.v1`.
 * @module
 */
import type { AssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { parseRecord } from "@argusiq/domain/record-json.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"

export const readAssetReading = (record: StoredRecord) => parseRecord<AssetReading>(record, "an asset's reading")
