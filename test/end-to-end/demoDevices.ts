/**
 * What the devices of the demo organisation send, over real MQTT, to what is stored and answered: every mode of processing,
 * on whatever bus the platform runs.
 * @module
 */
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { assert, describe, it } from "@effect/vitest"
import { connectAsync } from "mqtt"
import { afterAll, beforeAll } from "vitest"
import { type Device, eventually, type PlatformProcess } from "../support/PlatformProcess.ts"
import { connectSuperuser, type Superuser } from "../support/superuser.ts"

interface Latest {
  readonly metrics: Readonly<Record<string, { readonly value: unknown; readonly timestamp: string }>>
  readonly lastSeen: string | null
}
interface Child {
  readonly id: string
  readonly logicalIdentifier: string
}
interface Transaction {
  readonly id: string
  readonly correlationId: string
  readonly status: string
  readonly chunkCount: number | null
  readonly totalLogicalDevices: number | null
  readonly processedDevices: number
  readonly completedAt: string | null
  readonly error: string | null
}
interface Items<A> {
  readonly items: ReadonlyArray<A>
}
interface DeadLetter {
  readonly key: string
  readonly headers: Readonly<Record<string, string>>
}

/** Declares the tests; `running` gives a platform with the demo organisation, in which its devices have sent nothing yet. */
/** @param partitions of the platform's bus */
export const demoDevices = (running: () => PlatformProcess, partitions: number): void => {
  let platform: PlatformProcess
  let sql: Superuser
  const beaconType = "d0000000-0000-4000-8000-000000000205"

  beforeAll(async () => {
    platform = running()
    sql = await connectSuperuser(platform.dataDirectory)
  })
  afterAll(() => sql.close())

  /** A device of the demo organisation by its serial number, with a key. */
  const demoDevice = async (serialNumber: string): Promise<Device> => {
    const { items } = await platform.api<Items<{ readonly id: string; readonly serialNumber: string | null }>>(
      "GET",
      `/devices?q=${serialNumber}`
    )
    const device = items.find((item) => item.serialNumber === serialNumber)
    assert.isDefined(device, serialNumber)
    const { key } = await platform.api<{ readonly key: string }>("POST", `/devices/${device!.id}/api-keys`, {})
    return { id: device!.id, key }
  }

  /** Publishes one after the other, each acknowledged. */
  const send = async ({ id, key }: Device, messages: ReadonlyArray<unknown>) => {
    const client = await connectAsync(`mqtt://127.0.0.1:${platform.mqttPort}`, {
      username: id,
      password: key,
      clientId: id
    })
    for (const message of messages) {
      const payload = typeof message === "string" ? message : JSON.stringify(message)
      await client.publishAsync(`devices/${id}/telemetry`, payload, { qos: 1 })
    }
    await client.endAsync()
  }

  const latestOf = (id: string) => platform.api<Latest>("GET", `/telemetry/device/${id}/latest`)
  const childrenOf = async ({ id }: Device) => {
    const { items } = await platform.api<Items<Child>>("GET", `/devices/${id}/children?limit=500`)
    return new Map(items.map((child) => [child.logicalIdentifier, child.id]))
  }
  /** The one transaction of this correlation id once it is over. */
  const endedTransaction = (correlationId: string) =>
    eventually(`the end of ${correlationId}`, 60, async () => {
      const { items } = await platform.api<Items<Transaction>>("GET", `/transactions?correlationId=${correlationId}`)
      assert.isBelow(items.length, 2)
      const [transaction] = items
      return transaction === undefined || transaction.completedAt === null ? undefined : transaction
    })
  const deadLettersOf = async ({ id }: Device, topic: string) => {
    const partition = partitionOf(partitions, Buffer.from(id))
    const { items } = await platform.api<Items<DeadLetter>>(
      "GET",
      `/topics/${deadLetterTopic(topic)}/records?partition=${partition}&limit=500`
    )
    return items.filter(({ key }) => key === id).map(({ headers }) => headers)
  }

  const valuesOf = async (id: string) =>
    Object.fromEntries(Object.entries((await latestOf(id)).metrics).map(([key, { value }]) => [key, value]))

  it("Temp Sensor 001, an endpoint: its values are the latest, whether MQTT brings them or HTTP", async () => {
    const sensor = await demoDevice("TS-001-2024")
    await send(sensor, [{ timestamp: "2026-01-29T10:00:00Z", metrics: { temperature: 20.25, humidity: 40 } }])
    await eventually("the latest values", 60, async () => {
      assert.deepEqual(await valuesOf(sensor.id), { temperature: 20.25, humidity: 40 })
      return true
    })
    const { status } = await platform.request(
      "POST",
      "/api/v1/telemetry",
      { timestamp: "2026-01-29T10:00:01Z", metrics: { temperature: 21 } },
      { authorization: `Bearer ${sensor.key}` }
    )
    assert.strictEqual(status, 202)
    await eventually("the latest values", 60, async () => {
      assert.deepEqual(await valuesOf(sensor.id), { temperature: 21, humidity: 40 })
      return true
    })
  })

  it("BLE Gateway 001, a gateway that sends in chunks: its beacons have the readings of all chunks, each once", async () => {
    const gateway = await demoDevice("BG-001-2024")
    const chunk = (seq: number) => ({
      correlationId: "in-parts",
      seq,
      total: 4,
      timestamp: "2026-01-29T10:00:00Z",
      data: { devices: Array.from({ length: 25 }, (_, at) => ({ beaconId: `ble-${seq}-${at}`, rssi: -seq })) }
    })
    await send(gateway, [3, 1, 3, 4, 2].map(chunk))
    const transaction = await endedTransaction("in-parts")
    assert.deepInclude(transaction, { status: "completed", chunkCount: 4, processedDevices: 100, error: null })
    const children = await childrenOf(gateway)
    assert.strictEqual(children.size, 100)
    assert.deepEqual(await valuesOf(children.get("ble-2-24")!), { rssi: -2 })
    const rows = await sql.query<{ count: number }>(
      `select count(*)::int as count from telemetry_frames where source_device_id = '${gateway.id}'`
    )
    assert.deepStrictEqual(rows, [{ count: 100 }])
  })

  describe("Location Hub 001, a gateway", () => {
    let hub: Device
    const isoNow = new Date(Math.floor(Date.now() / 1000) * 1000).toISOString()

    beforeAll(async () => {
      hub = await demoDevice("LH-001-2024")
    })

    it("its beacons become devices of their own, with readings, and the message has a transaction", async () => {
      await send(hub, [
        {
          gatewayId: "location-hub-001",
          correlationId: "first-contact",
          timestamp: isoNow,
          devices: [
            { beaconId: "beacon-001", rssi: -65, battery: 85 },
            { beaconId: "beacon-002", rssi: -70, battery: 90 }
          ]
        }
      ])
      const transaction = await endedTransaction("first-contact")
      assert.deepInclude(transaction, { status: "completed", totalLogicalDevices: 2, processedDevices: 2, error: null })
      const children = await childrenOf(hub)
      assert.deepStrictEqual([...children.keys()], ["beacon-001", "beacon-002"])
      const one = await latestOf(children.get("beacon-001")!)
      assert.deepStrictEqual(
        Object.entries(one.metrics)
          .map(([key, { timestamp, value }]) => [key, value, timestamp])
          .toSorted(),
        [
          ["battery", 85, isoNow],
          ["rssi", -65, isoNow]
        ]
      )
      assert.isNotNull(one.lastSeen)
      assert.isNotNull((await latestOf(hub.id)).lastSeen)
      const child = await platform.api<Record<string, unknown>>("GET", `/devices/${children.get("beacon-002")}`)
      assert.deepInclude(child, {
        parentDeviceId: hub.id,
        deviceTypeId: beaconType,
        status: "active",
        name: "beacon-002"
      })
      const rows = await sql.query<{ source: string }>(
        `select source_device_id::text as source from telemetry_frames where entity_id = '${children.get("beacon-001")}'`
      )
      assert.deepStrictEqual(rows, [{ source: hub.id }])
      const events = await sql.query<{ entity: string }>(
        `select entity_id::text as entity from system_events join devices on devices.id = entity_id
         where event_type = 'DEVICE_CREATED' and parent_device_id = '${hub.id}'`
      )
      assert.sameMembers(
        events.map(({ entity }) => entity),
        [...children.values()]
      )
    })

    it("one bad beacon among good ones is a dead letter by itself; the same message again changes nothing", async () => {
      const message = {
        correlationId: "one-bad",
        timestamp: isoNow,
        devices: [
          { beaconId: "beacon-001", rssi: -1 },
          { rssi: -2 },
          { beaconId: "beacon-003", rssi: "weak", battery: 120 },
          { beaconId: "beacon-001", rssi: -3 }
        ]
      }
      await send(hub, ["{", message, { ...message, correlationId: "again" }, { devices: {} }])
      const transaction = await endedTransaction("again")
      assert.deepInclude(transaction, { status: "completed", totalLogicalDevices: 3, processedDevices: 2 })
      assert.deepInclude(await endedTransaction("one-bad"), { status: "completed", processedDevices: 2 })
      const letters = await eventually("four dead letters", 30, async () => {
        const found = await deadLettersOf(hub, Topics.gateway)
        return found.length >= 4 ? found : undefined
      })
      assert.deepStrictEqual(
        letters.map((headers) => [headers["dlq-reason"], headers["dlq-entry"]]),
        [
          ["Undecodable", undefined],
          ["ExtractionFailed", "1"],
          ["ExtractionFailed", "1"],
          ["ExtractionFailed", undefined]
        ]
      )
      const children = await childrenOf(hub)
      const rows = await sql.query<{ metrics: object; quality: object | null }>(
        `select metrics, quality from telemetry_frames where source_device_id = '${hub.id}' and metrics <> '{"rssi": -70, "battery": 90}'
         order by entity_id <> '${children.get("beacon-001")}', (metrics ->> 'rssi')::int`
      )
      assert.deepStrictEqual(rows, [
        { metrics: { rssi: -65, battery: 85 }, quality: null },
        { metrics: { rssi: -3 }, quality: null },
        { metrics: { rssi: -1 }, quality: null },
        { metrics: { battery: 120 }, quality: { battery: "bad" } }
      ])
    })

    it("keeps the order of 60 messages with 50 beacons each, and every reading once", async () => {
      const messages = Array.from({ length: 60 }, (_, sequence) => ({
        correlationId: `ordered-${sequence}`,
        devices: Array.from({ length: 50 }, (_, beacon) => ({ beaconId: `ordered-${beacon}`, rssi: sequence }))
      }))
      await send(hub, messages)
      await endedTransaction("ordered-59")
      const rows = await sql.query<{ sequences: ReadonlyArray<number>; latest: number }>(
        `select array_agg((frame.metrics ->> 'rssi')::int order by frame.received_at) as sequences,
           min((entity_latest.metrics ->> 'rssi')::int) as latest
         from telemetry_frames frame join devices on devices.id = frame.entity_id join entity_latest using (entity_id)
         where logical_identifier like 'ordered-%' group by frame.entity_id`
      )
      assert.lengthOf(rows, 50)
      for (const { latest, sequences } of rows) {
        assert.deepStrictEqual(
          sequences,
          Array.from({ length: 60 }, (_, sequence) => sequence)
        )
        assert.strictEqual(latest, 59)
      }
    })
  })

  describe("RTU 001, a device with four ports", () => {
    let rtu: Device
    beforeAll(async () => {
      rtu = await demoDevice("RTU-001-2024")
    })

    const ports = [1, 2, 3, 4].map((port) => ({ port, voltage: 230 + port, current: port / 2 }))
    const expected = {
      "port1.voltage": 231,
      "port2.voltage": 232,
      "port3.voltage": 233,
      "port4.voltage": 234,
      "port1.current": 0.5,
      "port2.current": 1,
      "port3.current": 1.5,
      "port4.current": 2
    }

    it("each port's values are the device's, under the port's name, from a list of ports", async () => {
      await send(rtu, [{ timestamp: "2026-01-29T10:00:00Z", ports }])
      await eventually("the latest values", 60, async () => {
        assert.deepEqual(await valuesOf(rtu.id), expected)
        return true
      })
      const rows = await sql.query<{ count: number; source: string }>(
        `select count(*)::int as count, min(source_device_id::text) as source from telemetry_frames where entity_id = '${rtu.id}'`
      )
      assert.deepStrictEqual(rows, [{ count: 4, source: rtu.id }])
      const { items } = await platform.api<Items<Transaction>>("GET", `/transactions?gatewayDeviceId=${rtu.id}`)
      assert.lengthOf(items, 0)
    })

    it("and from an object by port number; a port that is none is a dead letter by itself", async () => {
      const object = { "1": { voltage: 1 }, "2": "off", "3": { voltage: 3 } }
      await send(rtu, [{ timestamp: "2026-01-29T10:00:01Z", ports: object }])
      await eventually("the latest values", 60, async () => {
        assert.deepEqual(await valuesOf(rtu.id), { ...expected, "port1.voltage": 1, "port3.voltage": 3 })
        return true
      })
      const letters = await deadLettersOf(rtu, Topics.rtu)
      assert.deepStrictEqual(
        letters.map((headers) => [headers["dlq-reason"], headers["dlq-entry"], headers["dlq-path"]]),
        [["ExtractionFailed", "1", '$.ports["2"]']]
      )
    })
  })
}
