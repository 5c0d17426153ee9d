/**
 * The normalizer: turns a device's bytes into readings, by the version of the device's type that the dispatcher stamped, and
 * so for each child of a gateway and each port of a device.
 * @module
 */
import { normalizedHeaders } from "@argusiq/domain/envelope.ts"
import type { CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import type { Poison } from "@argusiq/domain/errors.ts"
import type { Evaluate } from "@argusiq/domain/expression/expression.ts"
import { encodeNormalized, type EndpointMessage, normalizeEndpoint } from "@argusiq/domain/normalize.ts"
import type { AliasTable } from "@argusiq/domain/protocol/decoder.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { BusRecord, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { type DeviceTypeVersions, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { compiledVersion, stampOf, typesOfVersions } from "@argusiq/layers/profiles/stampedVersions.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { eachWithExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
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

/** What one record comes to, with the expressions that are known: to be called again when more are. */
type Normalize = (evaluate: Evaluate) => Result.Result<Normalized, Poison>

/** A record's aliases are taken once, by the first call, since they have their place in the order of the batch. */
const decodingOnce = (record: StoredRecord, aliases: AliasBatch, message: EndpointMessage) => {
  let known: AliasTable | undefined
  return (evaluate: Evaluate) => {
    if (known !== undefined) return normalizeEndpoint({ ...message, evaluate, aliases: known })
    return aliases.through(record, (table) => {
      known = table
      return normalizeEndpoint({ ...message, evaluate, aliases: table })
    })
  }
}

const normalizing = (
  record: StoredRecord,
  types: ReadonlyMap<string, DeviceTypeVersions>,
  aliases: AliasBatch
): Normalize => {
  const { headers } = record
  const stamp = stampOf(record)
  const compiled = compiledVersion(stamp, types)
  if (Result.isFailure(compiled)) return () => Result.fail(compiled.failure)
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
  const decode = compiled.success.decoder.stateful
    ? decodingOnce(record, aliases, endpointMessage)
    : (evaluate: Evaluate) => normalizeEndpoint({ ...endpointMessage, evaluate })
  return (evaluate) => {
    const result = decode(evaluate)
    if (Result.isFailure(result)) return Result.fail(result.failure)
    const { message, skipped } = result.success
    return Result.map(encodeNormalized(message), (value) => ({
      skipped,
      record: { topic: Topics.normalized, key: record.key, value, headers: normalizedHeaders(headers, message) }
    }))
  }
}

export const normalizer: Effect.Effect<Consumer, never, Profiles | AliasStore | Sandbox> = Effect.gen(function* () {
  const profiles = yield* Profiles
  const aliasStore = yield* AliasStore
  const sandbox = yield* Sandbox

  const normalizeEndpoints = Effect.fnUntraced(function* (records: ReadonlyArray<StoredRecord>) {
    const types = yield* typesOfVersions(profiles, records.map(stampOf))
    const aliases = yield* aliasStore.open(statefulOf(records, types))
    const publish: Array<BusRecord> = []
    const deadLetters: Array<Outcome["deadLetters"][number]> = []
    let skipped = 0
    const normalizations = records.map((record) => normalizing(record, types, aliases))
    const results = yield* eachWithExpressions(sandbox, normalizations, (normalize, evaluate) => normalize(evaluate))
    for (const [index, result] of results.entries()) {
      if (Result.isSuccess(result)) {
        publish.push(result.success.record)
        skipped += result.success.skipped
      } else deadLetters.push({ record: records[index]!, error: result.failure })
    }
    yield* aliases.save
    return { publish, deadLetters, skipped }
  })

  const process: Consumer["process"] = Effect.fnUntraced(function* ({ records, topic }) {
    const { deadLetters, publish, skipped } = yield* topic === Topics.logicalDevices
      ? normalizeLogicalDevices(profiles, sandbox, records)
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
