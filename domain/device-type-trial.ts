/**
 * Trying a device type's configuration before any device depends on it: on a payload that somebody typed in, and on its own
 * test vectors when it is published.
 * @module
 */
import { Result } from "effect"
import { type CompiledDeviceType, compileDeviceType, type InvalidDeviceType } from "./compiled-device-type.ts"
import { type DeviceTypeConfig } from "./device-type.ts"
import { type Evaluate } from "./expression/expression.ts"
import { type Instant } from "./ids.ts"
import { encodedBytes, isSequence, type PayloadEncoding, runMessages, trialBytes, type TrialRun } from "./trial-run.ts"

export interface ConfigurationFault {
  readonly path: string // "config.extractionRules.temperature.path"
  readonly message: string
}

const faultsOf = (invalid: InvalidDeviceType): ReadonlyArray<ConfigurationFault> =>
  invalid.problems.map(({ path, message }) => ({ path: path.replace(/^\$/, "config"), message }))

const noStrategy: ConfigurationFault = {
  path: "config.demuxStrategy",
  message: "a gateway needs a strategy that says where its children are and of which type"
}

const noChildType: ConfigurationFault = {
  path: "config.demuxStrategy.childDeviceTypeId",
  message: "the device type of the children is not published, so no payload can be tried: publish it first"
}

/** What would stop every message of a device of this type, apart from what cannot be compiled. */
const missing = (compiled: CompiledDeviceType): ReadonlyArray<ConfigurationFault> => {
  const isGateway = compiled.config.processingMode === "gateway" || compiled.config.processingMode === "gateway_chunked"
  return isGateway && compiled.demultiplexer === undefined ? [noStrategy] : []
}

/**
 * What a payload would become, were it received at `receivedAt`: nothing is stored and no device is asked.
 * @param childType of a gateway: the version of its children's type in force
 * @param encoding how the payload is written; as test vectors write it when absent
 * @param evaluate for expressions that do not run in process; they fail when absent
 */
export const tryPayload = (
  config: DeviceTypeConfig,
  payload: unknown,
  receivedAt: Instant,
  childType?: CompiledDeviceType,
  encoding?: PayloadEncoding,
  evaluate?: Evaluate
): Result.Result<TrialRun, ReadonlyArray<ConfigurationFault>> => {
  const compiled = compileDeviceType(config)
  if (Result.isFailure(compiled)) return Result.fail(faultsOf(compiled.failure))
  const faults = missing(compiled.success)
  if (faults.length > 0) return Result.fail(faults)
  if (compiled.success.demultiplexer !== undefined && childType === undefined) return Result.fail([noChildType])
  const bytesOf = (one: unknown) =>
    encoding === undefined ? trialBytes(compiled.success, one) : encodedBytes(one, encoding)
  const sent = isSequence(compiled.success, payload) ? payload.map(bytesOf) : [bytesOf(payload)]
  const messages = sent.filter((bytes) => bytes !== undefined)
  if (messages.length < sent.length) {
    return Result.fail([{ path: "payload", message: `must be text of the encoding ${encoding}` }])
  }
  const isAlone = !isSequence(compiled.success, payload)
  return Result.succeed(
    runMessages(compiled.success, isAlone ? messages[0]! : messages, receivedAt, childType, evaluate)
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

/**
 * Why a configuration cannot be published: what cannot be compiled, and each test vector that gives something else.
 * @param childType as {@link tryPayload} takes it; needed only where there are test vectors
 */
export const publicationFaults = (
  config: DeviceTypeConfig,
  receivedAt: Instant,
  childType?: CompiledDeviceType,
  evaluate?: Evaluate
): ReadonlyArray<ConfigurationFault> => {
  const compiled = compileDeviceType(config)
  if (Result.isFailure(compiled)) return faultsOf(compiled.failure)
  const faults = missing(compiled.success)
  if (faults.length > 0) return faults
  return config.testVectors.flatMap(({ expected, name, payload }, index): ReadonlyArray<ConfigurationFault> => {
    const path = `config.testVectors[${index}]`
    const tried = tryPayload(config, payload, receivedAt, childType, undefined, evaluate)
    if (Result.isFailure(tried)) return tried.failure
    const [failure] = tried.success.failures
    if (failure !== undefined) {
      return [{ path, message: `"${name}" fails with ${failure.error.reason}: ${failure.error.message}` }]
    }
    const metrics = tried.success.readings.map(({ reading }) => reading.metrics)
    if (isSame(metrics, expected)) return []
    return [{ path, message: `"${name}" gives ${JSON.stringify(metrics)} instead of ${JSON.stringify(expected)}` }]
  })
}
