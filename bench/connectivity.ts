/**
 * What the event engine costs per message, without the loop around it, and what it keeps in memory of 100,000 devices. Prints a
 * table. Run with --expose-gc.
 * @module
 */
import { normalizedHeaders } from "@argusiq/domain/envelope.ts"
import { Fleet } from "@argusiq/event-engine/Fleet.ts"
import { eachSighting } from "@argusiq/event-engine/sightings.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { randomUUID } from "node:crypto"

const DEVICES = 100_000
const LIMIT_SECONDS = 300
const ROUNDS = 8
const CHILDREN = 50
const start = 1_767_225_600_000_000

const [tenantId, deviceTypeId] = [randomUUID(), randomUUID()]
const names = ["temperature", "humidity", "pressure", "voltage", "current", "power", "rpm", "flow", "co2", "battery"]
const metrics = Object.fromEntries(names.map((name, index) => [name, 1_013.25 + index]))
const reading = (deviceId: string, count: number) => ({
  readingId: randomUUID(),
  deviceId,
  ts: start,
  deviceTypeId,
  typeVersion: 1,
  metrics: Object.fromEntries(Object.entries(metrics).slice(0, count))
})
/** Of one sender; what a test of time needs of it is only in its headers. */
const messageOf = (deviceId: string, readings: ReadonlyArray<{ readonly deviceId: string }>) => {
  const value = Buffer.from(
    JSON.stringify({ messageId: randomUUID(), tenantId, deviceId, receivedAt: start, readings })
  )
  return (receivedAt: number): StoredRecord => ({
    topic: "telemetry.normalized.v1",
    key: deviceId,
    partition: 0,
    offset: 0n,
    appendedAt: 0,
    value,
    headers: normalizedHeaders(
      {
        "message-id": deviceId,
        "tenant-id": tenantId,
        "device-id": deviceId,
        "received-at": String(receivedAt),
        "device-type-id": deviceTypeId,
        source: "mqtt"
      },
      { deviceId, readings }
    )
  })
}

const memory = () => {
  globalThis.gc?.()
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

const devices = Array.from({ length: DEVICES }, () => randomUUID())
const before = memory()
const fleet = new Fleet(0, [], () => LIMIT_SECONDS)
const addressed = (deviceId: string) => ({ deviceId: Buffer.from(deviceId).toString(), tenantId, deviceTypeId })
for (const deviceId of devices) fleet.seen(addressed(deviceId), start)
const unsaved = fleet.unsaved()
if (unsaved !== undefined) fleet.saved(unsaved)
const bytes = memory() - before

const see = (deviceId: string, tenant: string, type: string, at: number) =>
  fleet.seen({ deviceId, tenantId: tenant, deviceTypeId: type }, at)

interface Measured {
  readonly what: string
  readonly microsOfProcessor: number
}
const measure = (what: string, count: number, run: (round: number) => void): Measured => {
  const runs: Array<number> = []
  for (let round = 1; round <= ROUNDS; round++) {
    const began = process.cpuUsage()
    run(round)
    const { system, user } = process.cpuUsage(began)
    runs.push((system + user) / count)
  }
  return { what, microsOfProcessor: Number(runs.toSorted((one, other) => one - other)[ROUNDS >> 1]!.toFixed(3)) }
}

const senders = devices.slice(0, 20_000).map((deviceId) => messageOf(deviceId, [reading(deviceId, 10)]))
const gateways = devices.slice(0, 500).map((deviceId, index) =>
  messageOf(
    deviceId,
    devices.slice(index * CHILDREN, (index + 1) * CHILDREN).map((child) => reading(child, 2))
  )
)
const table = [
  measure("a message of a device that is online", senders.length, (round) => {
    for (const record of senders) eachSighting(record(start + round), see)
  }),
  measure(`a message of a gateway with ${CHILDREN} children`, gateways.length, (round) => {
    for (const record of gateways) eachSighting(record(start + round), see)
  }),
  measure("a tick over 100,000 devices, per device", DEVICES, (round) => {
    fleet.telemetryTime = fleet.connectionsTime = start + round
    fleet.learnOutages({ acceptedUntil: start + round, gaps: [] })
    fleet.judgeSilence()
  }),
  measure("an online that comes and goes by silence, event included", DEVICES * 2, (round) => {
    const at = start + round * 1_000 * 1_000_000
    for (const deviceId of devices) fleet.seen({ deviceId, tenantId, deviceTypeId }, at)
    fleet.telemetryTime = fleet.connectionsTime = at + 400 * 1_000_000
    fleet.learnOutages({ acceptedUntil: fleet.telemetryTime, gaps: [] })
    fleet.judgeSilence()
    const changes = fleet.unsaved()
    if (changes !== undefined) fleet.saved(changes)
  })
]
console.table(table)
console.log(
  `${DEVICES} devices: ${(bytes / 1_048_576).toFixed(1)} MiB, ${Math.round(bytes / DEVICES)} bytes each` +
    (globalThis.gc === undefined ? " (garbage included: run with --expose-gc)" : "")
)
