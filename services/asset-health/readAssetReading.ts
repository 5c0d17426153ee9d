/**
 * The value of a record of `telemetry.asset_readings.v1`.
 * @module
 */
import type { AssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { parseRecord } from "@argusiq/domain/record-json.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { sharedTexts } from "@argusiq/layers/cache/sharedTexts.ts"
import { Result } from "effect"

/** A fold keeps a reading for half a minute and longer: with the ids of its entities shared it takes half of the memory. */
const shared = sharedTexts(200_000)

const withSharedIds = (reading: AssetReading): AssetReading => {
  const common = { assetId: shared(reading.assetId), tenantId: shared(reading.tenantId) }
  return reading.kind === "child"
    ? { ...reading, ...common, childId: shared(reading.childId) }
    : { ...reading, ...common, linkId: shared(reading.linkId), sourceDeviceId: shared(reading.sourceDeviceId) }
}

export const readAssetReading = (record: StoredRecord) =>
  Result.map(parseRecord<AssetReading>(record, "an asset's reading"), withSharedIds)
