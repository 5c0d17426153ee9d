import { isReplayable, replayCopy, replayRecord, type ReplayParameters } from "@argusiq/domain/replay.ts"
import { assert, describe, it } from "@effect/vitest"

const job = "01890a5d-ac96-774b-bcce-b302099a8057"
const tenant = "01890a5d-ac96-774b-bcce-000000000001"
const parameters: ReplayParameters = {
  from: 1_000,
  to: 2_000,
  source: "raw",
  targetStream: "telemetry.raw.v1",
  sideEffects: false
}

describe("a replayed message", () => {
  it("has the headers that the bridge gave it, and says which job sends it without side effects", () => {
    const record = replayCopy(
      {
        messageId: "m",
        tenantId: tenant,
        deviceId: "d",
        receivedAt: 1_500,
        payload: Buffer.from("{}"),
        contentType: "application/json",
        source: "mqtt",
        mqttTopic: "devices/d/telemetry",
        clientId: null
      },
      job,
      parameters
    )
    assert.deepStrictEqual(record.headers, {
      "message-id": "m",
      "tenant-id": tenant,
      "device-id": "d",
      "received-at": "1500",
      source: "mqtt",
      "content-type": "application/json",
      "mqtt-topic": "devices/d/telemetry",
      "replay-job": job,
      "side-effects": "off"
    })
    assert.strictEqual(record.key, "d")
  })

  it("from the topic keeps every header that it had", () => {
    const value = Buffer.from("{}")
    const record = replayRecord({ key: "d", value, headers: { traceparent: "00-a" } }, job, {
      ...parameters,
      sideEffects: true
    })
    assert.deepStrictEqual(record.headers, { traceparent: "00-a", "replay-job": job, "side-effects": "on" })
    assert.strictEqual(record.value, value)
  })

  it("is the organisation's own, of a chosen device, received in the span, and neither a replay nor a retry", () => {
    const headers = { "tenant-id": tenant, "device-id": "d", "received-at": "1000" }
    const isChosen = (further: Readonly<Record<string, string>>) =>
      isReplayable({ ...headers, ...further }, tenant, (id) => id === "d", parameters)
    assert.isTrue(isChosen({}))
    assert.isTrue(isChosen({ "received-at": "1999" }))
    for (const other of [
      { "received-at": "999" },
      { "received-at": "2000" },
      { "received-at": "soon" },
      { "tenant-id": job },
      { "device-id": "e" },
      { "replay-job": job },
      { "retry-of": job }
    ]) {
      assert.isFalse(isChosen(other as Readonly<Record<string, string>>), JSON.stringify(other))
    }
  })
})
