import { assert, describe, it } from "@effect/vitest"
import { connectAsync } from "mqtt"
import { createServer } from "node:net"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import { eventually, PlatformProcess } from "../support/PlatformProcess.ts"
import { isAlive } from "../support/processes.ts"
import { argusiq, startArgusiq } from "./Argusiq.ts"

interface FirstDevice {
  readonly deviceId: string
  readonly organizationId: string
  readonly key: string
}
interface Latest {
  readonly metrics: Readonly<Record<string, { readonly value: unknown }>>
}

describe("the platform, from an empty directory", () => {
  let platform: PlatformProcess
  let device: FirstDevice

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare()).start()
    device = JSON.parse(readFileSync(join(platform.dataDirectory, "first-device.json"), "utf8")) as FirstDevice
  }, 90_000)
  afterAll(() => platform.dispose())

  const settings = () => ({
    ARGUSIQ_DATA_DIR: platform.dataDirectory,
    HTTP_PORT: String(platform.httpPort),
    MQTT_PORT: String(platform.mqttPort),
    MQTTS_PORT: String(platform.mqttsPort)
  })
  const command = (...parameters: ReadonlyArray<string>) => argusiq(parameters, settings())

  const latest = () => platform.api<Latest>("GET", `/telemetry/device/${device.deviceId}/latest`)
  const becomes = (metric: string, value: unknown) =>
    eventually(`${metric} becoming ${String(value)}`, 30, async () =>
      (await latest()).metrics[metric]?.value === value ? true : undefined
    )

  it("is alive and ready", async () => {
    assert.strictEqual((await platform.request("GET", "/health")).status, 200)
    assert.strictEqual((await platform.request("GET", "/ready")).status, 200)
    assert.strictEqual((await platform.request("GET", "/docs")).status, 200)
    assert.strictEqual((await platform.request("GET", "/openapi.json")).status, 200)
  })

  it("prints where everything is, and lines that send and read a message", () => {
    const log = platform.log()
    for (const expected of [
      platform.url,
      `mqtt://127.0.0.1:${platform.mqttPort}`,
      platform.dataDirectory,
      "mosquitto_pub -h 127.0.0.1",
      "curl -X POST",
      "cli-token"
    ]) {
      assert.include(log, expected)
    }
    assert.notInclude(log, "correct-horse")
  })

  it("turns a message sent over HTTP into a latest value", async () => {
    const { body, status } = await platform.request(
      "POST",
      "/api/v1/telemetry",
      { metrics: { temperature: 20.25 } },
      { authorization: `Bearer ${device.key}` }
    )
    assert.strictEqual(status, 202, JSON.stringify(body))
    await becomes("temperature", 20.25)
  })

  it("turns a message published over MQTT into a latest value", async () => {
    const client = await connectAsync(`mqtt://127.0.0.1:${platform.mqttPort}`, {
      username: device.deviceId,
      password: device.key
    })
    await client.publishAsync(`devices/${device.deviceId}/telemetry`, JSON.stringify({ humidity: 55 }), { qos: 1 })
    await client.endAsync()
    await becomes("humidity", 55)
  })

  it("is not started a second time on the same directory", async () => {
    const { code, errors } = await command("start")
    assert.strictEqual(code, 1)
    assert.include(errors, `A platform is already running with the data directory ${platform.dataDirectory}`)
    assert.isTrue(platform.isRunning)
  })

  it("is seen by argusiq doctor, with nothing wrong", async () => {
    const { code, output } = await command("doctor")
    assert.strictEqual(code, 0, output)
    assert.include(output, `running as process ${platform.pid}`)
    assert.include(output, "argusiq.telemetry-writer")
    assert.include(output, "Nothing is wrong.")
  })

  it("takes a message from argusiq send over either way, and counts it in argusiq topics", async () => {
    const overHttp = await command("send", '{"level": 1}')
    assert.strictEqual(overHttp.code, 0, overHttp.errors)
    await becomes("level", 1)
    const overMqtt = await command("send", "--via", "mqtt", '{"level": 2}')
    assert.strictEqual(overMqtt.code, 0, overMqtt.errors)
    await becomes("level", 2)
    const { output } = await command("topics")
    assert.match(output, /telemetry\.raw\.v1 +4 +4 +4 /)
  })

  it("shows a record in argusiq tail as it arrives, until that is stopped", async () => {
    const tail = startArgusiq(["tail", "normalized", "--last", "1"], settings())
    await eventually("an earlier record", 60, () => (tail.output().includes("level") ? true : undefined))
    const sent = await command("send", '{"tailed": 7}')
    assert.strictEqual(sent.code, 0, sent.errors)
    await eventually("the new record", 30, () => (tail.output().includes('"tailed":7') ? true : undefined))
    tail.signal("SIGINT")
    assert.strictEqual((await tail.ended).code, 0)
  })

  it("sends as any device by a key that ends with the command", async () => {
    const types = await platform.api<{ items: ReadonlyArray<{ id: string }> }>("GET", "/device-types")
    const { id } = await platform.api<{ id: string }>("POST", "/devices", {
      name: "Boiler 3",
      deviceTypeId: types.items[0]?.id
    })
    const { code, errors } = await command("send", "--device", "Boiler 3", '{"pressure": 1.5}')
    assert.strictEqual(code, 0, errors)
    const keys = await platform.api<{ items: ReadonlyArray<{ revokedAt: string | null }> }>(
      "GET",
      `/devices/${id}/api-keys`
    )
    assert.strictEqual(keys.items.length, 1)
    assert.isNotNull(keys.items[0]?.revokedAt)
  })

  it("gets the demo organisation from argusiq seed, twice without harm, and a key for one of its devices", async () => {
    const first = await command("seed")
    assert.strictEqual(first.code, 0, first.errors)
    assert.include(first.output, "5 device types, 6 devices")
    const again = await command("seed")
    assert.strictEqual(again.code, 0, again.errors)
    assert.strictEqual(again.output, first.output)
    const made = await command("key", "TS-001-2024")
    assert.strictEqual(made.code, 0, made.errors)
    const { status } = await platform.request(
      "POST",
      "/api/v1/telemetry",
      { payload: { temp: 4 } },
      { authorization: `Bearer ${made.output.trim()}` }
    )
    assert.strictEqual(status, 202)
  })

  it("says what it does not know", async () => {
    const { code, errors } = await command("key", "no such device")
    assert.strictEqual(code, 1)
    assert.include(errors, "There is no device no such device.")
  })

  it("refuses to be migrated down while it runs", async () => {
    const { code, errors } = await command("migrate", "down")
    assert.strictEqual(code, 1)
    assert.include(errors, "Stop it before migrating down")
    assert.match((await command("migrate", "status")).output, /0001_spine +\d{4}-/)
  })

  it("stops within 10 s of SIGTERM with exit code 0, PostgreSQL with it, and goes on with its data", async () => {
    const postgres = platform.postgresPid
    assert.isDefined(postgres)
    const began = performance.now()
    assert.strictEqual(await platform.stop(), 0)
    assert.isBelow(performance.now() - began, 10_000)
    assert.isFalse(isAlive(postgres ?? 0))
    assert.isFalse(existsSync(join(platform.dataDirectory, "platform.json")))
    const stopped = await command("doctor")
    assert.strictEqual(stopped.code, 0, stopped.output)
    assert.include(stopped.output, "not running")
    const unreachable = await command("topics")
    assert.strictEqual(unreachable.code, 1)
    assert.include(unreachable.errors, "No platform is running")

    await platform.start()
    await becomes("level", 2)
  })

  it("starts again after SIGKILL, its orphaned PostgreSQL included", async () => {
    await platform.kill()
    const found = await command("doctor")
    assert.include(found.output, "was killed")
    await platform.start()
    const sent = await command("send", '{"level": 3}')
    assert.strictEqual(sent.code, 0, sent.errors)
    await becomes("level", 3)
  })
})

