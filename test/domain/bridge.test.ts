import { checkArrival, envelopeHeaders, parseTelemetryTopic } from "@argusiq/domain/bridge.ts"
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { EnvelopeHeaders } from "@argusiq/domain/envelope.ts"
import { publishPermission, subscribePermission } from "@argusiq/domain/mqtt-permission.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { deviceId, deviceTypeId, messageId, receivedAt, tenantId } from "./compiled.ts"

const other = "0190a5f0-7b1e-7c3d-8a2b-00000000000f"
const client = { deviceId, tenantId }

describe("topics", () => {
  it("address a device by its id or its external id", () => {
    assert.deepStrictEqual(parseTelemetryTopic(`devices/${deviceId}/telemetry`), {
      _tag: "ByDeviceId",
      deviceId,
      organizationId: undefined
    })
    assert.deepStrictEqual(parseTelemetryTopic(`v1/telemetry/${tenantId}/${deviceId.toUpperCase()}`), {
      _tag: "ByDeviceId",
      deviceId,
      organizationId: tenantId
    })
    assert.deepStrictEqual(parseTelemetryTopic(`v1/telemetry/${tenantId.toUpperCase()}/TS-001 2024`), {
      _tag: "ByExternalId",
      externalId: "TS-001 2024",
      organizationId: tenantId
    })
  })

  it.each([
    [
      "",
      "devices",
      `devices/${deviceId}`,
      `devices/${deviceId}/telemetry/`,
      `/devices/${deviceId}/telemetry`,
      "devices/TS-001/telemetry"
    ],
    [
      `v1/telemetry/${tenantId}`,
      `v1/telemetry/${tenantId}/`,
      `v1/telemetry/acme/${deviceId}`,
      `v1/telemetry/${tenantId}/${deviceId}/x`
    ],
    [
      `V1/telemetry/${tenantId}/${deviceId}`,
      `v1/telemetry/${tenantId}/+`,
      `v1/telemetry/${tenantId}/a#`,
      `v1/telemetry/${tenantId}/a\0`
    ],
    [
      "$SYS/broker/uptime",
      "#",
      `v2/telemetry/${tenantId}/${deviceId}`,
      `v1/telemetry/${tenantId}/${"x".repeat(256)}`,
      `v1/telemetry/${tenantId}/\ud800`
    ]
  ])("of another form are InvalidTopic: %j and others", (...topics) => {
    for (const topic of topics) {
      const parsed = parseTelemetryTopic(topic)
      assert.strictEqual(parsed._tag === "Invalid" ? parsed.error.reason : parsed._tag, "InvalidTopic", topic)
    }
  })

  it("of great length leave a short message", () => {
    const parsed = parseTelemetryTopic("x".repeat(60_000))
    assert.isBelow(parsed._tag === "Invalid" ? parsed.error.message.length : Infinity, 1_000)
  })
})

const device = (status: DeviceProfile["status"]) =>
  ({ deviceId, tenantId, deviceTypeId, status, sequence: 1 }) as DeviceProfile

describe("an arrival", () => {
  const arrival = { addressed: deviceId, organizationId: tenantId, device: device("active"), payloadBytes: 10 }
  const reason = (changed: Partial<Parameters<typeof checkArrival>[0]>) =>
    Result.match(checkArrival({ ...arrival, ...changed }), {
      onSuccess: () => "accepted",
      onFailure: (error) => error.reason
    })

  it.each<[outcome: string, changed: Partial<Parameters<typeof checkArrival>[0]>]>([
    ["accepted", {}],
    ["accepted", { organizationId: undefined }],
    ["accepted", { device: device("inactive") }],
    ["UnknownDevice", { device: undefined }],
    ["TenantMismatch", { organizationId: other }],
    ["DeviceDecommissioned", { device: device("decommissioned") }],
    ["PayloadTooLarge", { payloadBytes: 8_388_609 }],
    ["UnknownDevice", { device: undefined, organizationId: other, payloadBytes: 9e6 }],
    ["TenantMismatch", { device: device("decommissioned"), organizationId: other, payloadBytes: 9e6 }]
  ])("is %s with %j", (outcome, changed) => {
    assert.strictEqual(reason(changed), outcome)
  })

  it("of another tenant's device does not tell whose it is", () => {
    const { message } = Result.getOrThrow(Result.flip(checkArrival({ ...arrival, organizationId: other })))
    assert.notInclude(message, tenantId)
  })
})

