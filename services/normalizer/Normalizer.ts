/**
 * The normalizer: turns a device's bytes into readings, by the version of the device's type that the dispatcher stamped, and
 * so for each child of a gateway and each port of a device.
 * @module
 */
import type { CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import type { Poison } from "@argusiq/domain/errors.ts"
import { encodeNormalized, type EndpointMessage, normalizeEndpoint } from "@argusiq/domain/normalize.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { BusRecord, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { type DeviceTypeVersions, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { compiledVersion, stampOf, typesOfVersions } from "@argusiq/layers/profiles/stampedVersions.ts"
import { type AliasBatch, AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { Effect, Metric, Result } from "effect"
import { normalizeLogicalDevices } from "./logicalDevices.ts"

const SERVICE = "normalizer"

const counter = (name: string) =>
  Metric.withAttributes(Metric.counter(name, { incremental: true }), { service: SERVICE })
const normalized = counter("argusiq_normalized_messages_total")
const failed = counter("argusiq_failed_messages_total")
const skippedMetrics = counter("argusiq_skipped_metrics_total")

interface Normalized {
  readonly record: BusRecord
  readonly skipped: number
}

const isStateful = (compiled: Result.Result<CompiledDeviceType, Poison>): boolean =>
  Result.isSuccess(compiled) && compiled.success.decoder.stateful

/** The records that say something only together with what their device sent before. */
const statefulOf = (
  records: ReadonlyArray<StoredRecord>,
  types: ReadonlyMap<string, DeviceTypeVersions>
): ReadonlyArray<StoredRecord> => {
  const areThere = types.values().some(({ versions }) => versions.some(({ compiled }) => isStateful(compiled)))
  return areThere ? records.filter((record) => isStateful(compiledVersion(stampOf(record), types))) : []
}

const normalize = (
  record: StoredRecord,
  types: ReadonlyMap<string, DeviceTypeVersions>,
  aliases: AliasBatch
): Result.Result<Normalized, Poison> => {
  const { headers } = record
  const stamp = stampOf(record)
  const compiled = compiledVersion(stamp, types)
  if (Result.isFailure(compiled)) return Result.fail(compiled.failure)
  const endpointMessage: EndpointMessage = {
    compiled: compiled.success,
    typeVersion: stamp.number,
    deviceTypeId: stamp.deviceTypeId,
    messageId: headers["message-id"]!,
    tenantId: headers["tenant-id"]!,
    deviceId: headers["device-id"]!,
    receivedAt: Number(headers["received-at"]),
    contentType: headers["content-type"] ?? "application/json",
    payload: record.value
  }
  const result = compiled.success.decoder.stateful
    ? aliases.through(record, (known) => normalizeEndpoint({ ...endpointMessage, aliases: known }))
    : normalizeEndpoint(endpointMessage)
  if (Result.isFailure(result)) return Result.fail(result.failure)
  const { message, skipped } = result.success
  return Result.map(encodeNormalized(message), (value) => {
    const { "retry-group": _, ...envelope } = headers
    return { skipped, record: { topic: Topics.normalized, key: record.key, value, headers: envelope } }
  })
}

export const normalizer: Effect.Effect<Consumer, never, Profiles | AliasStore> = Effect.gen(function* () {
  const profiles = yield* Profiles
  const aliasStore = yield* AliasStore

  const normalizeEndpoints = Effect.fnUntraced(function* (records: ReadonlyArray<StoredRecord>) {
    const types = yield* typesOfVersions(profiles, records.map(stampOf))
    const aliases = yield* aliasStore.open(statefulOf(records, types))
    const publish: Array<BusRecord> = []
    const deadLetters: Array<Outcome["deadLetters"][number]> = []
    let skipped = 0
    for (const record of records) {
      const result = normalize(record, types, aliases)
      if (Result.isSuccess(result)) {
        publish.push(result.success.record)
        skipped += result.success.skipped
      } else deadLetters.push({ record, error: result.failure })
    }
    yield* aliases.save
    return { publish, deadLetters, skipped }
  })

  const process: Consumer["process"] = Effect.fnUntraced(function* ({ records, topic }) {
    const { deadLetters, publish, skipped } = yield* topic === Topics.logicalDevices
      ? normalizeLogicalDevices(profiles, records)
      : normalizeEndpoints(records)
    yield* Metric.update(normalized, publish.length)
    yield* Metric.update(skippedMetrics, skipped)
    for (const [reason, letters] of Map.groupBy(deadLetters, ({ error }) => error.reason)) {
      yield* Metric.update(Metric.withAttributes(failed, { reason }), letters.length)
    }
    return { publish, deadLetters }
  })

  return {
    service: SERVICE,
    group: Groups.normalizer,
    topics: [Topics.endpoint, Topics.logicalDevices],
    offsets: "bus",
    process
  }
})
