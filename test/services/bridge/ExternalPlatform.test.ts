import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { connect } from "node:net"
import { Mosquitto } from "../../support/components/mosquitto.ts"
import { DeviceConnection } from "../../support/DeviceConnection.ts"
import { eventually, PlatformProcess } from "../../support/PlatformProcess.ts"

interface Ready {
  readonly dependencies: ReadonlyArray<{ readonly name: string; readonly state: string }>
}

describe("a platform with MQTT_URL", () => {
  let broker: Mosquitto
  let platform: PlatformProcess

  beforeAll(async () => {
    broker = await (await Mosquitto.prepare({ devices: [] })).start()
    platform = await PlatformProcess.prepare({ env: { MQTT_URL: broker.url } })
    await platform.start()
  }, 60_000)
  afterAll(async () => {
    await platform?.dispose()
    await broker?.dispose()
  })

  const brokerState = async () => {
    const { body, status } = await platform.request("GET", "/ready")
    return { status, state: (body as Ready).dependencies.find(({ name }) => name === "mqtt-broker")?.state }
  }

  it("does not listen for MQTT itself, and does not print the broker's password", async () => {
    const error = await new Promise((resolve) => {
      const socket = connect(platform.mqttPort, "127.0.0.1", () => resolve(undefined))
      socket.once("error", resolve)
    })
    assert.match(String(error), /ECONNREFUSED/)
    assert.include(platform.log(), "MQTT_URL=<redacted>")
    assert.notInclude(platform.log(), "p@ss")
    assert.notInclude(platform.log(), "p%40ss")
  })

  it("stores what a device publishes to the broker, also what it published while the platform was away", async () => {
    const type = await platform.createDeviceType("Thermometer", { processingMode: "endpoint" })
    const device = await platform.createDevice("At the broker", type)
    await broker.admit([device])
    const connection = new DeviceConnection({ port: broker.port, deviceId: device.id, key: device.key, window: 10 })
    const latest = async () => {
      const { metrics } = await platform.api<{ metrics: Record<string, { value: number }> }>(
        "GET",
        `/telemetry/device/${device.id}/latest`
      )
      return metrics["temperature"]?.value
    }
    const send = async (temperature: number) => {
      connection.publish({ sequence: temperature, payload: Buffer.from(JSON.stringify({ metrics: { temperature } })) })
      await eventually("the broker's acknowledgement", 30, () => (connection.outstanding === 0 ? true : undefined))
    }
    try {
      await send(20)
      await eventually("the first reading", 30, async () => ((await latest()) === 20 ? true : undefined))
      await platform.stop()
      await send(21)
      await platform.start()
      await eventually("the second reading", 30, async () => ((await latest()) === 21 ? true : undefined))
    } finally {
      connection.close()
    }
  }, 60_000)

  it("is not ready while the broker is away, and is again when it is back", async () => {
    await eventually("ready", 30, async () => ((await brokerState()).state === "up" ? true : undefined))
    await broker.stop()
    await eventually("not ready", 30, async () => ((await brokerState()).state === "down" ? true : undefined))
    assert.strictEqual((await brokerState()).status, 503)
    await broker.start()
    await eventually("ready again", 60, async () => ((await brokerState()).status === 200 ? true : undefined))
  }, 60_000)
})
