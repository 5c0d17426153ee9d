/**
 * Device types and messages for the tests of the domain.
 * @module
 */
import { compileDeviceType, type InvalidDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { type Poison } from "@argusiq/domain/errors.ts"
import { normalizeEndpoint } from "@argusiq/domain/normalize.ts"
import { type Reading } from "@argusiq/domain/readings.ts"
import { Result, Schema } from "effect"

export const deviceId = "0190a5f0-7b1e-7c3d-8a2b-1f2e3d4c5b6a"
export const tenantId = "0190a5f0-7b1e-7c3d-8a2b-000000000001"
export const deviceTypeId = "0190a5f0-7b1e-7c3d-8a2b-000000000002"
export const messageId = "0190a5f0-7b1e-7c3d-8a2b-000000000003"
/** 2026-01-01T00:00:00Z */
export const receivedAt = 1_767_225_600_000_000

const decodeConfig = Schema.decodeUnknownSync(DeviceTypeConfig)

export const compile = (config: object = {}) =>
  compileDeviceType(decodeConfig({ processingMode: "endpoint", ...config }))

export const compiled = (config: object = {}) => Result.getOrThrow(compile(config))

/** What is wrong with a configuration, as `path: message` lines. */
export const problemsOf = (config: object): string =>
  Result.match(compile(config), {
    onSuccess: () => "",
    onFailure: (error: InvalidDeviceType) => error.message
  })

export const bytes = (payload: string | Uint8Array | object): Uint8Array =>
  payload instanceof Uint8Array
    ? payload
    : new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload))

/** Text is sent as it is, objects as JSON. */
export const normalize = (payload: string | Uint8Array | object, config: object = {}) =>
  normalizeEndpoint({
    compiled: compiled(config),
    typeVersion: 1,
    deviceTypeId,
    messageId,
    tenantId,
    deviceId,
    receivedAt,
    contentType: "application/json",
    payload: bytes(payload)
  })

/** The one reading of a message that must be accepted. */
export const reading = (payload: string | Uint8Array | object, config: object = {}): Reading & { skipped: number } => {
  const { message, skipped } = Result.getOrThrow(normalize(payload, config))
  if (message.readings.length !== 1) throw new Error(`${message.readings.length} readings instead of one`)
  return { ...message.readings[0]!, skipped }
}

/** Why a message that must be refused is refused. */
export const poison = (payload: string | Uint8Array | object, config: object = {}): Poison =>
  Result.getOrThrow(Result.flip(normalize(payload, config)))
