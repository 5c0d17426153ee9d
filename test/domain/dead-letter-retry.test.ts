import { BRIDGE_GROUP, deadLetterRecord } from "@argusiq/domain/dead-letter.ts"
import {
  addressOfRefused,
  checkAgain,
  restamped,
  type Retry,
  retryHeaders,
  type StampedVersion
} from "@argusiq/domain/dead-letter-retry.ts"
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { assert, it } from "@effect/vitest"
import { Result } from "effect"
import { compiled } from "./compiled.ts"

const [deviceId, otherId, tenantId, deviceTypeId] = [
  "01890a5d-ac96-774b-bcce-b302099a8051",
  "01890a5d-ac96-774b-bcce-b302099a8052",
  "01890a5d-ac96-774b-bcce-b302099a8053",
  "01890a5d-ac96-774b-bcce-b302099a8054"
]
const device = { deviceId, tenantId, deviceTypeId, status: "active", sequence: 1 } as unknown as DeviceProfile

const envelope = {
  "message-id": "0190a0a0-0000-7000-8000-000000000001",
  "tenant-id": tenantId,
  "device-id": deviceId,
  "received-at": "1763700000000000",
  source: "mqtt"
}
const letter = (group: string, headers: Readonly<Record<string, string>> = envelope) =>
  deadLetterRecord({
    record: { topic: Topics.endpoint, partition: 1, offset: 7n, key: deviceId, value: new Uint8Array(), headers },
    error: new Poison({ reason: "ExtractionFailed", message: "no temperature", path: "$.t" }),
    group,
    stage: "normalizer",
    failedAt: 1_763_700_000_000_001
  }).headers
const retry = (more: Partial<Retry> = {}): Retry => ({
  id: "8",
  group: "argusiq.normalizer",
  attempts: 2,
  entry: null,
  configAt: null,
  ...more
})

it("a retry carries the envelope as it was, who takes it, and nothing of the failure but how often there was one", () => {
  assert.deepStrictEqual(retryHeaders(letter("argusiq.normalizer"), retry()), {
    ...envelope,
    "retry-of": "8",
    "dlq-attempts": "2",
    "retry-group": "argusiq.normalizer"
  })
  const before = { ...envelope, "retry-of": "8", "config-at": "5" }
  assert.deepInclude(retryHeaders(letter("argusiq.normalizer", before), retry({ configAt: 9, entry: 0 })), {
    "retry-entry": "0",
    "config-at": "9"
  })
  assert.notProperty(retryHeaders(letter("argusiq.normalizer", before), retry()), "config-at")
})

it("what the bridge refused is addressed to no group: all are to take it", () => {
  assert.notProperty(retryHeaders(letter(BRIDGE_GROUP), retry({ group: BRIDGE_GROUP })), "retry-group")
})

const version = (number: number, effectiveAt: number, processingMode: "endpoint" | "gateway"): StampedVersion => ({
  number,
  effectiveAt,
  compiled: Result.succeed(compiled({ processingMode }))
})
const stamped = { ...envelope, "device-type-id": otherId, "type-version": "1" }

it("a retry is stamped anew with the version at received-at, or at config-at", () => {
  const versions = [
    version(1, 0, "endpoint"),
    version(2, 1_763_700_000_000_000, "endpoint"),
    version(3, 2e15, "endpoint")
  ]
  const stampAt = (headers: Readonly<Record<string, string>>) => restamped(headers, Topics.endpoint, device, versions)
  assert.deepInclude(stampAt(stamped), { "type-version": "2", "device-type-id": deviceTypeId })
  assert.deepInclude(stampAt({ ...stamped, "config-at": "1" }), { "type-version": "1" })
  assert.deepInclude(stampAt({ ...stamped, "config-at": String(3e15) }), { "type-version": "3" })
})

it("the stamp stays where there was none, where the device is gone, and where the message would go another way by it", () => {
  const versions = [version(1, 0, "gateway")]
  assert.strictEqual(restamped(envelope, Topics.raw, device, versions), envelope)
  assert.strictEqual(restamped(stamped, Topics.endpoint, undefined, versions), stamped)
  assert.strictEqual(restamped(stamped, Topics.endpoint, device, []), stamped)
  assert.strictEqual(restamped(stamped, Topics.endpoint, device, versions), stamped)
})

const refused = (
  topic: string | undefined,
  headers: Readonly<Record<string, string>>,
  found?: DeviceProfile,
  size = 10
) => {
  const all = topic === undefined ? headers : { ...headers, "mqtt-topic": topic }
  const checked = checkAgain(all, size, addressOfRefused(all), found)
  return Result.isFailure(checked) ? checked.failure.reason : undefined
}
const unowned = { "message-id": envelope["message-id"] }

it("the bridge's checks run again on what it refused", () => {
  const short = `devices/${deviceId}/telemetry`
  assert.isUndefined(refused(short, unowned, device))
  assert.isUndefined(refused(undefined, envelope, device))
  assert.strictEqual(refused(short, unowned), "UnknownDevice")
  assert.strictEqual(refused("nonsense", unowned, device), "InvalidTopic")
  assert.strictEqual(refused(undefined, unowned, device), "InvalidTopic")
  assert.strictEqual(refused(`v1/telemetry/${otherId}/${deviceId}`, unowned, device), "TenantMismatch")
  assert.strictEqual(refused(short, unowned, { ...device, status: "decommissioned" }), "DeviceDecommissioned")
  assert.strictEqual(refused(short, { ...unowned, "payload-bytes": "9000000" }, device), "PayloadTooLarge")
})

it("a message whose sender was known never enters as another device's", () => {
  const other = { ...device, deviceId: otherId } as unknown as DeviceProfile
  const foreign = { ...other, tenantId: otherId } as unknown as DeviceProfile
  assert.strictEqual(refused(`devices/${otherId}/telemetry`, envelope, other), "InvalidTopic")
  assert.strictEqual(refused(`devices/${otherId}/telemetry`, envelope, foreign), "TenantMismatch")
})