it("headers are what their schema says, unknown ones absent", () => {
  const known = { messageId, tenantId, deviceId, receivedAt, source: "mqtt" as const }
  const headers = envelopeHeaders({
    ...known,
    mqttTopic: `devices/${deviceId}/telemetry`,
    clientId: deviceId,
    contentType: "application/cbor",
    traceparent: "00-x"
  })
  assert.deepStrictEqual(
    Schema.encodeSync(EnvelopeHeaders)(Schema.decodeUnknownSync(EnvelopeHeaders)(headers)),
    headers
  )
  const refused = envelopeHeaders({ ...known, tenantId: undefined, deviceId: undefined })
  assert.deepStrictEqual(Object.keys(refused).toSorted(), ["content-type", "message-id", "received-at", "source"])
})

const publish = (topic: string, resolved?: string) =>
  resolved === undefined
    ? publishPermission(client, parseTelemetryTopic(topic))._tag
    : publishPermission(client, parseTelemetryTopic(topic), resolved)._tag

describe("an MQTT client", () => {
  it("publishes to its own telemetry topics", () => {
    assert.strictEqual(publish(`devices/${deviceId}/telemetry`), "Allowed")
    assert.strictEqual(publish(`v1/telemetry/${tenantId}/${deviceId}`), "Allowed")
    assert.strictEqual(publish(`v1/telemetry/${tenantId}/TS-001`, deviceId), "Allowed")
  })

  it.each([
    [`devices/${other}/telemetry`, undefined],
    [`v1/telemetry/${tenantId}/${other}`, undefined],
    [`v1/telemetry/${other}/${deviceId}`, undefined],
    [`v1/telemetry/${other}/TS-001`, deviceId],
    [`v1/telemetry/${tenantId}/TS-001`, undefined],
    [`v1/telemetry/${tenantId}/TS-001`, other],
    [`devices/${deviceId}/commands/reboot`, undefined],
    ["$SYS/x", undefined],
    ["anything", undefined]
  ])("does not publish to %s", (topic, resolved) => {
    assert.strictEqual(publish(topic, resolved), "Refused")
  })

  it.each([
    `devices/${deviceId}/commands`,
    `devices/${deviceId}/commands/#`,
    `devices/${deviceId}/commands/+/set`,
    `v1/commands/${tenantId}/${deviceId}/#`
  ])("subscribes to %s", (filter) => {
    assert.strictEqual(subscribePermission(client, filter)._tag, "Allowed")
  })

  it.each([
    "#",
    "+",
    "/",
    "",
    "$SYS/#",
    "$SYS/broker/clients",
    `$share/group/devices/${deviceId}/commands/#`,
    `$queue/devices/${deviceId}/commands/#`,
    "devices/+/commands/#",
    `devices/${other}/commands/#`,
    `devices/${deviceId}/#`,
    `devices/${deviceId}/+`,
    `devices/${deviceId}/telemetry`,
    `devices/${deviceId}/commandsx`,
    `devices/${deviceId}/commands/#/x`,
    `devices/${deviceId}/commands/x#`,
    `devices/${deviceId}/commands/x+/y`,
    `devices/${deviceId}/commands#`,
    `v1/commands/${tenantId}/#`,
    `v1/commands/+/${deviceId}/#`,
    `v1/commands/${other}/${deviceId}/#`,
    `v1/telemetry/${tenantId}/${deviceId}`
  ])("does not subscribe to %s", (filter) => {
    assert.strictEqual(subscribePermission(client, filter)._tag, "Refused")
  })
})
