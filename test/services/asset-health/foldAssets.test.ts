import {
  beginEpoch,
  foldAsset,
  type KnownAssets,
  newAsset,
  recall,
  retellAsset
} from "@argusiq/asset-health/foldAssets.ts"
import type { DeviceAssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import { evaluateHere } from "@argusiq/domain/expression/memo.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"

const SECOND = 1_000_000
const START = 1_700_000_000 * SECOND
const ASSET = "00000000-0000-4000-8000-000000000001"
const TENANT = "00000000-0000-4000-8000-0000000000aa"
const config = Schema.decodeUnknownSync(AssetTypeConfig)({
  metricDefinitions: [{ key: "load", displayName: "Load", dataType: "numeric" }]
})
const known = {
  assets: new Map([[ASSET, { assetId: ASSET, tenantId: TENANT, assetTypeId: "type", status: "active" }]]),
  types: new Map([["type", { versions: [{ number: 1, effectiveAt: 0, config }] }]])
} as object as KnownAssets

const reading = (seconds: number, load: number, role: DeviceAssetReading["role"] = "primary"): DeviceAssetReading => {
  const ts = START + seconds * SECOND
  return {
    kind: "device",
    assetId: ASSET,
    tenantId: TENANT,
    readingId: uuidV5(ASSET, `${role} ${seconds}`),
    sourceReadingId: uuidV5(ASSET, `${role} ${seconds}`),
    sourceMessageId: uuidV5(ASSET, `message ${role} ${seconds}`),
    sourceDeviceId: uuidV5(ASSET, role),
    linkId: uuidV5(ASSET, `link ${role}`),
    role,
    assetTypeVersion: 1,
    ts,
    receivedAt: ts,
    metrics: { load }
  } as object as DeviceAssetReading
}
const before = newAsset({ assetId: ASSET, tenantId: TENANT }, 1n)
const seconds = (times: Iterable<string>) => Array.from(times, (ts) => (Number(ts) - START) / SECOND)

describe("what an asset's readings come to", () => {
  it("is taken back by a late reading, though it was told by the process before", () => {
    const told = [reading(0, 1, "backup"), reading(2, 1, "backup")]
    const late = [reading(1, 2)]
    const same = foldAsset(foldAsset(before, told, known, evaluateHere)!.asset, late, known, evaluateHere)!
    assert.deepStrictEqual(seconds(same.retracted), [2])
    const another = foldAsset(recall(before, told, known), late, known, evaluateHere)!
    assert.deepStrictEqual(seconds(another.retracted), [2])
    assert.deepStrictEqual([...another.changed], [...same.changed])
  })

  it("is told again from the first reading on of which nobody knows, and not before", () => {
    const readings = [0, 10, 20, 30, 40].map((at) => reading(at, at))
    const { asset } = foldAsset(before, [...readings, reading(35, 1, "backup")], known, evaluateHere)!
    const folded = foldAsset(beginEpoch(asset, 2n), [], known, evaluateHere)!
    const again = retellAsset(folded, known, evaluateHere, START + 20 * SECOND)
    assert.deepStrictEqual(seconds(again.changed.keys()), [20, 30, 40])
    assert.deepStrictEqual(seconds(again.retracted), [35])
    assert.isAbove(again.asset.arrivals, asset.arrivals)
  })

  it("has revisions above all that were told under the epoch before, whether or not that was saved", () => {
    const one = beginEpoch(before, 2n)
    const { asset } = foldAsset(one, [reading(0, 1), reading(1, 1)], known, evaluateHere)!
    assert.isAbove(asset.arrivals, one.arrivals)
    assert.isAbove(beginEpoch(before, 3n).arrivals, asset.arrivals)
    assert.strictEqual(beginEpoch(asset, 2n).arrivals, asset.arrivals)
    assert.isTrue(Number.isSafeInteger(beginEpoch(before, 2n ** 24n).arrivals))
  })
})
