/** Configuration takes effect while the platform runs: new devices at once, changed types for what comes after. */
import { Topics } from "@argusiq/domain/topics.ts"
import { assert, describe, it } from "@effect/vitest"
import { connectAsync } from "mqtt"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll } from "vitest"
import { type Device, eventually, PlatformProcess } from "../support/PlatformProcess.ts"
import { connectSuperuser } from "../support/superuser.ts"

interface Frame {
  readonly version: number
  readonly metrics: Readonly<Record<string, number>>
  /** Epoch milliseconds. */
  readonly received: number
}

describe("configuration while the platform runs", () => {
  let platform: PlatformProcess

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare()).start()
  }, 90_000)
  afterAll(() => platform.dispose())

  const connectDevice = ({ id, key }: Device) =>
    connectAsync(`mqtt://127.0.0.1:${platform.mqttPort}`, { username: id, password: key, reconnectPeriod: 0 })
  const telemetryOf = ({ id }: Device) => `devices/${id}/telemetry`

  const framesOf = async (device: Device, atLeast: number) => {
    const sql = await connectSuperuser(platform.dataDirectory)
    try {
      return await eventually(`${atLeast} readings`, 60, async () => {
        const frames = await sql.query<Frame>(
          `select config_version as version, metrics, extract(epoch from received_at)::float8 * 1000 as received
           from telemetry_frames where entity_id = '${device.id}' order by received_at`
        )
        return frames.length >= atLeast ? frames : undefined
      })
    } finally {
      await sql.close()
    }
  }

  it("accepts the first publish of each of ten devices and types created the moment before", async () => {
    for (let round = 0; round < 10; round++) {
      const type = await platform.createDeviceType(`Type ${round}`, { processingMode: "endpoint" })
      const device = await platform.createDevice(`Device ${round}`, type)
      const client = await connectDevice(device)
      await client.publishAsync(telemetryOf(device), JSON.stringify({ round }), { qos: 1 })
      await client.endAsync()
      const { status } = await platform.request(
        "POST",
        "/api/v1/telemetry",
        { metrics: { round: round + 0.5 } },
        { authorization: `Bearer ${device.key}` }
      )
      assert.strictEqual(status, 202)
      const frames = await framesOf(device, 2)
      assert.deepStrictEqual(
        frames.map(({ metrics, version }) => [metrics["round"], version]),
        [
          [round, 1],
          [round + 0.5, 1]
        ]
      )
    }
  })

  it("accepts a device whose id was refused the moment before it existed under its external id", async () => {
    const type = await platform.createDeviceType("Late", { processingMode: "endpoint" })
    const { organizationId } = await platform.api<{ organizationId: string }>("GET", `/device-types/${type}`)
    const device = await platform.createDevice("Late", type)
    const client = await connectDevice(device)
    const topic = `v1/telemetry/${organizationId}/BOILER-3`
    await client.publishAsync(topic, '{"n":1}', { qos: 1 })
    await platform.api("PATCH", `/devices/${device.id}`, { externalId: "BOILER-3" })
    await client.publishAsync(topic, '{"n":2}', { qos: 1 })
    await client.endAsync()
    const frames = await framesOf(device, 1)
    assert.deepStrictEqual(
      frames.map(({ metrics }) => metrics),
      [{ n: 2 }]
    )
  })

  it("applies a published type to what is received from then on, within 3 s; what was received before keeps the old version", async () => {
    const rule = (path: string) => ({
      processingMode: "endpoint",
      extractionRules: { value: { path, type: "numeric" } }
    })
    const type = await platform.createDeviceType("Changing", rule("$.a"))
    const device = await platform.createDevice("Changing", type)
    const client = await connectDevice(device)
    let sent = 0
    const publish = async () => {
      sent += 1
      await client.publishAsync(telemetryOf(device), JSON.stringify({ a: 1, b: 2 }), { qos: 1 })
    }
    await publish()
    await platform.api("PUT", `/device-types/${type}/draft`, { config: rule("$.b"), note: "b instead of a" })
    await publish()
    await platform.api("POST", `/device-types/${type}/publish`)
    const published = Date.now()
    while (Date.now() - published < 4_000) {
      await publish()
      await sleep(20)
    }
    await client.endAsync()

    const { items } = await platform.api<{
      readonly items: ReadonlyArray<{ readonly number: number; readonly effectiveAt: string }>
    }>("GET", `/device-types/${type}/versions`)
    const effectiveAt = Date.parse(items.find(({ number }) => number === 2)?.effectiveAt ?? "")
    assert.isAtMost(effectiveAt - published, 3_000)
    const frames = await framesOf(device, sent)
    assert.lengthOf(frames, sent)
    for (const { metrics, received, version } of frames) {
      assert.strictEqual(version, received >= effectiveAt ? 2 : 1, `received ${received}, in force at ${effectiveAt}`)
      assert.deepStrictEqual(metrics, { value: version === 2 ? 2 : 1 })
    }
    assert.isAbove(frames.filter(({ version }) => version === 1).length, 10)
    assert.isAbove(frames.filter(({ version }) => version === 2).length, 10)
    const dead = await platform.api<{ readonly items: ReadonlyArray<unknown> }>(
      "GET",
      `/topics/${Topics.endpoint}.dlq/records`
    )
    assert.deepStrictEqual(dead.items, [])
  })
})
