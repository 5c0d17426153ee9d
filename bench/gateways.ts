/**
 * What a gateway's message of 50 children with two metrics each costs on its way, step by step: processor time for each child,
 * garbage collection included. Prints a table. `npm run bench -- --children 50 --metrics 2` measures the whole platform.
 * @module
 */
import { compileDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { demultiplex, gatewayLimits, resolveChildren } from "@argusiq/domain/demultiplex.ts"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { type DeviceId, type DeviceTypeId } from "@argusiq/domain/ids.ts"
import { normalizeEntries } from "@argusiq/domain/normalize-entries.ts"
import { encodeNormalized, openPayload } from "@argusiq/domain/normalize.ts"
import { readingQuery } from "@argusiq/layers/telemetry/readingStatement.ts"
import { Result, Schema } from "effect"
import { randomUUID } from "node:crypto"
import { messageWriter } from "./messages.ts"

const CHILDREN = 50
const METRICS = 2
const MESSAGES = 200
const ROUNDS = 5

const decode = Schema.decodeUnknownSync(DeviceTypeConfig)
const childTypeId = randomUUID() as DeviceTypeId
const compiled = (config: object) => Result.getOrThrow(compileDeviceType(decode(config)))
const child = compiled({
  processingMode: "endpoint",
  extractionRules: Object.fromEntries(
    Array.from({ length: METRICS }, (_, metric) => [
      `metric_${metric}`,
      { path: `$.metric_${metric}`, type: "numeric" }
    ])
  )
})
const gateway = compiled({
  processingMode: "gateway",
  demuxStrategy: {
    childDevicesPath: "$.devices",
    childDeviceIdPath: "$.id",
    autoCreateChildren: true,
    childDeviceTypeId: childTypeId
  }
})
const [messageId, tenantId, gatewayId] = [randomUUID(), randomUUID(), randomUUID()]
const receivedAt = 1_767_225_600_000_000
const children = new Map(
  Array.from({ length: CHILDREN }, (_, index) => [
    `child-${index}`,
    { deviceId: randomUUID() as DeviceId, deviceTypeId: childTypeId, typeVersion: 1 }
  ])
)

const split = (payload: Uint8Array) => {
  const { root } = Result.getOrThrow(openPayload(gateway, payload, gatewayLimits))
  const entries = Result.getOrThrow(demultiplex(gateway.demultiplexer!, root))
  return JSON.stringify(resolveChildren(entries, messageId, (identifier) => children.get(identifier)!).value)
}
const normalize = (text: string) => {
  const value = JSON.parse(text)
  const { message } = normalizeEntries({
    value,
    messageId,
    tenantId,
    deviceId: gatewayId,
    receivedAt,
    typeOf: () => child
  })
  return new TextDecoder().decode(Result.getOrThrow(encodeNormalized(message)))
}

const write = messageWriter(METRICS, CHILDREN)
const payloads = Array.from({ length: MESSAGES }, (_, index) => write(index, receivedAt + index))
const texts = payloads.map(split)
const normalized = texts.map(normalize)

const steps: Readonly<Record<string, () => unknown>> = {
  "demux: open, split, resolve, write": () => payloads.map(split),
  "normalizer: read, extract, reading ids, write": () => texts.map(normalize),
  "writer: read and columns, 20 messages a batch": () => {
    for (let from = 0; from < normalized.length; from += 20) {
      readingQuery(normalized.slice(from, from + 20).map((text) => JSON.parse(text)))
    }
  }
}
const table = Object.entries(steps).map(([what, run]) => {
  const runs = Array.from({ length: 6 }, () => {
    const start = process.cpuUsage()
    for (let round = 0; round < ROUNDS; round++) run()
    const { system, user } = process.cpuUsage(start)
    return (system + user) / (ROUNDS * MESSAGES * CHILDREN)
  })
  const [, ...warm] = runs
  return { what, "µs of CPU per child": Number(warm.toSorted((a, b) => a - b)[2]!.toFixed(2)) }
})
console.log(
  `${payloads[0]!.byteLength}-byte messages of ${CHILDREN} children, ${normalized[0]!.length} bytes normalized`
)
console.table(table)
