/**
 * An asset's recent readings as they are kept: what all of them have in common once, what comes from the same link once.
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

const isSame = (left: Origin, right: Origin): boolean =>
  left.linkId === right.linkId &&
  left.sourceDeviceId === right.sourceDeviceId &&
  left.role === right.role &&
  left.assetTypeVersion === right.assetTypeVersion

const restOf = ({ quality, transactionId }: DeviceAssetReading): Rest | undefined =>
  quality === undefined && transactionId === undefined
    ? undefined
    : { ...(quality !== undefined && { quality }), ...(transactionId !== undefined && { transactionId }) }

export const keepInputs = (readings: ReadonlyArray<AssetReading>): KeptInputs => {
  const origins: Array<Origin> = []
  const placeOf = ({ assetTypeVersion, linkId, role, sourceDeviceId }: DeviceAssetReading): number => {
    const origin = { assetTypeVersion, linkId, role, sourceDeviceId }
    const place = origins.findIndex((other) => isSame(other, origin))
    return place >= 0 ? place : origins.push(origin) - 1
  }
  const inputs = readings.map((reading): Kept | KeptChild => {
    if (reading.kind === "child") {
      const { assetId: _asset, kind: _kind, tenantId: _tenant, ...rest } = reading
      return rest
    }
    const { metrics, readingId, receivedAt, sourceMessageId, sourceReadingId, ts } = reading
    const rest = restOf(reading)
    const kept = [placeOf(reading), readingId, sourceReadingId, sourceMessageId, ts, receivedAt, metrics] as const
    return rest === undefined ? kept : [...kept, rest]
  })
  return { origins, inputs }
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
