/**
 * Devices that speak no JSON: through every protocol adapter, over MQTT and over HTTP, to history; what cannot be read to the
 * dead letters, with the byte and the field.
 */
import { deadLetterTopic, EMBEDDED_PARTITIONS, Topics } from "@argusiq/domain/topics.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { assert, describe, it } from "@effect/vitest"
import { connectAsync } from "mqtt"
import { afterAll, beforeAll } from "vitest"
import { type Device, eventually, PlatformProcess } from "../support/PlatformProcess.ts"

interface Speaker {
  readonly adapter: unknown
  readonly contentType: string
  /** Each is sent over MQTT, and again over HTTP. */
  readonly payloads: ReadonlyArray<Buffer>
  /** What each metric's history is after one round. */
  readonly values: Readonly<Record<string, ReadonlyArray<unknown>>>
  readonly bad: Buffer
  /** Of the bad one: at which byte, and in which field. */
  readonly place: { readonly offset: number; readonly field?: string }
}

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex")
const binary = "application/octet-stream"
const registers = [
  { name: "voltage", offset: 0, type: "uint16", scale: 0.5 },
  { name: "power", offset: 2, type: "float32", wordSwapped: true }
]
const channels = [
  { tag: "0175", name: "battery", type: "uint8" },
  { tag: "0367", name: "temperature", type: "int16", endianness: "little", scale: 0.5 }
]

const speakers: Readonly<Record<string, Speaker>> = {
  csv: {
    adapter: "csv",
    contentType: "text/csv",
    payloads: [Buffer.from("temperature,state\n21.5,ok\n")],
    values: { temperature: [21.5], state: ["ok"] },
    bad: Buffer.from('a,b\n1,"x'),
    place: { offset: 6 }
  },
  cbor: {
    adapter: "cbor",
    contentType: "application/cbor",
    payloads: [hex("a1 61 74 f9 4d 60")],
    values: { t: [21.5] },
    bad: hex("a1 61 74 f9 4d"),
    place: { offset: 3 }
  },
  "senml as JSON": {
    adapter: "senml",
    contentType: "application/senml+json",
    payloads: [Buffer.from('[{"bn":"urn:dev:1:","n":"temp","u":"Cel","v":23.1}]')],
    values: { temp: [23.1] },
    bad: Buffer.from('[{"bn":"urn:dev:1:","n":"temp","v":"hot"}]'),
    place: { offset: 0, field: "[0]" }
  },
  "senml as CBOR": {
    adapter: { kind: "senml", format: "cbor" },
    contentType: "application/senml+cbor",
    payloads: [hex("81 a3 21 66 6465763a313a 00 64 74656d70 02 f9 4d60")],
    values: { temp: [21.5] },
    bad: hex("81 a3 21 75 68747470733a2f2f"),
    place: { offset: 3 }
  },
  "Sparkplug B": {
    adapter: "sparkplug_b",
    contentType: binary,
    payloads: [hex("120f 0a04 74656d70 1001 2009 65 0000a041 1800"), hex("1207 1001 65 0000ac41 1801")],
    values: { temp: [20, 21.5] },
    bad: hex("1207 1009 65 0000ac41 1801"),
    place: { offset: 1, field: "alias 9" }
  },
  "Modbus registers": {
    adapter: { kind: "binary", fields: registers },
    contentType: binary,
    payloads: [hex("01cd 0000 41ac")],
    values: { voltage: [230.5], power: [21.5] },
    bad: hex("01cd 0000"),
    place: { offset: 4, field: "power" }
  },
  "LoRaWAN channels": {
    adapter: { kind: "tlv", tagLength: 2, fields: channels },
    contentType: binary,
    payloads: [hex("01755c 03672b00")],
    values: { battery: [92], temperature: [21.5] },
    bad: hex("01755c 03672b"),
    place: { offset: 3, field: "0367" }
  },
  "Cayenne LPP": {
    adapter: { kind: "cayenne_lpp" },
    contentType: binary,
    payloads: [hex("03 67 0110")],
    values: { temperature_3: [27.2] },
    bad: hex("03 67 01"),
    place: { offset: 2, field: "temperature_3" }
  }
}

const meter = {
  sourceProtocol: "modbus",
  transformationRules: {
    firstRegister: 100,
    registers: [{ name: "voltage", register: 100, type: "uint16", scale: 0.5 }]
  }
}

