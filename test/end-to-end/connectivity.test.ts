/** Online and offline of real devices on a real platform: what is told, how soon, and what is not told when the outage is ours. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { generate } from "mqtt-packet"
import { afterAll, beforeAll } from "vitest"
import { DeviceConnection } from "../support/DeviceConnection.ts"
import { type Device, eventually, PlatformProcess } from "../support/PlatformProcess.ts"
import { connectSuperuser } from "../support/superuser.ts"

/** Of the type that sends often. */
const LIMIT_SECONDS = 4
const OUTAGE_SECONDS = 6

interface Shown {
  readonly connectivityStatus: string
  readonly lastConnectivityChange: string | null
  readonly lastSeenAt: string | null
}

describe("a device's connection", () => {
  let platform: PlatformProcess
  let patient: string
  let impatient: string
  const open: Array<{ readonly close: () => void }> = []

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare()).start()
    patient = await platform.createDeviceType("Patient", { processingMode: "endpoint" })
    impatient = await platform.createDeviceType("Impatient", {
      processingMode: "endpoint",
      offlineAfterSeconds: LIMIT_SECONDS
    })
  }, 120_000)
  afterAll(async () => {
    for (const one of open) one.close()
    await platform.dispose()
  })

  const shown = ({ id }: Device) => platform.api<Shown>("GET", `/devices/${id}`)
  const becomes = (device: Device, status: string, seconds = 5) =>
    eventually(`${device.id} becoming ${status}`, seconds, async () => {
      const found = await shown(device)
      return found.connectivityStatus === status ? found : undefined
    })
  const told = async ({ id }: Device) => {
    const sql = await connectSuperuser(platform.dataDirectory)
    try {
      const rows = await sql.query<{ event_type: string; reason: string }>(
        `select event_type, payload ->> 'reason' as reason from system_events
         where entity_id = '${id}' and event_type in ('DEVICE_ONLINE', 'DEVICE_OFFLINE') order by sequence`
      )
      return rows.map(({ event_type, reason }) => `${event_type} ${reason}`)
    } finally {
      await sql.close()
    }
  }
  /** A connection that does not come back by itself. */
  const dial = async ({ id, key }: Device, clientId = id): Promise<Socket> => {
    const socket = connect(platform.mqttPort, "127.0.0.1")
    open.push({ close: () => socket.destroy() })
    socket.on("error", () => {})
    const answered = new Promise((resolve) => socket.once("data", resolve))
    socket.write(
      generate({
        cmd: "connect",
        protocolId: "MQTT",
        protocolVersion: 4,
        clean: true,
        clientId,
        keepalive: 60,
        username: id,
        password: Buffer.from(key)
      })
    )
    await answered
    return socket
  }
  const sending = (device: Device, everyMillis: number) => {
    let sequence = 0
    const connection = new DeviceConnection({
      port: platform.mqttPort,
      deviceId: device.id,
      key: device.key,
      window: 10
    })
    const timer = setInterval(() => {
      if (connection.outstanding < 10) {
        connection.publish({ sequence, payload: Buffer.from(`{"value":${sequence++}}`) })
      }
    }, everyMillis)
    const close = () => {
      clearInterval(timer)
      connection.close()
    }
    open.push({ close })
    return { close, isConnected: () => connection.isConnected }
  }

  it("shows within 5 s that it began and that it was cut, and that a takeover is neither", async () => {
    const device = await platform.createDevice("Cut", patient)
    assert.strictEqual((await shown(device)).connectivityStatus, "unknown")
    const first = await dial(device)
    const { lastConnectivityChange } = await becomes(device, "online")
    assert.isNotNull(lastConnectivityChange)
    const second = await dial(device)
    await eventually("the end of the first", 5, () => (first.destroyed || first.readableEnded ? true : undefined))
    await sleep(1_500)
    assert.strictEqual((await shown(device)).connectivityStatus, "online")
    const cutAt = Date.now()
    second.resetAndDestroy()
    const offline = await becomes(device, "offline")
    console.log(`disconnect to status: ${Date.now() - cutAt} ms (embedded listener)`)
    assert.isAtLeast(Date.parse(offline.lastConnectivityChange!), cutAt - 50)
    assert.deepStrictEqual(await told(device), ["DEVICE_ONLINE connected", "DEVICE_OFFLINE disconnected"])
  }, 30_000)

  it("shows within 5 s what an external broker tells of it", async () => {
    const device = await platform.createDevice("Far", patient)
    const secret = readFileSync(join(platform.dataDirectory, "webhook-secret"), "utf8").trim()
    const tell = async (event: object) => {
      const body = { clientid: "far", username: device.id, timestamp: Date.now(), ...event }
      const { status } = await platform.request("POST", "/mqtt/events", body, { "x-webhook-secret": secret })
      assert.strictEqual(status, 200)
    }
    await tell({ event: "client.connected" })
    await becomes(device, "online")
    await sleep(5) // brokers tell milliseconds
    const cutAt = Date.now()
    await tell({ event: "client.disconnected", reason: "keepalive_timeout" })
    await becomes(device, "offline")
    console.log(`disconnect to status: ${Date.now() - cutAt} ms (webhook)`)
    assert.deepStrictEqual(await told(device), ["DEVICE_ONLINE connected", "DEVICE_OFFLINE disconnected"])
  }, 30_000)

  it("goes silent, once, and not because the platform was away for longer than the silence that it may keep", async () => {
    const silent = await platform.createDevice("Silent", impatient)
    const steady = await platform.createDevice("Steady", impatient)
    const lasting = await platform.createDevice("Lasting", impatient)
    await dial(silent)
    sending(steady, 300)
    const leaves = sending(lasting, 300)
    await becomes(silent, "online")
    await becomes(steady, "online")
    await becomes(lasting, "online")
    await becomes(silent, "offline", LIMIT_SECONDS + 12)
    assert.deepStrictEqual(await told(silent), ["DEVICE_ONLINE connected", "DEVICE_OFFLINE silence"])
    assert.isNotNull((await shown(steady)).lastSeenAt)

    await platform.kill()
    leaves.close()
    await sleep(OUTAGE_SECONDS * 1_000)
    const launchedAt = Date.now()
    await platform.start()
    const { lastConnectivityChange } = await becomes(lasting, "offline", LIMIT_SECONDS + 20)
    // Its time went on where the outage ended.
    assert.isAbove(Date.parse(lastConnectivityChange!), launchedAt)
    assert.deepStrictEqual(await told(lasting), ["DEVICE_ONLINE connected", "DEVICE_OFFLINE silence"])
    assert.deepStrictEqual(await told(steady), ["DEVICE_ONLINE connected"])
    assert.strictEqual((await shown(steady)).connectivityStatus, "online")
  }, 90_000)

  it("is not over because the platform stops and starts again", async () => {
    const device = await platform.createDevice("Waiting", patient)
    const connection = sending(device, 500)
    await becomes(device, "online")
    assert.strictEqual(await platform.stop(), 0)
    await platform.start()
    await eventually("coming back", 30, () => (connection.isConnected() ? true : undefined))
    await sleep(3_000)
    assert.deepStrictEqual(await told(device), ["DEVICE_ONLINE connected"])
    connection.close()
    await becomes(device, "offline")
  }, 60_000)
})
