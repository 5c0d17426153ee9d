/**
 * What the normalizer costs per message of ten metrics, and where: processor time, garbage collection included. Prints a
 * table.
 * @module
 */
import { compileDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { encodeNormalized, normalizeEndpoint } from "@argusiq/domain/normalize.ts"
import { checkStructure, decodeJson } from "@argusiq/domain/scan.ts"
import { parseTimestamp } from "@argusiq/domain/timestamp.ts"
import { readingIdOf } from "@argusiq/domain/uuid.ts"
import { Result, Schema } from "effect"
import { hash } from "node:crypto"

const names = ["temperature", "humidity", "pressure", "voltage", "current", "power", "rpm", "flow", "co2", "battery"]
const rules = Object.fromEntries(
  names.map((name) => [name, { path: [`$.metrics.${name}`, `$.${name}`], type: "numeric", min: -1e6, max: 1e6 }])
)
const schema = {
  type: "object",
  required: ["metrics"],
  properties: { metrics: { type: "object", additionalProperties: { type: "number" } } }
}
const compiled = (config: object) =>
  Result.getOrThrow(
    compileDeviceType(Schema.decodeUnknownSync(DeviceTypeConfig)({ processingMode: "endpoint", ...config }))
  )
const withoutRules = compiled({})
const withRules = compiled({ extractionRules: rules })
const withSchema = compiled({ extractionRules: rules, messageSchema: schema })

const deviceId = "0190a5f0-7b1e-7c3d-8a2b-1f2e3d4c5b6a"
const receivedAt = 1_767_225_600_000_000
const payloads = Array.from({ length: 1_000 }, (_, index) =>
  new TextEncoder().encode(
    JSON.stringify({
      deviceId,
      timestamp: new Date(receivedAt / 1000 + index).toISOString(),
      metrics: Object.fromEntries(names.map((name, place) => [name, Math.round(index * 37.7 + place * 1013) / 100]))
    })
  )
)
const input = {
  typeVersion: 1,
  deviceTypeId: deviceId,
  messageId: deviceId,
  tenantId: deviceId,
  deviceId,
  receivedAt,
  contentType: "application/json"
}
const normalized = (config: typeof withRules, payload: Uint8Array) =>
  Result.getOrThrow(normalizeEndpoint({ ...input, compiled: config, payload })).message

const digest = hash("sha256", payloads[0]!, "hex")
const measured: Readonly<Record<string, (payload: Uint8Array) => unknown>> = {
  "normalizeEndpoint, no rules": (payload) => normalized(withoutRules, payload),
  "normalizeEndpoint, 10 rules": (payload) => normalized(withRules, payload),
  "normalizeEndpoint, 10 rules and a schema": (payload) => normalized(withSchema, payload),
  "… and encodeNormalized": (payload) => encodeNormalized(normalized(withSchema, payload)),
  checkStructure: (payload) => checkStructure(payload),
  decodeJson: (payload) => decodeJson(payload),
  "SHA-256": (payload) => hash("sha256", payload, "hex"),
  readingIdOf: () => readingIdOf(deviceId, receivedAt, digest, 0, 0),
  "parseTimestamp, ISO 8601": () => parseTimestamp("2026-01-29T10:00:00.123Z", "auto")
}

const rounds = 100
console.log(`${payloads[0]!.byteLength}-byte messages, ${rounds * payloads.length} of them; median of 7 runs`)
const table = Object.entries(measured).map(([name, run]) => {
  const runs = Array.from({ length: 8 }, () => {
    const start = process.cpuUsage()
    for (let round = 0; round < rounds; round++) for (const payload of payloads) run(payload)
    const { system, user } = process.cpuUsage(start)
    return (user + system) / (rounds * payloads.length)
  })
  const [, ...warm] = runs
  return { what: name, "µs of CPU per message": Number(warm.toSorted((a, b) => a - b)[3]!.toFixed(2)) }
})
console.table(table)
