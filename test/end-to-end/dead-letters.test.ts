/**
 * Poison among good messages, over real MQTT: one at the head of every partition and one in each hundred. What is around it
 * keeps its order and its pace, the dead letters are exact, and after the device type is corrected a retry repairs exactly those.
 */
import { EMBEDDED_PARTITIONS, Topics } from "@argusiq/domain/topics.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { assert, describe, it } from "@effect/vitest"
import { afterAll, beforeAll } from "vitest"
import { DeviceConnection } from "../support/DeviceConnection.ts"
import { type Device, eventually, PlatformProcess } from "../support/PlatformProcess.ts"
import { argusiq } from "./Argusiq.ts"

const MESSAGES = 200
/** Of each device's messages, by their place. */
const isPoison = (place: number) => place === 0 || place === 150
const places = Array.from({ length: MESSAGES }, (_, place) => place)
const goodPlaces = places.filter((place) => !isPoison(place))

interface Letter {
  readonly id: string
  readonly topic: string
  readonly group: string
  readonly reason: string
  readonly deviceId: string
  readonly retries: number
  readonly state: string
}
interface NormalizedRecord {
  readonly key: string
  readonly appendedAt: string
  readonly payload: string
}

const config = (...paths: ReadonlyArray<string>) => ({
  processingMode: "endpoint",
  extractionRules: { place: { path: paths, type: "numeric", required: true } }
})

