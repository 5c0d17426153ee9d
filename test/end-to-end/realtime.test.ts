/** What browsers hear of devices, assets, alarms and work, over a real platform. */
import { assert, describe, it } from "@effect/vitest"
import { decodeJwt, importJWK, SignJWT } from "jose"
import { connectAsync, type MqttClient } from "mqtt"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, afterEach, beforeAll } from "vitest"
import { LiveClient } from "../support/LiveClient.ts"
import {
  ADMIN_EMAIL,
  ADMIN_PASSWORD,
  type Device,
  eventually,
  nodeBinary,
  PlatformProcess
} from "../support/PlatformProcess.ts"

const DEMO = "d0000000-0000-4000-8000-000000000001"
const COLD_ROOM = "d0000000-0000-4000-8000-000000000602"
const SENSOR = "d0000000-0000-4000-8000-000000000301"
const HUB_SERIAL = "LH-001-2024"

interface Items<A> {
  readonly items: ReadonlyArray<A>
}

describe("live connections", () => {
  let platform: PlatformProcess
  let token: string
  let typeId: string
  const clients: Array<LiveClient> = []
  const mqtts: Array<MqttClient> = []

  const login = async (organizationId?: string) => {
    const body = {
      email: ADMIN_EMAIL,
      password: ADMIN_PASSWORD,
      ...(organizationId !== undefined && { organizationId })
    }
    const { body: session } = await platform.request("POST", "/api/v1/auth/login", body)
    return session as { readonly accessToken: string; readonly refreshToken: string }
  }
  const live = (as: unknown, options: ConstructorParameters<typeof LiveClient>[2] = {}) => {
    const client = new LiveClient(platform.url, as, options)
    clients.push(client)
    return client
  }
  const connected = (options?: ConstructorParameters<typeof LiveClient>[2]) => live(token, options).connect()
  const keyOf = async (id: string): Promise<Device> => {
    const { key } = await platform.api<{ readonly key: string }>("POST", `/devices/${id}/api-keys`, {})
    return { id, key }
  }
  const dial = async ({ id, key }: Device) => {
    const url = `mqtt://127.0.0.1:${platform.mqttPort}`
    const client = await connectAsync(url, { username: id, password: key, clientId: id, reconnectPeriod: 0 })
    mqtts.push(client)
    return client
  }
  const publish = (client: MqttClient, { id }: Device, message: unknown) =>
    client.publishAsync(`devices/${id}/telemetry`, JSON.stringify(message), { qos: 1 })
  const device = (name: string) => platform.createDevice(name, typeId)
  /** As the login's token, with other times. */
  const minted = async (expiresInSeconds: number) => {
    const key = JSON.parse(readFileSync(join(platform.dataDirectory, "signing-key.json"), "utf8")) as Record<
      string,
      string
    >
    const header = JSON.parse(Buffer.from(token.split(".")[0]!, "base64url").toString()) as { kid: string; typ: string }
    const { exp: _, iat: __, ...claims } = decodeJwt(token)
    const now = Math.floor(Date.now() / 1_000)
    return new SignJWT({ ...claims, iat: now - 10, exp: now + expiresInSeconds })
      .setProtectedHeader({ alg: "EdDSA", ...header })
      .sign(await importJWK(key, "EdDSA"))
  }

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare({ env: { ARGUSIQ_DEMO: "1" } })).start()
    token = (await login()).accessToken
    typeId = await platform.createDeviceType("Probe", { processingMode: "endpoint" })
  }, 120_000)
  afterEach(async () => {
    for (const client of clients.splice(0)) {
      assert.deepStrictEqual(client.wrong, [])
      client.close()
    }
    for (const mqtt of mqtts.splice(0)) await mqtt.endAsync(true)
  })
  afterAll(() => platform.dispose())

  it("bring a reading to who watches the device within 2 s, and to nobody else", async () => {
    const probe = await device("One")
    const [watching, other] = [await connected(), await connected()]
    await watching.watch("device", probe.id)
    const mqtt = await dial(probe)
    const delays: Array<number> = []
    for (let value = 1; value <= 5; value++) {
      const sentAt = Date.now()
      await publish(mqtt, probe, { value })
      const told = await watching.hears("telemetry:new", ({ metrics }) => metrics["value"] === value)
      delays.push(Date.now() - sentAt)
      assert.strictEqual(told.deviceId, probe.id)
      assert.isAtMost(Math.abs(Date.parse(told.timestamp) - sentAt), 2_000)
      await sleep(300)
    }
    console.log(`publish to browser: ${delays.join(", ")} ms`)
    assert.isBelow(Math.max(...delays), 2_000)
    assert.deepStrictEqual(other.all("telemetry:new"), [])
  })

  it("tell the newest of a device that sends often, four times a second at most, and nothing any more once unsubscribed", async () => {
    const probe = await device("Often")
    const client = await connected()
    await client.watch("device", probe.id)
    const mqtt = await dial(probe)
    const began = Date.now()
    for (let value = 1; value <= 60; value++) {
      await publish(mqtt, probe, { value })
      await sleep(25)
    }
    await client.hears("telemetry:new", ({ metrics }) => metrics["value"] === 60)
    const told = client.all("telemetry:new")
    const seconds = (Date.now() - began) / 1_000
    assert.isAtMost(told.length, Math.ceil(seconds * 4) + 1)
    assert.isAtLeast(told.length, 4)
    const values = told.map(({ metrics }) => Number(metrics["value"]))
    assert.deepStrictEqual(
      values,
      values.toSorted((left, right) => left - right)
    )
    assert.deepStrictEqual(await client.ask("unsubscribe", { entityType: "device", id: probe.id }), { ok: true })
    await publish(mqtt, probe, { value: 61 })
    await sleep(1_500)
    assert.strictEqual(client.all("telemetry:new").length, told.length)
  })

  it("tell the whole organisation within 5 s that a device comes and goes", async () => {
    const probe = await device("Comes and goes")
    const client = await connected()
    const mqtt = await dial(probe)
    const online = await client.hears("device:status", ({ deviceId }) => deviceId === probe.id, 5)
    assert.strictEqual(online.status, "online")
    await client.hears("device:connected", ({ deviceId }) => deviceId === probe.id, 5)
    const endedAt = Date.now()
    mqtt.stream.destroy()
    const gone = await client.hears("device:disconnected", ({ deviceId }) => deviceId === probe.id, 5)
    console.log(`disconnect to browser: ${Date.now() - endedAt} ms (${gone.reason})`)
    await client.hears("device:status", ({ deviceId, status }) => deviceId === probe.id && status === "offline", 5)
    const created = client.all("event:created").filter(({ entityId }) => entityId === probe.id)
    assert.deepStrictEqual(
      created.map(({ type }) => type),
      ["DEVICE_ONLINE", "DEVICE_OFFLINE"]
    )
  })

  it("tell an asset's telemetry and its health, with the score before", async () => {
    const sensor = await keyOf(SENSOR)
    const client = await connected()
    await client.watch("asset", COLD_ROOM)
    const mqtt = await dial(sensor)
    await publish(mqtt, sensor, { metrics: { temperature: 4, humidity: 40 } })
    const first = await client.hears("asset:healthscore")
    assert.strictEqual(first.healthScore, 100)
    await sleep(1_200)
    await publish(mqtt, sensor, { metrics: { temperature: 5.5, humidity: 70 } })
    const next = await client.hears("asset:healthscore", ({ healthScore }) => healthScore !== 100)
    assert.strictEqual(next.previousScore, 100)
    assert.isBelow(next.healthScore, 100)
    const told = await client.hears("asset:telemetry", ({ metrics }) => metrics["temperature"] === 5.5)
    assert.strictEqual(told.healthScore, next.healthScore)
    assert.strictEqual(told.metrics["above_target"], 1.5)
  })

  it("tell of an alarm, of the work that it makes, of its acknowledgement and of its end", async () => {
    const probe = await device("Alarming")
    const { id: activityTypeId } = await platform.api<{ id: string }>("POST", "/activity-types", { name: "Look" })
    await platform.api("POST", "/activity-templates", {
      name: "Look at the probe",
      activityTypeId,
      triggerEventType: "THRESHOLD_BREACH",
      dueInHours: 2
    })
    await platform.api("POST", "/rules", {
      name: "Too hot",
      entityType: "device",
      entityId: probe.id,
      metricKey: "heat",
      condition: { operator: ">", value: 30 },
      cooldownSeconds: 0
    })
    await sleep(3_000) // until the rule is in force
    const [client, narrow] = [await connected(), await connected()]
    await narrow.watch("device", probe.id)
    assert.deepStrictEqual(await narrow.ask("unsubscribe", { organizationId: DEMO }), { ok: true })
    const mqtt = await dial(probe)
    await publish(mqtt, probe, { heat: 20 })
    await publish(mqtt, probe, { heat: 35 })
    const isBreach = ({ entityId, type }: { entityId: string; type: string }) =>
      entityId === probe.id && type === "THRESHOLD_BREACH"
    const breach = await client.hears("event:created", isBreach)
    assert.strictEqual((await narrow.hears("event:created", isBreach)).eventId, breach.eventId)
    const activity = await client.hears("activity:created", ({ targetId }) => targetId === probe.id)
    assert.strictEqual(activity.eventId, breach.eventId)
    assert.isNotNull(activity.dueAt)

    await platform.api("POST", `/alarms/${breach.alarmId}/acknowledge`, {})
    const acknowledged = await client.hears("event:updated", ({ alarm }) => alarm?.acknowledgedAt != null)
    assert.deepInclude(acknowledged, { eventId: breach.eventId, alarmId: breach.alarmId })
    await platform.api("POST", `/events/${breach.eventId}/acknowledge`, {})
    await client.hears(
      "event:updated",
      ({ acknowledgedAt, eventId }) => eventId === breach.eventId && acknowledgedAt !== null
    )
    await platform.api("POST", `/events/${breach.eventId}/comments`, { body: "I am on my way" })
    await client.hears("event:updated", ({ commentCount }) => commentCount === 1)

    await publish(mqtt, probe, { heat: 20 })
    await client.hears("event:created", ({ type }) => type === "THRESHOLD_CLEARED")
    const ended = await client.hears("event:updated", ({ alarm }) => alarm?.state === "cleared")
    assert.strictEqual(ended.eventId, breach.eventId)
    assert.isNotNull(ended.alarm?.endedAt)
    await narrow.hears("event:updated", ({ alarm }) => alarm?.state === "cleared")
    const ids = client.all("event:created").map(({ eventId }) => eventId)
    assert.strictEqual(new Set(ids).size, ids.length)
  })

  it("tell of a gateway's messages, and the readings of its children to who watches those", async () => {
    const { items } = await platform.api<Items<{ id: string; serialNumber: string }>>("GET", `/devices?q=${HUB_SERIAL}`)
    const hub = await keyOf(items[0]!.id)
    const client = await connected()
    await client.watch("device", hub.id)
    const mqtt = await dial(hub)
    const message = (rssi: number, correlationId: string) => ({
      gatewayId: "location-hub-001",
      correlationId,
      devices: [{ beaconId: "beacon-live", rssi, battery: 85 }]
    })
    await publish(mqtt, hub, message(-65, "live-1"))
    const transaction = await client.hears("transaction:updated", ({ status }) => status === "completed")
    assert.deepInclude(transaction, { correlationId: "live-1", processedDevices: 1 })
    const children = await platform.api<Items<{ id: string; logicalIdentifier: string }>>(
      "GET",
      `/devices/${hub.id}/children`
    )
    const child = children.items.find(({ logicalIdentifier }) => logicalIdentifier === "beacon-live")
    await client.watch("device", child!.id)
    await publish(mqtt, hub, message(-70, "live-2"))
    const told = await client.hears("telemetry:new", ({ deviceId }) => deviceId === child!.id)
    assert.strictEqual(told.metrics["rssi"], -70)
  })

  it("keep organisations apart: another's devices are not there, and nothing of it is told", async () => {
    const { items } = await platform.api<Items<{ id: string }>>("GET", "/devices?limit=1")
    const first = JSON.parse(readFileSync(join(platform.dataDirectory, "first-device.json"), "utf8")) as {
      organizationId: string
      deviceId: string
      key: string
    }
    const home = await live((await login(first.organizationId)).accessToken).connect()
    const demo = await connected()
    const missing = "00000000-0000-4000-8000-00000000dead"
    for (const id of [items[0]!.id, missing]) {
      const answer = await home.ask("subscribe", { entityType: "device", id })
      assert.deepStrictEqual(answer, { ok: false, error: { type: "not-found", message: `There is no device ${id}.` } })
    }
    const asset = await home.ask("subscribe", { entityType: "asset", id: COLD_ROOM })
    assert.deepInclude(asset.ok ? {} : asset.error, { type: "not-found" })
    const foreign = await home.ask("subscribe", { organizationId: DEMO })
    assert.deepInclude(foreign.ok ? {} : foreign.error, { type: "not-found" })
    assert.deepStrictEqual(await home.ask("subscribe", { organizationId: first.organizationId }), { ok: true })

    const probe = await device("Apart")
    await home.watch("device", first.deviceId)
    await demo.watch("device", probe.id)
    const [here, there] = [await dial({ id: first.deviceId, key: first.key }), await dial(probe)]
    await publish(here, { id: first.deviceId, key: "" }, { value: 1 })
    await publish(there, probe, { value: 2 })
    await home.hears("telemetry:new", ({ metrics }) => metrics["value"] === 1)
    await demo.hears("telemetry:new", ({ metrics }) => metrics["value"] === 2)
    await home.hears("device:status", ({ deviceId }) => deviceId === first.deviceId)
    await demo.hears("device:status", ({ deviceId }) => deviceId === probe.id)
    await sleep(500)
    const heardAtHome = JSON.stringify(home.heard)
    assert.isFalse(heardAtHome.includes(probe.id))
    assert.isFalse(JSON.stringify(demo.heard).includes(first.deviceId))
  })

  it("work where only polling does", async () => {
    const probe = await device("Polled")
    const client = await connected({ transports: ["polling"] })
    await client.watch("device", probe.id)
    await publish(await dial(probe), probe, { value: 7 })
    await client.hears("telemetry:new", ({ metrics }) => metrics["value"] === 7, 5)
    await client.hears("device:status", ({ deviceId }) => deviceId === probe.id, 5)
    assert.strictEqual(client.socket.io.engine.transport.name, "polling")
  })

  it("are refused without a good token, wherever it is put, and from pages that may not", async () => {
    const refusal = (as: unknown, options?: ConstructorParameters<typeof LiveClient>[2]) =>
      live(as, options)
        .connect()
        .then(
          () => "connected",
          (error: { type?: string }) => error.type
        )
    const [header, payload, signature] = token.split(".") as [string, string, string]
    const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${payload}.`
    for (const wrong of [
      undefined,
      null,
      7,
      {},
      "",
      "nonsense",
      none,
      `${header}.${payload}.${signature}A`,
      "x".repeat(9_000)
    ])
      assert.strictEqual(await refusal(wrong), "unauthenticated", String(wrong).slice(0, 40))
    assert.strictEqual(await refusal(await minted(-1)), "unauthenticated")
    assert.strictEqual(await refusal(undefined, { query: { token } }), "unauthenticated")
    assert.strictEqual(await refusal(token, { extraHeaders: { origin: "https://evil.example" } }), "TransportError")
    assert.strictEqual(await refusal(token, { extraHeaders: { origin: platform.url } }), "connected")
  })

  it("are told what is wrong with what they send, and stay", async () => {
    const client = await connected()
    const typeOf = async (name: string, ...values: ReadonlyArray<unknown>) => {
      const answer = (await client.socket.timeout(5_000).emitWithAck(name, ...values)) as { error?: { type: string } }
      return answer.error?.type
    }
    assert.strictEqual(await typeOf("subscribe", { entityType: "device", id: "../../etc" }), "invalid-request")
    assert.strictEqual(await typeOf("subscribe", { entityType: "user", id: COLD_ROOM }), "invalid-request")
    assert.strictEqual(await typeOf("subscribe", null), "invalid-request")
    assert.strictEqual(await typeOf("subscribe"), "invalid-request")
    assert.strictEqual(await typeOf("subscribe", [[[[[[]]]]]]), "invalid-request")
    // Past the client, which cannot send what is so deep.
    const deep = (inner: string) => "[".repeat(7_000) + inner + "]".repeat(7_000)
    client.socket.io.engine.write(`2["subscribe",${deep("")}]`)
    assert.strictEqual(await typeOf("__proto__", {}), "unknown-event")
    assert.strictEqual(await typeOf("toString", {}), "unknown-event")
    assert.strictEqual(await typeOf("error", {}), "unknown-event")
    assert.strictEqual(await typeOf("event:created", { eventId: 1 }), "unknown-event")
    assert.strictEqual(await typeOf("authenticate", { token: "nonsense" }), "unauthenticated")
    client.socket.emit("subscribe", { entityType: "device", id: COLD_ROOM }, "no function")
    client.socket.emit("nothing")
    await client.watch("asset", COLD_ROOM)
    assert.isTrue(client.socket.connected)
    const binary = await connected()
    binary.socket.io.engine.write(`51-["subscribe",${deep('{"_placeholder":true,"num":0}')}]`)
    binary.socket.io.engine.write(Buffer.from("x"))
    client.socket.emit("subscribe", { entityType: "device", id: "x".repeat(100_000) })
    await eventually("the end of a connection that sends too much", 5, () => client.disconnected[0])
    assert.strictEqual((await platform.request("GET", "/health")).status, 200)
  })

  it("survive what is no Socket.IO, and give nobody a connection who does not ask for one", async () => {
    const url = `${platform.url}/socket.io/`
    const statusOf = async (query: string, init: RequestInit = {}) => (await fetch(`${url}${query}`, init)).status
    const polling = "?EIO=4&transport=polling"
    assert.strictEqual(await statusOf(""), 400)
    assert.strictEqual(await statusOf("?EIO=4&transport=websocket"), 400)
    assert.strictEqual(await statusOf("?EIO=4&transport=__proto__"), 400)
    assert.strictEqual(await statusOf(`${polling}&sid=nobody`), 400)
    assert.strictEqual(await statusOf(polling, { method: "POST", body: "4" }), 400)
    assert.strictEqual(await statusOf(polling, { method: "DELETE" }), 400)
    assert.strictEqual((await fetch(`${platform.url}/socket.iox`)).status, 404)
    const open = async () => JSON.parse((await (await fetch(`${url}${polling}`)).text()).slice(1)) as { sid: string }
    for (const body of [
      "40{",
      "99",
      "4",
      "42[]",
      "451-[]",
      '42["subscribe"]',
      "40/admin,",
      "\u0000",
      "x".repeat(20_000)
    ]) {
      const { sid } = await open()
      const status = await statusOf(`${polling}&sid=${sid}`, {
        method: "POST",
        body,
        headers: { "content-type": "text/plain" }
      })
      assert.include([200, 400, 413], status, body.slice(0, 20))
    }
    const socket = new WebSocket(`${url.replace("http", "ws")}?EIO=4&transport=websocket`)
    const ended = new Promise<number>((resolve) => socket.addEventListener("close", () => resolve(Date.now())))
    const openedAt = Date.now()
    assert.isBelow((await ended) - openedAt, 15_000)
    assert.strictEqual((await platform.request("GET", "/health")).status, 200)
  }, 30_000)

  it("end within 5 s with their token, unless they send a fresh one", async () => {
    const short = await minted(4)
    const [ends, lives] = [await live(short).connect(), await live(short).connect()]
    assert.deepStrictEqual(await lives.ask("authenticate", { token }), { ok: true })
    const expiresAt = Date.now() + 4_000
    await eventually("its end", 12, () => ends.disconnected[0])
    assert.isBelow(Date.now() - expiresAt, 5_000)
    assert.deepInclude(ends.all("session:ended")[0], { reason: "expired" })
    assert.strictEqual(ends.disconnected[0], "io server disconnect")
    await sleep(2_500)
    assert.isTrue(lives.socket.connected)
  }, 40_000)

  it("are had by the client of docs/realtime.md as it is written there", async () => {
    const document = readFileSync(new URL("../../docs/realtime.md", import.meta.url), "utf8")
    const program = /```js\n([^]*?)```/.exec(document)![1]!
    const probe = await device("Documented")
    const env = { ARGUSIQ_URL: platform.url, EMAIL: ADMIN_EMAIL, PASSWORD: ADMIN_PASSWORD, DEVICE_ID: probe.id }
    const child = spawn(nodeBinary, ["--input-type=module", "--eval", program], { env: { ...process.env, ...env } })
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()))
    try {
      await eventually("the program watching", 20, () => (output.includes("watching") ? true : undefined))
      await publish(await dial(probe), probe, { value: 42 })
      await eventually("the reading in its output", 10, () => (output.includes("value: 42") ? true : undefined))
      await eventually("the event in its output", 10, () => (output.includes("DEVICE_ONLINE") ? true : undefined))
    } finally {
      child.kill()
      assert.notInclude(output, "Error")
    }
  })

  it("are counted in the metrics", async () => {
    const client = await connected()
    await client.watch("asset", COLD_ROOM)
    const value = async (name: string) => {
      const text = String((await platform.request("GET", "/metrics")).body)
      return Number(new RegExp(`^${name}\\{[^}]*service="realtime"[^}]*\\} (.*)$`, "m").exec(text)?.[1])
    }
    for (const name of ["argusiq_realtime_connections", "argusiq_realtime_rooms"])
      await eventually(`${name} of 1`, 5, async () => ((await value(name)) === 1 ? true : undefined))
    assert.isAbove(await value("argusiq_realtime_sent_total"), 10)
  })

  it("hold up no stop, and come back by themselves when the platform does", async () => {
    const probe = await device("After")
    const client = await connected({ reconnection: true, reconnectionDelayMax: 500 })
    const polling = await connected({ transports: ["polling"] })
    client.socket.on("connect", () => client.socket.emit("subscribe", { entityType: "device", id: probe.id }))
    const stoppedAt = Date.now()
    assert.strictEqual(await platform.stop(), 0)
    assert.isBelow(Date.now() - stoppedAt, 8_000)
    await eventually("the end of polling", 5, () => polling.disconnected[0])
    await platform.start()
    await eventually("coming back", 20, () => (client.socket.connected ? true : undefined))
    await publish(await dial(probe), probe, { value: 1 })
    await client.hears("telemetry:new", ({ deviceId }) => deviceId === probe.id)
  })
})
