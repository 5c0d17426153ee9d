/**
 * An asset's recent readings in rows that were saved before readings were packed: read, and not written.
 * @module
 */
import type { AssetReading, ChildAssetReading, DeviceAssetReading } from "@argusiq/domain/asset/asset-reading.ts"

type Origin = Pick<DeviceAssetReading, "assetTypeVersion" | "linkId" | "role" | "sourceDeviceId">
type Rest = Pick<DeviceAssetReading, "quality" | "transactionId">
/** Place of the origin, and what differs from reading to reading. */
type Kept = readonly [
  origin: number,
  readingId: string,
  sourceReadingId: string,
  sourceMessageId: string,
  ts: number,
  receivedAt: number,
  metrics: DeviceAssetReading["metrics"],
  rest?: Rest
]
type KeptChild = Omit<ChildAssetReading, "assetId" | "kind" | "tenantId">

export interface KeptInputs {
  readonly origins: ReadonlyArray<Origin>
  /** In their order: children's are objects. */
  readonly inputs: ReadonlyArray<Kept | KeptChild>
}

/** The readings of this asset as they were. */
export const restoreInputs = (
  { inputs, origins }: KeptInputs,
  assetId: string,
  tenantId: string
): ReadonlyArray<AssetReading> =>
  inputs.map((kept) => {
    const common = { assetId, tenantId }
    if (!Array.isArray(kept)) return { ...kept, ...common, kind: "child" } as ChildAssetReading
    const [origin, readingId, sourceReadingId, sourceMessageId, ts, receivedAt, metrics, rest] = kept as Kept
    const own = { kind: "device", readingId, sourceReadingId, sourceMessageId, ts, receivedAt, metrics }
    return { ...common, ...origins[origin], ...own, ...rest } as DeviceAssetReading
  })
