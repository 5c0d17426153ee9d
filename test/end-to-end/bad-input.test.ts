/**
 * What a device may send amiss, row by row, from its connection to what is stored: each bad message is sent between two good
 * ones of the same device, over real MQTT or HTTP, while a neighbour goes on sending.
 */
import { deadLetterTopic, EMBEDDED_PARTITIONS, Topics } from "@argusiq/domain/topics.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { assert, describe, it } from "@effect/vitest"
import { connectAsync, type MqttClient } from "mqtt"
import { generate } from "mqtt-packet"
import { createHash } from "node:crypto"
import { connect } from "node:net"
import { afterAll, beforeAll } from "vitest"
import { DeviceConnection } from "../support/DeviceConnection.ts"
import { type Device, eventually, PlatformProcess } from "../support/PlatformProcess.ts"
import { connectSuperuser } from "../support/superuser.ts"

interface DataPoint {
  readonly timestamp: string
  readonly value: unknown
  readonly quality: string
}
type Series = Readonly<Record<string, ReadonlyArray<DataPoint>>>
interface DeadLetter {
  readonly headers: Readonly<Record<string, string>>
  readonly payload: string
  readonly encoding: "text" | "base64"
}

const MEBIBYTE = 1_048_576
const nestedTo = (depth: number) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`
const bytes = (text: string, ...more: ReadonlyArray<number>) => Buffer.concat([Buffer.from(text), Buffer.from(more)])

describe("bad input", () => {
  let platform: PlatformProcess
  const types = new Map<string, string>()
  let neighbour: Device
  let neighbourConnection: DeviceConnection
  let neighbourTimer: NodeJS.Timeout
  let neighbourSent = 0

  const rules = {
    plain: {},
    strict: {
      extractionRules: { n: { path: "$.n", type: "numeric" }, a: { path: "$.a", type: "numeric", required: true } }
    },
    json: { extractionRules: { n: { path: "$.n", type: "numeric" }, a: { path: "$.a", type: "json" } } },
    bounded: { extractionRules: { n: { path: "$.n", type: "numeric" }, a: { path: "$.a", type: "numeric", max: 10 } } }
  }
  type TypeName = keyof typeof rules

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare()).start()
    for (const [name, config] of Object.entries(rules)) {
      types.set(name, await platform.createDeviceType(name, { processingMode: "endpoint", ...config }))
    }
    neighbour = await platform.createDevice("Neighbour", types.get("plain") ?? "")
    neighbourConnection = new DeviceConnection({
      port: platform.mqttPort,
      deviceId: neighbour.id,
      key: neighbour.key,
      window: 20
    })
    neighbourTimer = setInterval(() => {
      const sequence = neighbourSent++
      neighbourConnection.publish({ sequence, payload: Buffer.from(JSON.stringify({ sequence })) })
    }, 5)
  }, 90_000)

  afterAll(async () => {
    clearInterval(neighbourTimer)
    neighbourConnection.close()
    await platform.dispose()
  })

  const deviceOf = (type: TypeName) => platform.createDevice(`Device of ${type}`, types.get(type) ?? "")

  const connectDevice = (device: Device): Promise<MqttClient> =>
    connectAsync(`mqtt://127.0.0.1:${platform.mqttPort}`, {
      username: device.id,
      password: device.key,
      clientId: device.id,
      reconnectPeriod: 0
    })
  const telemetryOf = ({ id }: Device) => `devices/${id}/telemetry`
  const good = (n: number, type: TypeName) => JSON.stringify(type === "strict" ? { a: 0, n } : { n })

  /** Everything that a device has measured. */
  const historyOf = async ({ id }: Device): Promise<Series> => {
    const { series } = await platform.api<{
      readonly series: ReadonlyArray<{ readonly metricKey: string; readonly data: ReadonlyArray<DataPoint> }>
    }>("GET", `/telemetry/device/${id}?startTime=1980-01-01T00:00:00Z&endTime=2200-01-01T00:00:00Z`)
    return Object.fromEntries(series.map(({ data, metricKey }) => [metricKey, data]))
  }
  const valuesOf = (points: ReadonlyArray<DataPoint> | undefined) => points?.map(({ value }) => value)

  /** What became of the two good messages around the bad one; everything before them has been processed then. */
  const bothGood = async (device: Device): Promise<Series> => {
    const series = await eventually("storing both good messages", 60, async () => {
      const found = await historyOf(device)
      return (found["n"]?.length ?? 0) >= 2 ? found : undefined
    })
    assert.deepStrictEqual(valuesOf(series["n"]), [1, 2])
    return series
  }

  const deadLettersOf = async ({ id }: Device): Promise<ReadonlyArray<DeadLetter & { readonly topic: string }>> => {
    const partition = partitionOf(EMBEDDED_PARTITIONS, Buffer.from(id))
    const found: Array<DeadLetter & { readonly topic: string }> = []
    for (const topic of [Topics.raw, Topics.endpoint, Topics.normalized].map(deadLetterTopic)) {
      const { items } = await platform.api<{ readonly items: ReadonlyArray<DeadLetter & { readonly key: string }> }>(
        "GET",
        `/topics/${topic}/records?partition=${partition}&limit=500`
      )
      found.push(...items.filter(({ key }) => key === id).map((item) => ({ ...item, topic })))
    }
    return found
  }
  const oneDeadLetter = async (device: Device) => {
    const found = await eventually("a dead letter", 60, async () => {
      const letters = await deadLettersOf(device)
      return letters.length > 0 ? letters : undefined
    })
    assert.lengthOf(found, 1)
    return found[0]!
  }

  /** Sends it between two good messages, all three acknowledged. */
  const sendAmid = async (device: Device, type: TypeName, payload: Buffer | string, topic = telemetryOf(device)) => {
    const client = await connectDevice(device)
    await client.publishAsync(telemetryOf(device), good(1, type), { qos: 1 })
    await client.publishAsync(topic, payload, { qos: 1 })
    await client.publishAsync(telemetryOf(device), good(2, type), { qos: 1 })
    await client.endAsync()
  }

  /** The reason and sentence that the audit copy keeps of what the bridge refused. */
  const refusedInAuditCopy = async ({ id }: Device) => {
    const sql = await connectSuperuser(platform.dataDirectory)
    try {
      return await eventually("the audit copy", 60, async () => {
        const rows = await sql.query<{ error: string; size: number; kept: number }>(
          `select error, size, length(payload) as kept from telemetry_raw where device_id = '${id}' and error is not null`
        )
        return rows.length > 0 ? rows : undefined
      })
    } finally {
      await sql.close()
    }
  }

  describe("what cannot be read goes to the normalizer's dead letters, byte for byte, and its device goes on", () => {
    const tooMany = JSON.stringify(
      Object.fromEntries(Array.from({ length: 10_001 }, (_, index) => [`k${index}`, index]))
    )
    const cases: ReadonlyArray<readonly [string, Buffer | string, string, string | undefined, string, TypeName?]> = [
      ["not JSON", "temperature=23", "Undecodable", undefined, "at byte 1."],
      ["an empty payload", "", "Undecodable", undefined, "at byte 0."],
      ["truncated JSON", '{"a":1', "Undecodable", undefined, "at byte 6."],
      ["truncated UTF-8", bytes('{"a":"', 0xe2, 0x82), "Undecodable", undefined, "not UTF-8 at byte 6."],
      ["a depth of 65", nestedTo(65), "PayloadTooDeep", undefined, "more than 64 levels"],
      ["10,001 keys", tooMany, "TooManyMetrics", undefined, "more than 10000 keys"],
      ["a required metric of 1e999", '{"a":1e999}', "ExtractionFailed", "$.a", '"a"', "strict"],
      ["a required metric of NaN", '{"a":NaN}', "ExtractionFailed", "$.a", '"a"', "strict"],
      ["a required metric of the wrong type", '{"a":{}}', "ExtractionFailed", "$.a", '"a"', "strict"],
      ["a required metric that is absent", '{"b":1}', "ExtractionFailed", "$.a", '"a"', "strict"]
    ]
    for (const [name, payload, reason, path, words, type = "plain"] of cases) {
      it(name, async () => {
        const device = await deviceOf(type)
        await sendAmid(device, type, payload)
        await bothGood(device)
        const { encoding, headers, topic, payload: kept } = await oneDeadLetter(device)
        assert.deepInclude(headers, { "dlq-reason": reason, "dlq-stage": "normalizer", "dlq-attempts": "1" })
        assert.strictEqual(topic, deadLetterTopic(Topics.endpoint))
        assert.strictEqual(headers["dlq-path"], path)
        assert.include(headers["dlq-message"], words)
        assert.isTrue(Buffer.from(kept, encoding === "text" ? "utf8" : "base64").equals(Buffer.from(payload)))
      })
    }
  })

  describe("what may not enter goes to the bridge's dead letters and is acknowledged", () => {
    const foreign = "0190a000-0000-7000-8000-00000000abcd"
    const cases: ReadonlyArray<readonly [string, (device: Device) => string, string, string]> = [
      ["another device's topic", () => telemetryOf(neighbour), "InvalidTopic", "only to its own telemetry topics"],
      ["the topic of a device that does not exist", () => `devices/${foreign}/telemetry`, "UnknownDevice", foreign],
      ["another organization's topic", ({ id }) => `v1/telemetry/${foreign}/${id}`, "TenantMismatch", foreign],
      ["a topic without telemetry", () => "factory/hall-3", "InvalidTopic", "factory/hall-3"]
    ]
    for (const [name, topicOf, reason, words] of cases) {
      it(name, async () => {
        const device = await deviceOf("plain")
        await sendAmid(device, "plain", '{"a":1}', topicOf(device))
        assert.deepStrictEqual(Object.keys(await bothGood(device)), ["n"])
        const { headers, payload, topic } = await oneDeadLetter(device)
        assert.strictEqual(topic, deadLetterTopic(Topics.raw))
        assert.deepInclude(headers, { "dlq-reason": reason, "dlq-stage": "bridge", "mqtt-topic": topicOf(device) })
        assert.include(headers["dlq-message"], words)
        assert.strictEqual(payload, '{"a":1}')
        assert.deepStrictEqual(await refusedInAuditCopy(device), [{ error: reason, size: 7, kept: 7 }])
      })
    }

    it("a decommissioned device, whose connection is still open", async () => {
      const device = await deviceOf("plain")
      const client = await connectDevice(device)
      await client.publishAsync(telemetryOf(device), good(1, "plain"), { qos: 1 })
      await platform.api("POST", `/devices/${device.id}/decommission`)
      await eventually("the bridge knowing it", 30, async () => {
        await client.publishAsync(telemetryOf(device), '{"a":1}', { qos: 1 })
        return (await deadLettersOf(device)).length > 0 ? true : undefined
      })
      await client.endAsync()
      const [letter] = await deadLettersOf(device)
      assert.deepInclude(letter?.headers, { "dlq-reason": "DeviceDecommissioned", "dlq-stage": "bridge" })
    })

    it("a payload over 8 MiB, of which 64 KiB, length and digest are kept", async () => {
      const device = await deviceOf("plain")
      const payload = Buffer.alloc(8 * MEBIBYTE + 1, "x")
      await sendAmid(device, "plain", payload)
      await bothGood(device)
      const letter = await oneDeadLetter(device)
      assert.deepInclude(letter.headers, {
        "dlq-reason": "PayloadTooLarge",
        "payload-bytes": String(payload.length),
        "payload-sha256": createHash("sha256").update(payload).digest("hex")
      })
      assert.strictEqual(letter.payload, "x".repeat(65_536))
      assert.deepStrictEqual(await refusedInAuditCopy(device), [
        { error: "PayloadTooLarge", size: payload.length, kept: 65_536 }
      ])
    })
  })

  it("a packet over 9 MiB ends its connection with 0x95, unacknowledged, before it has been sent", async () => {
    const device = await deviceOf("plain")
    const socket = connect(platform.mqttPort, "127.0.0.1")
    const received: Array<Buffer> = []
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()))
    socket.on("data", (chunk: Buffer) => received.push(chunk))
    socket.write(
      generate(
        {
          cmd: "connect",
          protocolId: "MQTT",
          protocolVersion: 5,
          clean: true,
          clientId: device.id,
          keepalive: 60,
          username: device.id,
          password: Buffer.from(device.key)
        },
        { protocolVersion: 5 }
      )
    )
    await eventually("being connected", 30, () => (received.length > 0 ? true : undefined))
    received.length = 0
    socket.write(Buffer.from([0x32, 0x81, 0x80, 0xc0, 0x04])) // PUBLISH with QoS 1, 9 MiB and a byte
    await closed
    assert.strictEqual(Buffer.concat(received).toString("hex"), "e0029500")
    assert.deepStrictEqual(await historyOf(device), {})
    assert.deepStrictEqual(await deadLettersOf(device), [])
  })

  describe("what part of a message cannot be used is skipped, its other metrics are stored", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["the key __proto__", '{"__proto__":1,"b":2}'],
      ["a control character in a key", '{"a\\u0007":1,"b":2}'],
      ["a lone surrogate in a key", '{"a\\ud800":1,"b":2}'],
      ["a key of 501 units", `{"${"k".repeat(501)}":1,"b":2}`],
      ["1e999", '{"a":1e999,"b":2}'],
      ["NaN", '{"a":NaN,"b":2}']
    ]
    for (const [name, payload] of cases) {
      it(name, async () => {
        const device = await deviceOf("plain")
        await sendAmid(device, "plain", payload)
        const series = await bothGood(device)
        assert.sameMembers(Object.keys(series), ["n", "b"])
        assert.deepStrictEqual(
          series["b"]?.map(({ quality, value }) => [value, quality]),
          [[2, "good"]]
        )
        assert.deepStrictEqual(await deadLettersOf(device), [])
      })
    }
  })

  describe("what is doubtful is stored with its quality", () => {
    const cases: ReadonlyArray<readonly [string, string, unknown, string, TypeName?]> = [
      ["of duplicate keys the last", '{"a":1,"a":2}', 2, "good"],
      ["NUL in a text as U+FFFD", '{"a":"x\\u0000y"}', "x\uFFFDy", "uncertain"],
      ["a lone surrogate in a text as U+FFFD", '{"a":"x\\ud83dy"}', "x\uFFFDy", "uncertain"],
      ["NUL deep in a document as U+FFFD", '{"a":{"b":["\\u0000"]}}', { b: ["\uFFFD"] }, "uncertain", "json"],
      ["a value above its rule's maximum", '{"a":11}', 11, "bad", "bounded"]
    ]
    for (const [name, payload, value, quality, type = "plain"] of cases) {
      it(name, async () => {
        const device = await deviceOf(type)
        await sendAmid(device, type, payload)
        const series = await bothGood(device)
        assert.deepStrictEqual(
          series["a"]?.map((point) => [point.value, point.quality]),
          [[value, quality]]
        )
        assert.deepStrictEqual(await deadLettersOf(device), [])
      })
    }
  })

  describe("timestamps", () => {
    const secondsFromNow = (offset: number) => Math.floor(Date.now() / 1000) + offset
    const year = 31_536_000
    const latestOf = async ({ id }: Device) =>
      (
        await platform.api<{ readonly metrics: Readonly<Record<string, unknown>> }>(
          "GET",
          `/telemetry/device/${id}/latest`
        )
      ).metrics

    for (const [name, timestamp, quality] of [
      ["absent: received-at, good", undefined, "good"],
      ["unreadable: received-at, uncertain", "yesterday", "uncertain"]
    ] as const) {
      it(name, async () => {
        const device = await deviceOf("plain")
        const before = Date.now()
        await sendAmid(device, "plain", JSON.stringify({ timestamp, a: 1 }))
        const after = Date.now()
        const [point] = (await bothGood(device))["a"] ?? []
        assert.strictEqual(point?.quality, quality)
        assert.isAtLeast(Date.parse(point?.timestamp ?? ""), before)
        assert.isAtMost(Date.parse(point?.timestamp ?? ""), after)
        assert.property(await latestOf(device), "a")
      })
    }

    for (const [name, offset] of [
      ["more than 60 s ahead: kept at its time, uncertain, no part in latest", 600],
      ["more than a year behind: kept at its time, uncertain, no part in latest", -year - 600]
    ] as const) {
      it(name, async () => {
        const device = await deviceOf("plain")
        const timestamp = secondsFromNow(offset)
        await sendAmid(device, "plain", JSON.stringify({ timestamp, a: 1 }))
        const [point] = (await bothGood(device))["a"] ?? []
        assert.deepStrictEqual([Date.parse(point?.timestamp ?? ""), point?.quality], [timestamp * 1000, "uncertain"])
        assert.notProperty(await latestOf(device), "a")
        assert.property(await latestOf(device), "n")
      })
    }
  })

  describe("a wrong key", () => {
    it("is refused with CONNACK 4 over MQTT", async () => {
      const device = await deviceOf("plain")
      const refused = await connectDevice({ ...device, key: neighbour.key }).catch((error: { code?: number }) => error)
      assert.strictEqual((refused as { code?: number }).code, 4)
    })
    it("is refused with 401 over HTTP, and another device's with 403", async () => {
      const device = await deviceOf("plain")
      const post = (key: string) =>
        platform.request(
          "POST",
          "/api/v1/telemetry",
          { deviceId: device.id, metrics: { a: 1 } },
          { authorization: `Bearer ${key}` }
        )
      assert.strictEqual((await post("no-such-key")).status, 401)
      assert.strictEqual((await post(neighbour.key)).status, 403)
      assert.deepStrictEqual(await historyOf(device), {})
    })
  })

  describe("over HTTP", () => {
    const post = (device: Device, body: Buffer | string) =>
      fetch(`${platform.url}/api/v1/telemetry`, {
        method: "POST",
        headers: { authorization: `Bearer ${device.key}`, "content-type": "application/json" },
        body
      })

    const refusals: ReadonlyArray<readonly [string, string | Buffer, number, string | undefined]> = [
      ["a body that is not JSON", "{", 400, ""],
      ["truncated UTF-8", bytes('{"metrics":{"a":"', 0xe2, 0x82), 400, ""],
      ["a metric that is a list", '{"metrics":{"a":[1]}}', 400, "metrics.a"],
      ["one faulty message of two", '[{"metrics":{"a":1}},{"metrics":{"a":null}}]', 400, "[1].metrics.a"],
      ["a body over 8 MiB", Buffer.alloc(8 * MEBIBYTE + 1, " "), 413, undefined]
    ]
    for (const [name, body, status, path] of refusals) {
      it(`${name} is answered ${status} with the path, and nothing is stored`, async () => {
        const device = await deviceOf("plain")
        assert.strictEqual((await post(device, '{"metrics":{"n":1}}')).status, 202)
        const answer = await post(device, body)
        assert.strictEqual(answer.status, status)
        const { errors } = (await answer.json()) as { readonly errors?: ReadonlyArray<{ readonly path: string }> }
        if (path !== undefined) assert.strictEqual(errors?.[0]?.path, path)
        assert.strictEqual((await post(device, '{"metrics":{"n":2}}')).status, 202)
        assert.deepStrictEqual(Object.keys(await bothGood(device)), ["n"])
        assert.deepStrictEqual(await deadLettersOf(device), [])
      })
    }

    it("the request beyond the rate is answered 429 with Retry-After, while MQTT goes on", async () => {
      const type = await platform.createDeviceType("limited", { processingMode: "endpoint", rateLimitPerMinute: 100 })
      const device = await platform.createDevice("Limited", type)
      const began = performance.now()
      let accepted = 0
      let refused: Response | undefined
      while (refused === undefined && accepted < 1_000) {
        const answer = await post(device, JSON.stringify({ metrics: { a: accepted } }))
        await answer.arrayBuffer()
        if (answer.status === 202) accepted++
        else refused = answer
      }
      const refilled = ((performance.now() - began) / 60_000) * 100
      assert.strictEqual(refused?.status, 429)
      assert.isAtLeast(Number(refused?.headers.get("retry-after")), 1)
      assert.isAtLeast(accepted, 100)
      assert.isAtMost(accepted, 100 + Math.ceil(refilled))
      await sendAmid(device, "plain", '{"a":1000}')
      assert.lengthOf((await bothGood(device))["a"] ?? [], accepted + 1)
    })
  })

  it("the neighbour, who was sending all the while, has every message stored in order", async () => {
    clearInterval(neighbourTimer)
    await eventually("the neighbour's last acknowledgement", 30, () =>
      neighbourConnection.outstanding === 0 ? true : undefined
    )
    const sql = await connectSuperuser(platform.dataDirectory)
    const stored = async () =>
      (
        await sql.query<{ sequence: number }>(
          `select (metrics ->> 'sequence')::int as sequence from telemetry_frames where entity_id = '${neighbour.id}' order by received_at`
        )
      ).map(({ sequence }) => sequence)
    try {
      await eventually("storing the last", 60, async () =>
        (await stored()).length >= neighbourSent ? true : undefined
      )
      assert.isAbove(neighbourSent, 100)
      assert.deepStrictEqual(
        await stored(),
        Array.from({ length: neighbourSent }, (_, index) => index)
      )
    } finally {
      await sql.close()
    }
    assert.deepStrictEqual(await deadLettersOf(neighbour), [])
  })
})
