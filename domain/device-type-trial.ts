/**
 * Trying a device type's configuration before any device depends on it: on a payload that somebody typed in, and on its own
 * test vectors when it is published.
 * @module
 */
import { Result } from "effect"
import { compileDeviceType, type InvalidDeviceType } from "./compiled-device-type.ts"
import { type DeviceTypeConfig } from "./device-type.ts"
import { type Poison } from "./errors.ts"
import { type Instant } from "./ids.ts"
import { normalizeEndpoint, type Normalized } from "./normalize.ts"

export interface ConfigurationFault {
  readonly path: string // "config.extractionRules.temperature.path"
  readonly message: string
}

const nobody = "00000000-0000-0000-0000-000000000000"
const encoder = new TextEncoder()

const faultsOf = (invalid: InvalidDeviceType): ReadonlyArray<ConfigurationFault> =>
  invalid.problems.map(({ path, message }) => ({ path: path.replace(/^\$/, "config"), message }))

const onlyEndpoints: ConfigurationFault = {
  path: "config.processingMode",
  message: "payloads can be tried for device types of the mode endpoint only"
}

/** What a payload would become, were it received at `receivedAt`: nothing is stored and no device is asked. */
export const tryPayload = (
  config: DeviceTypeConfig,
  payload: unknown,
  receivedAt: Instant
): Result.Result<Result.Result<Normalized, Poison>, ReadonlyArray<ConfigurationFault>> => {
  const compiled = compileDeviceType(config)
  if (Result.isFailure(compiled)) return Result.fail(faultsOf(compiled.failure))
  if (config.processingMode !== "endpoint") return Result.fail([onlyEndpoints])
  return Result.succeed(
    normalizeEndpoint({
      compiled: compiled.success,
      typeVersion: 0,
      deviceTypeId: nobody,
      messageId: nobody,
      tenantId: nobody,
      deviceId: nobody,
      receivedAt,
      contentType: "application/json",
      payload: encoder.encode(JSON.stringify(payload))
    })
  )
}

/** Numbers count as equal within a part in 10⁹: scales and units are floating-point arithmetic. */
const isSame = (left: unknown, right: unknown): boolean => {
  if (typeof left === "number" && typeof right === "number") {
    return Math.abs(left - right) <= 1e-9 * Math.max(Math.abs(left), Math.abs(right))
  }
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return left === right
  if (Array.isArray(left) !== Array.isArray(right)) return false
  const keys = Object.keys(left)
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && isSame(Reflect.get(left, key), Reflect.get(right, key)))
  )
}

/** Why a configuration cannot be published: what cannot be compiled, and each test vector that gives something else. */
export const publicationFaults = (config: DeviceTypeConfig, receivedAt: Instant): ReadonlyArray<ConfigurationFault> => {
  const compiled = compileDeviceType(config)
  if (Result.isFailure(compiled)) return faultsOf(compiled.failure)
  return config.testVectors.flatMap(({ expected, name, payload }, index): ReadonlyArray<ConfigurationFault> => {
    const path = `config.testVectors[${index}]`
    const tried = tryPayload(config, payload, receivedAt)
    if (Result.isFailure(tried)) return tried.failure
    const normalized = tried.success
    if (Result.isFailure(normalized)) {
      return [{ path, message: `"${name}" fails with ${normalized.failure.reason}: ${normalized.failure.message}` }]
    }
    const metrics = normalized.success.message.readings.map((reading) => reading.metrics)
    if (isSame(metrics, expected)) return []
    return [{ path, message: `"${name}" gives ${JSON.stringify(metrics)} instead of ${JSON.stringify(expected)}` }]
  })
}
