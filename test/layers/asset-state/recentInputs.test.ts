import type { AssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { keepInputs, restoreInputs } from "@argusiq/layers/asset-state/recentInputs.ts"
import { assert, it } from "@effect/vitest"
import { randomUUID } from "node:crypto"

it("an asset's recent readings are the same after they were kept", () => {
  const common = { assetId: randomUUID(), tenantId: randomUUID() }
  const [one, other] = [randomUUID(), randomUUID()]
  const device = (linkId: string, extra: object = {}) => ({
    kind: "device",
    readingId: randomUUID(),
    ...common,
    assetTypeVersion: 3,
    sourceReadingId: randomUUID(),
    sourceMessageId: randomUUID(),
    sourceDeviceId: linkId,
    linkId,
    role: "primary",
    ts: 1,
    receivedAt: 2,
    metrics: { a: 1, b: "x", c: { d: [true] } },
    ...extra
  })
  const child = {
    kind: "child",
    readingId: randomUUID(),
    ...common,
    childId: randomUUID(),
    weight: 1,
    revision: 7,
    retracted: false,
    ts: 3,
    receivedAt: 4,
    metrics: {},
    health: 5
  }
  const readings = [
    device(one),
    device(other, { role: "backup", quality: { a: "uncertain" } }),
    child,
    device(one, { assetTypeVersion: 4, transactionId: randomUUID() }),
    device(one)
  ] as unknown as ReadonlyArray<AssetReading>
  const kept = keepInputs(readings)
  assert.strictEqual(kept.origins.length, 3)
  assert.deepStrictEqual(restoreInputs(JSON.parse(JSON.stringify(kept)), common.assetId, common.tenantId), readings)
})