/** What the command says about a start that it refuses. */
const refusalOf = async (env: Readonly<Record<string, string>>) => {
  const platform = await PlatformProcess.prepare()
  try {
    const began = performance.now()
    const ended = await argusiq(["start"], {
      ARGUSIQ_DATA_DIR: platform.dataDirectory,
      HTTP_PORT: String(platform.httpPort),
      MQTT_PORT: String(platform.mqttPort),
      MQTTS_PORT: String(platform.mqttsPort),
      ...env
    })
    assert.strictEqual(ended.code, 1, ended.output)
    assert.isBelow(performance.now() - began, 20_000)
    return ended.errors
  } finally {
    await platform.dispose()
  }
}

describe("a start that cannot succeed", () => {
  it("names the port that is taken and the variable that moves it", async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve))
    const address = other.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    try {
      const errors = await refusalOf({ MQTT_PORT: String(port) })
      assert.include(errors, `Port ${port} on 127.0.0.1 is in use by another process. Choose another with MQTT_PORT`)
    } finally {
      other.close()
    }
  })

  it("names every wrong setting and what is allowed", async () => {
    const errors = await refusalOf({ LOG_FORMAT: "xml", HTTP_PORT: "http", MQTTS_PORT: "on" })
    assert.include(errors, "HTTP_PORT=http is wrong. Allowed: a port from 1 to 65535.")
    assert.include(errors, "LOG_FORMAT=xml is wrong. Allowed: pretty or json.")
    assert.include(errors, "MQTTS_PORT=on is wrong. Allowed: a port from 1 to 65535 for MQTT with TLS")
  })

  it("names a service that does not exist", async () => {
    const errors = await refusalOf({ ARGUSIQ_SERVICES: "bridge,kitchen" })
    assert.include(errors, "ARGUSIQ_SERVICES=bridge,kitchen is wrong. Allowed: any of bridge, dispatcher")
  })
})
