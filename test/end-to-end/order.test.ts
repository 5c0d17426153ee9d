/** Order per device, from many connections at once to the log and the rows. */
import { EMBEDDED_PARTITIONS, Topics } from "@argusiq/domain/topics.ts"
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { assert, describe, it } from "@effect/vitest"
import { afterAll, beforeAll } from "vitest"
import { DeviceConnection } from "../support/DeviceConnection.ts"
import { type Device, eventually, PlatformProcess } from "../support/PlatformProcess.ts"
import { connectSuperuser } from "../support/superuser.ts"

const DEVICES = 100
const MESSAGES = 200
const inOrder = Array.from({ length: MESSAGES }, (_, index) => index)

interface RecordPage {
  readonly items: ReadonlyArray<{ readonly key: string; readonly payload: string }>
  readonly next: string
}

describe("100 devices, each sending 200 messages with up to 20 unacknowledged at a time", () => {
  let platform: PlatformProcess
  let devices: ReadonlyArray<Device>
  const acknowledged = new Map<string, Array<number>>()

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare()).start()
    const type = await platform.createDeviceType("Counter", { processingMode: "endpoint" })
    devices = await Promise.all(
      Array.from({ length: DEVICES }, (_, index) => platform.createDevice(`Counter ${index}`, type))
    )
    const connections = devices.map(({ id, key }) => {
      const order: Array<number> = []
      acknowledged.set(id, order)
      return new DeviceConnection({
        port: platform.mqttPort,
        deviceId: id,
        key,
        window: 20,
        onAcknowledged: ({ sequence }) => order.push(sequence)
      })
    })
    for (const sequence of inOrder) {
      for (const connection of connections) {
        connection.publish({ sequence, payload: Buffer.from(JSON.stringify({ sequence })) })
      }
    }
    await eventually("all being acknowledged", 60, () =>
      connections.every(({ outstanding }) => outstanding === 0) ? true : undefined
    )
    for (const connection of connections) connection.close()
  }, 120_000)
  afterAll(() => platform.dispose())

  it("acknowledges each device's messages in the order of sending", () => {
    for (const { id } of devices) assert.deepStrictEqual(acknowledged.get(id), inOrder)
  })

  it("stores each device's messages in the order of sending, once", async () => {
    const sql = await connectSuperuser(platform.dataDirectory)
    try {
      await eventually("storing all", 60, async () => {
        const [row] = await sql.query<{ count: number }>("select count(*)::int as count from telemetry_frames")
        return (row?.count ?? 0) >= DEVICES * MESSAGES ? true : undefined
      })
      const rows = await sql.query<{ device: string; sequences: ReadonlyArray<number> }>(
        `select entity_id::text as device, array_agg((metrics ->> 'sequence')::int order by received_at) as sequences
         from telemetry_frames group by entity_id`
      )
      assert.lengthOf(rows, DEVICES)
      for (const { sequences } of rows) assert.deepStrictEqual(sequences, inOrder)
    } finally {
      await sql.close()
    }
  })

  it("has each device's messages in the normalized topic in the order of sending, once", async () => {
    const logged = new Map(devices.map(({ id }): [string, Array<number>] => [id, []]))
    for (let partition = 0; partition < EMBEDDED_PARTITIONS; partition++) {
      let offset = "0"
      for (;;) {
        const page = await platform.api<RecordPage>(
          "GET",
          `/topics/${Topics.normalized}/records?partition=${partition}&offset=${offset}&limit=500`
        )
        if (page.items.length === 0) break
        offset = page.next
        for (const { key, payload } of page.items) {
          const { readings } = JSON.parse(payload) as NormalizedMessage
          for (const { metrics } of readings) logged.get(key)?.push(metrics["sequence"] as number)
        }
      }
    }
    for (const sequences of logged.values()) assert.deepStrictEqual(sequences, inOrder)
  })
})