describe("dead letters", () => {
  let platform: PlatformProcess
  let typeId: string
  /** One for each partition. */
  let devices: ReadonlyArray<Device>

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare()).start()
    typeId = await platform.createDeviceType("Counter", config("$.place"))
    const ofPartition = new Map<number, string>()
    while (ofPartition.size < EMBEDDED_PARTITIONS) {
      const body = { name: "Device", deviceTypeId: typeId }
      const made = Array.from({ length: EMBEDDED_PARTITIONS }, () =>
        platform.api<{ id: string }>("POST", "/devices", body)
      )
      for (const { id } of await Promise.all(made))
        ofPartition.set(partitionOf(EMBEDDED_PARTITIONS, Buffer.from(id)), id)
    }
    devices = await Promise.all(
      [...ofPartition.values()].map(async (id) => {
        const { key } = await platform.api<{ key: string }>("POST", `/devices/${id}/api-keys`, {})
        return { id, key }
      })
    )
  }, 120_000)
  afterAll(() => platform.dispose())

  const command = (...parameters: ReadonlyArray<string>) =>
    argusiq(parameters, { ARGUSIQ_DATA_DIR: platform.dataDirectory })

  /** All devices send all their messages at once; completes when all are acknowledged. */
  const sendAll = async (payloadOf: (place: number) => object) => {
    const connections = devices.map(
      ({ id, key }) => new DeviceConnection({ port: platform.mqttPort, deviceId: id, key, window: 20 })
    )
    for (const place of places) {
      for (const connection of connections) {
        connection.publish({ sequence: place, payload: Buffer.from(JSON.stringify(payloadOf(place))) })
      }
    }
    await eventually("every acknowledgement", 60, () =>
      connections.every(({ outstanding }) => outstanding === 0) ? true : undefined
    )
    for (const connection of connections) connection.close()
  }

  /** What a device has measured, oldest first. */
  const historyOf = async ({ id }: Device): Promise<ReadonlyArray<number>> => {
    const { data } = await platform.api<{ data: ReadonlyArray<{ value: number }> }>(
      "GET",
      `/telemetry/device/${id}?metricKey=place&limit=10000`
    )
    return data.map(({ value }) => value)
  }
  const stored = (count: number) =>
    eventually(`${count} readings of each device`, 60, async () => {
      const histories = await Promise.all(devices.map(historyOf))
      return histories.every(({ length }) => length >= count) ? histories : undefined
    })

  /** What came of one device's messages, from the offset on: their places, and milliseconds from received to normalized. */
  const normalizedOf = async ({ id }: Device, from: number) => {
    const partition = partitionOf(EMBEDDED_PARTITIONS, Buffer.from(id))
    const found: Array<NormalizedRecord> = []
    for (let offset = String(from); ;) {
      const { items, next } = await platform.api<{ items: ReadonlyArray<NormalizedRecord>; next: string }>(
        "GET",
        `/topics/${Topics.normalized}/records?partition=${partition}&offset=${offset}&limit=500`
      )
      found.push(...items.filter(({ key }) => key === id))
      if (items.length === 0) break
      offset = next
    }
    return found.map(({ appendedAt, payload }) => {
      const { readings, receivedAt } = JSON.parse(payload) as {
        readonly receivedAt: number
        readonly readings: ReadonlyArray<{ readonly metrics: { readonly place: number } }>
      }
      return { place: readings[0]!.metrics.place, millis: Date.parse(appendedAt) - receivedAt / 1_000 }
    })
  }
  const normalized = (from: number) => Promise.all(devices.map((device) => normalizedOf(device, from)))
  /** What 99 of 100 stay below: one stall of a busy machine decides nothing, a wait at each poison would. */
  const slow = (all: Awaited<ReturnType<typeof normalized>>) => {
    const sorted = all
      .flat()
      .map(({ millis }) => millis)
      .toSorted((one, other) => one - other)
    return { p99: sorted[Math.floor(sorted.length * 0.99)]!, slowest: sorted.at(-1)! }
  }

  const letters = async (query = "") =>
    (await platform.api<{ items: ReadonlyArray<Letter> }>("GET", `/dlq?limit=500&${query}`)).items

  it("are exact, and what is around poison keeps its order and comes less than a second later than without it", async () => {
    await sendAll((place) => ({ place }))
    await stored(MESSAGES)
    const undisturbed = await normalized(0)
    assert.deepStrictEqual(await letters(), [])

    await sendAll((place) => (isPoison(place) ? { wrong: place } : { place }))
    await stored(MESSAGES + goodPlaces.length)
    const disturbed = await normalized(MESSAGES)
    for (const records of disturbed) {
      assert.deepStrictEqual(
        records.map(({ place }) => place),
        goodPlaces
      )
    }
    const [before, after] = [slow(undisturbed), slow(disturbed)]
    console.log("received to normalized, ms, without poison and around it:", before, after)
    assert.isBelow(after.p99 - before.p99, 1_000)

    const found = await eventually("every dead letter", 30, async () => {
      const all = await letters()
      return all.length >= 2 * EMBEDDED_PARTITIONS ? all : undefined
    })
    assert.lengthOf(found, 2 * EMBEDDED_PARTITIONS)
    for (const { id } of devices) assert.lengthOf(await letters(`deviceId=${id}`), 2)
    for (const letter of found) {
      assert.deepInclude(letter, { group: "argusiq.normalizer", reason: "ExtractionFailed", retries: 0, state: "open" })
    }
    const shown = await eventually("the gauge", 30, async () => {
      const { body } = await platform.request("GET", "/metrics")
      const line = String(body)
        .split("\n")
        .find((one) => one.startsWith("argusiq_dead_letters{") && one.includes(`${Topics.endpoint}.dlq`))
      return line?.endsWith(` ${2 * EMBEDDED_PARTITIONS}`) === true ? line : undefined
    })
    assert.include(shown, 'service="jobs"')
  })

  it("are repaired by a retry after the fix, exactly those, and stay open when retried before it", async () => {
    const before = await Promise.all(devices.map(historyOf))
    const listed = await command("dlq", "list", "--reason", "ExtractionFailed")
    assert.strictEqual(listed.code, 0, listed.errors)
    assert.strictEqual(listed.output.split("ExtractionFailed").length - 1, 2 * EMBEDDED_PARTITIONS)

    const early = await platform.api<{ retried: number; repairsHistory: number }>("POST", "/dlq/retry", { all: true })
    assert.strictEqual(early.retried, 2 * EMBEDDED_PARTITIONS)
    await eventually("every retry having failed again", 30, async () => {
      const all = await letters()
      return all.every(({ retries, state }) => retries === 1 && state === "open") ? true : undefined
    })
    assert.lengthOf(await letters(), 2 * EMBEDDED_PARTITIONS)

    await platform.api("PUT", `/device-types/${typeId}/draft`, { config: config("$.place", "$.wrong") })
    await platform.api("POST", `/device-types/${typeId}/publish`)
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    const mended = await command("dlq", "retry", "--reason", "ExtractionFailed", "--config-at", "now")
    assert.strictEqual(mended.code, 0, mended.errors)
    await eventually("every dead letter being resolved", 30, async () =>
      (await letters()).length === 0 ? true : undefined
    )
    const resolved = await letters("state=resolved")
    assert.lengthOf(resolved, 2 * EMBEDDED_PARTITIONS)
    for (const { retries } of resolved) assert.strictEqual(retries, 2)

    const histories = await stored(2 * MESSAGES)
    for (const [index, history] of histories.entries()) {
      assert.deepStrictEqual(history, [...places, ...places])
      assert.deepStrictEqual(
        history.filter((_, place) => place < MESSAGES || !isPoison(place - MESSAGES)),
        before[index]
      )
    }
    const shown = await command("dlq", "show", resolved[0]!.id)
    assert.include(shown.output, '\\"wrong\\"')
  })
})
