/**
 * The dispatcher: looks each message's device up, stamps its type and the version that applies, and sends the untouched
 * bytes on to the topic of the type's processing mode.
 * @module
 */
import { effectiveVersion } from "@argusiq/domain/effective.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { route } from "@argusiq/domain/route.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { BusRecord, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { type DeviceTypeVersions, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import type { DeviceProfile } from "@argusiq/domain/device-type.ts"
import { Effect, Metric, Result } from "effect"

const SERVICE = "dispatcher"

const dispatched = Metric.withAttributes(Metric.counter("argusiq_dispatched_messages_total", { incremental: true }), {
  service: SERVICE
})
const failed = Metric.withAttributes(Metric.counter("argusiq_failed_messages_total", { incremental: true }), {
  service: SERVICE
})
const unknownDevices = Metric.withAttributes(
  Metric.counter("argusiq_unknown_device_messages_total", { incremental: true }),
  { service: SERVICE }
)

interface Dispatched {
  readonly mode: string
  readonly record: BusRecord
}

const poison = (reason: Poison["reason"], message: string) => Result.fail(new Poison({ reason, message }))

/** Where one message goes. `config-at`, set by a retry, stands in for received-at. */
const dispatch = (
  record: StoredRecord,
  devices: ReadonlyMap<string, DeviceProfile>,
  types: ReadonlyMap<string, DeviceTypeVersions>
): Result.Result<Dispatched, Poison> => {
  const { headers } = record
  const deviceId = headers["device-id"] ?? record.key
  const device = devices.get(deviceId)
  if (device === undefined) {
    return poison("UnknownDevice", `Device ${deviceId} does not exist: it was deleted after it had sent this message`)
  }
  if (device.tenantId !== headers["tenant-id"]) {
    return poison("TenantMismatch", `Device ${deviceId} does not belong to organisation ${headers["tenant-id"]}`)
  }
  const at = Number(headers["config-at"] ?? headers["received-at"])
  if (!Number.isSafeInteger(at)) {
    return poison("Undecodable", "The header received-at is no instant in microseconds")
  }
  const version = effectiveVersion(types.get(device.deviceTypeId)?.versions ?? [], at)
  if (version === undefined) {
    return poison(
      "UnknownProcessingMode",
      `Device type ${device.deviceTypeId} of device ${deviceId} has no published version: publish one and retry`
    )
  }
  if (Result.isFailure(version.compiled)) return Result.fail(version.compiled.failure)
  const mode = version.compiled.success.config.processingMode
  const topic = route(mode)
  if (Result.isFailure(topic)) return Result.fail(topic.failure)
  const { "retry-group": _, ...envelope } = headers
  return Result.succeed({
    mode,
    record: {
      topic: topic.success,
      key: record.key,
      value: record.value,
      headers: { ...envelope, "device-type-id": device.deviceTypeId, "type-version": String(version.number) }
    }
  })
}

const increment = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1)

export const dispatcher: Effect.Effect<Consumer, never, Profiles> = Effect.gen(function* () {
  const profiles = yield* Profiles

  const process: Consumer["process"] = Effect.fnUntraced(function* ({ records }) {
    const devices = yield* profiles.devices(new Set(records.map(({ headers, key }) => headers["device-id"] ?? key)))
    const types = yield* profiles.deviceTypes(new Set(devices.values().map((device) => device.deviceTypeId)))
    const publish: Array<BusRecord> = []
    const deadLetters: Array<Outcome["deadLetters"][number]> = []
    const modes = new Map<string, number>()
    const reasons = new Map<string, number>()
    for (const record of records) {
      const result = dispatch(record, devices, types)
      if (Result.isSuccess(result)) {
        publish.push(result.success.record)
        increment(modes, result.success.mode)
      } else {
        deadLetters.push({ record, error: result.failure })
        increment(reasons, result.failure.reason)
      }
    }
    for (const [mode, count] of modes) yield* Metric.update(Metric.withAttributes(dispatched, { mode }), count)
    for (const [reason, count] of reasons) yield* Metric.update(Metric.withAttributes(failed, { reason }), count)
    yield* Metric.update(unknownDevices, reasons.get("UnknownDevice") ?? 0)
    return { publish, deadLetters }
  })

  return { service: SERVICE, group: Groups.dispatcher, topics: [Topics.raw], offsets: "bus", process }
})