describe("protocol adapters", () => {
  let platform: PlatformProcess
  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare()).start()
  }, 90_000)
  afterAll(() => platform.dispose())

  const deviceOf = async (name: string, protocolAdapter: unknown): Promise<Device> => {
    // SenML and Sparkplug have their values under `metrics`, the others at the top: both are what no rules take.
    const config = { processingMode: "endpoint", protocolAdapter }
    return platform.createDevice(name, await platform.createDeviceType(name, config))
  }
  const publish = async ({ id, key }: Device, payloads: ReadonlyArray<Buffer>) => {
    const client = await connectAsync(`mqtt://127.0.0.1:${platform.mqttPort}`, { username: id, password: key })
    for (const payload of payloads) await client.publishAsync(`devices/${id}/telemetry`, payload, { qos: 1 })
    await client.endAsync()
  }
  const post = async ({ key }: Device, payload: Buffer, contentType: string) => {
    const response = await fetch(`${platform.url}/api/v1/telemetry`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": contentType },
      body: new Uint8Array(payload)
    })
    assert.strictEqual(response.status, 202, await response.text())
  }

  const historyOf = async ({ id }: Device) => {
    const { series } = await platform.api<{
      readonly series: ReadonlyArray<{
        readonly metricKey: string
        readonly data: ReadonlyArray<{ readonly value: unknown }>
      }>
    }>("GET", `/telemetry/device/${id}`)
    return Object.fromEntries(series.map(({ data, metricKey }) => [metricKey, data.map(({ value }) => value)]))
  }
  const historyBecomes = async (device: Device, expected: Readonly<Record<string, ReadonlyArray<unknown>>>) => {
    const count = Object.values(expected)[0]!.length
    const found = await eventually(`${count} readings`, 60, async () => {
      const history = await historyOf(device)
      return (Object.values(history)[0]?.length ?? 0) >= count ? history : undefined
    })
    assert.deepStrictEqual(found, expected)
  }
  const deadLettersOf = async ({ id }: Device) => {
    const partition = partitionOf(EMBEDDED_PARTITIONS, Buffer.from(id))
    const { items } = await platform.api<{
      readonly items: ReadonlyArray<{ readonly key: string; readonly headers: Readonly<Record<string, string>> }>
    }>("GET", `/topics/${deadLetterTopic(Topics.endpoint)}/records?partition=${partition}&limit=500`)
    return items.filter(({ key }) => key === id).map(({ headers }) => headers)
  }

  for (const [name, speaker] of Object.entries(speakers)) {
    it(`${name}: stored over MQTT and HTTP alike, and refused with the place where it cannot be read`, async () => {
      const { adapter, bad, contentType, payloads, place, values } = speaker
      const device = await deviceOf(name, adapter)
      await publish(device, [...payloads, bad])
      for (const payload of payloads) await post(device, payload, contentType)
      await historyBecomes(
        device,
        Object.fromEntries(Object.entries(values).map(([key, once]) => [key, [...once, ...once]]))
      )
      const letters = await deadLettersOf(device)
      assert.lengthOf(letters, 1)
      const { "dlq-message": message, "dlq-path": field, "dlq-reason": reason } = letters[0]!
      assert.strictEqual(reason, "Undecodable")
      assert.include(message, `at byte ${place.offset}`)
      assert.strictEqual(field, place.field)
    })
  }

  it("a converter: its registers are read by the version that copied it, also after it has changed", async () => {
    const { id: converterId } = await platform.api<{ id: string }>("POST", "/protocol-converters", {
      name: "Meter",
      ...meter
    })
    const device = await deviceOf("converted", { converterId })
    await publish(device, [hex("01cd")])
    await historyBecomes(device, { voltage: [230.5] })
    await platform.api("PATCH", `/protocol-converters/${converterId}`, { isActive: false })
    await platform.api("DELETE", `/protocol-converters/${converterId}`)
    await publish(device, [hex("0002")])
    await historyBecomes(device, { voltage: [230.5, 1] })
  })

  it("Sparkplug B: aliases survive a restart of the platform", async () => {
    const device = await deviceOf("edge node", "sparkplug_b")
    const [birth, data] = speakers["Sparkplug B"]!.payloads
    await publish(device, [birth!])
    await historyBecomes(device, { temp: [20] })
    assert.strictEqual(await platform.stop(), 0)
    await platform.start()
    await publish(device, [data!])
    await historyBecomes(device, { temp: [20, 21.5] })
  })
})
