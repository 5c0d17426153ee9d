/**
 * The normalizer: turns a device's bytes into readings, by the version of the device's type that the dispatcher stamped.
 * @module
 */
import { Poison } from "@argusiq/domain/errors.ts"
import { encodeNormalized, normalizeEndpoint } from "@argusiq/domain/normalize.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { BusRecord, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { type DeviceTypeVersions, type EffectiveVersion, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect, Metric, Result } from "effect"

const SERVICE = "normalizer"

const counter = (name: string) =>
  Metric.withAttributes(Metric.counter(name, { incremental: true }), { service: SERVICE })
const normalized = counter("argusiq_normalized_messages_total")
const failed = counter("argusiq_failed_messages_total")
const skippedMetrics = counter("argusiq_skipped_metrics_total")

const versionOf = (
  record: StoredRecord,
  types: ReadonlyMap<string, DeviceTypeVersions>
): EffectiveVersion | undefined => {
  const number = Number(record.headers["type-version"])
  return types.get(record.headers["device-type-id"] ?? "")?.versions.find((version) => version.number === number)
}

interface Normalized {
  readonly record: BusRecord
  readonly skipped: number
}

const normalize = (
  record: StoredRecord,
  types: ReadonlyMap<string, DeviceTypeVersions>
): Result.Result<Normalized, Poison> => {
  const { headers } = record
  const version = versionOf(record, types)
  if (version === undefined) {
    return Result.fail(
      new Poison({
        reason: "UnknownProcessingMode",
        message:
          `Version ${headers["type-version"]} of device type ${headers["device-type-id"]} is not published: ` +
          "it was deleted after the message had been dispatched"
      })
    )
  }
  if (Result.isFailure(version.compiled)) return Result.fail(version.compiled.failure)
  const result = normalizeEndpoint({
    compiled: version.compiled.success,
    typeVersion: version.number,
    deviceTypeId: headers["device-type-id"]!,
    messageId: headers["message-id"]!,
    tenantId: headers["tenant-id"]!,
    deviceId: headers["device-id"]!,
    receivedAt: Number(headers["received-at"]),
    contentType: headers["content-type"] ?? "application/json",
    payload: record.value
  })
  if (Result.isFailure(result)) return Result.fail(result.failure)
  const { message, skipped } = result.success
  return Result.map(encodeNormalized(message), (value) => {
    const { "retry-group": _, ...envelope } = headers
    return { skipped, record: { topic: Topics.normalized, key: record.key, value, headers: envelope } }
  })
}

export const normalizer: Effect.Effect<Consumer, never, Profiles> = Effect.gen(function* () {
  const profiles = yield* Profiles

  /** The types of a batch. A stamped version that is not known is asked for once more, past the cache. */
  const typesOf = Effect.fnUntraced(function* (records: ReadonlyArray<StoredRecord>) {
    const ids = new Set(records.flatMap(({ headers }) => headers["device-type-id"] ?? []))
    const types = yield* profiles.deviceTypes(ids)
    const outdated = new Set(
      records.flatMap((record) =>
        versionOf(record, types) === undefined ? (record.headers["device-type-id"] ?? []) : []
      )
    )
    if (outdated.size === 0) return types
    for (const id of outdated) yield* profiles.invalidate({ type: "device-type", id })
    return yield* profiles.deviceTypes(ids)
  })

  const process: Consumer["process"] = Effect.fnUntraced(function* ({ records }) {
    const types = yield* typesOf(records)
    const publish: Array<BusRecord> = []
    const deadLetters: Array<Outcome["deadLetters"][number]> = []
    const reasons = new Map<string, number>()
    let skipped = 0
    for (const record of records) {
      const result = normalize(record, types)
      if (Result.isSuccess(result)) {
        publish.push(result.success.record)
        skipped += result.success.skipped
      } else {
        const { reason } = result.failure
        deadLetters.push({ record, error: result.failure })
        reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
      }
    }
    yield* Metric.update(normalized, publish.length)
    yield* Metric.update(skippedMetrics, skipped)
    for (const [reason, count] of reasons) yield* Metric.update(Metric.withAttributes(failed, { reason }), count)
    return { publish, deadLetters }
  })

  return { service: SERVICE, group: Groups.normalizer, topics: [Topics.endpoint], offsets: "bus", process }
})
