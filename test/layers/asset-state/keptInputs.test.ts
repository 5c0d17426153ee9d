import { type KeptInputs, restoreInputs } from "@argusiq/layers/asset-state/keptInputs.ts"
import { assert, it } from "@effect/vitest"

it("readings that were kept by origin are read as they were", () => {
  const common = { assetId: "asset", tenantId: "tenant" }
  const one = { assetTypeVersion: 3, linkId: "link 1", role: "primary", sourceDeviceId: "device 1" }
  const other = { assetTypeVersion: 4, linkId: "link 2", role: "backup", sourceDeviceId: "device 2" }
  const child = {
    readingId: "r2",
    childId: "child",
    weight: 1,
    revision: 7,
    retracted: false,
    ts: 3,
    receivedAt: 4,
    metrics: {},
    health: 5
  }
  const kept = {
    origins: [one, other],
    inputs: [
      [0, "r0", "s0", "m0", 1, 2, { a: 1, b: "x", c: { d: [true] } }],
      [1, "r1", "s1", "m1", 2, 3, {}, { quality: { a: "uncertain" }, transactionId: "t" }],
      child
    ]
  } as unknown as KeptInputs
  const reading = (number: number) => ({
    kind: "device",
    readingId: `r${number}`,
    sourceReadingId: `s${number}`,
    sourceMessageId: `m${number}`,
    ts: number + 1,
    receivedAt: number + 2,
    ...common
  })
  assert.deepStrictEqual<ReadonlyArray<object>>(restoreInputs(kept, common.assetId, common.tenantId), [
    { ...reading(0), ...one, metrics: { a: 1, b: "x", c: { d: [true] } } },
    { ...reading(1), ...other, metrics: {}, quality: { a: "uncertain" }, transactionId: "t" },
    { ...child, ...common, kind: "child" }
  ])
})
