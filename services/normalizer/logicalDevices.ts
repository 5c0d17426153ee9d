/**
 * Records of logical devices: the children of a gateway, or the ports of a device, to readings.
 * @module
 */
import { normalizedHeaders } from "@argusiq/domain/envelope.ts"
import { parseRecord } from "@argusiq/domain/record-json.ts"
import type { CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { effectiveVersion } from "@argusiq/domain/effective.ts"
import type { Poison } from "@argusiq/domain/errors.ts"
import { entryLetters } from "@argusiq/domain/failed-entries.ts"
import { normalizeEntries } from "@argusiq/domain/normalize-entries.ts"
import { encodeNormalized } from "@argusiq/domain/normalize.ts"
import type { LogicalDevices } from "@argusiq/domain/readings.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { BusRecord, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { makePauses } from "@argusiq/layers/bus/pauses.ts"
import type { DeviceTypeVersions, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { compiledVersion, typesOfVersions, type VersionKey } from "@argusiq/layers/profiles/stampedVersions.ts"
import type { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { eachWithExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
import { Effect, Result } from "effect"

interface Opened {
  readonly record: StoredRecord
  readonly value: LogicalDevices
}
interface Unopened {
  readonly record: StoredRecord
  readonly error: Poison
}

/** A retry may be limited to one entry. */
const open = (record: StoredRecord): Opened | Unopened => {
  const read = parseRecord<LogicalDevices>(record, "a list of logical devices")
  if (Result.isFailure(read)) return { record, error: read.failure }
  const value = read.success
  const only = record.headers["retry-entry"]
  if (only === undefined) return { record, value }
  return { record, value: { ...value, entries: value.entries.filter(({ index }) => index === Number(only)) } }
}
const isOpened = (one: Opened | Unopened): one is Opened => "value" in one

/** Each version that the entries were stamped with, once. */
const versionsIn = (opened: ReadonlyArray<Opened>): ReadonlyArray<VersionKey> => {
  const versions = new Map<string, Set<number>>()
  for (const { value } of opened) {
    for (const { deviceTypeId, typeVersion } of value.entries) {
      const numbers = versions.get(deviceTypeId)
      if (numbers === undefined) versions.set(deviceTypeId, new Set([typeVersion]))
      else numbers.add(typeVersion)
    }
  }
  return [...versions].flatMap(([deviceTypeId, numbers]) =>
    Array.from(numbers, (number): VersionKey => ({ deviceTypeId, number }))
  )
}

/** A retry may name the instant whose configuration is to apply: its entries get the versions of then. */
const restamped = ({ record, value }: Opened, types: ReadonlyMap<string, DeviceTypeVersions>): Opened => {
  const at = record.headers["config-at"]
  if (at === undefined) return { record, value }
  const entries = value.entries.map((entry) => {
    const version = effectiveVersion(types.get(entry.deviceTypeId)?.versions ?? [], Number(at))
    return version === undefined ? entry : { ...entry, typeVersion: version.number }
  })
  return { record, value: { ...value, entries } }
}

/** Neighbours are mostly of one version: the last answer is kept. */
const typeOfVersion = (types: ReadonlyMap<string, DeviceTypeVersions>) => {
  let last: (VersionKey & { readonly type: CompiledDeviceType | Poison }) | undefined
  return (deviceTypeId: string, number: number): CompiledDeviceType | Poison => {
    if (last === undefined || last.number !== number || last.deviceTypeId !== deviceTypeId) {
      last = { deviceTypeId, number, type: Result.merge(compiledVersion({ deviceTypeId, number }, types)) }
    }
    return last.type
  }
}

/**
 * Whether a message goes on without a reading: the gateway was heard all the same, and its transaction comes to an end. What a
 * device's own ports come to, or a retried entry, has no such tail.
 */
const goesOnEmpty = ({ record, value }: Opened): boolean =>
  record.headers["retry-entry"] === undefined &&
  value.entries.every(({ deviceId }) => deviceId !== record.headers["device-id"])

export const normalizeLogicalDevices = Effect.fnUntraced(function* (
  profiles: Profiles["Service"],
  sandbox: Sandbox["Service"],
  records: ReadonlyArray<StoredRecord>
) {
  const publish: Array<BusRecord> = []
  const deadLetters: Array<Outcome["deadLetters"][number]> = []
  let skipped = 0
  const all = records.map(open)
  const types = yield* typesOfVersions(profiles, versionsIn(all.filter(isOpened)))
  const typeOf = typeOfVersion(types)
  const pause = makePauses()
  const results = yield* eachWithExpressions(
    sandbox,
    all,
    (one, evaluate) => {
      if (!isOpened(one)) return undefined
      const { record, value } = restamped(one, types)
      return normalizeEntries({
        value,
        messageId: record.headers["message-id"]!,
        tenantId: record.headers["tenant-id"]!,
        deviceId: record.headers["device-id"]!,
        receivedAt: Number(record.headers["received-at"]),
        typeOf,
        evaluate
      })
    },
    (one) => (isOpened(one) ? pause(one.value.entries.length) : Effect.void)
  )
  for (const [index, result] of results.entries()) {
    const one = all[index]!
    if (!isOpened(one)) deadLetters.push(one)
    else if (result !== undefined) {
      const { record } = one
      skipped += result.skipped
      deadLetters.push(...entryLetters(record, result.failed))
      if (result.message.readings.length === 0 && !goesOnEmpty(one)) continue
      const encoded = encodeNormalized(result.message)
      if (Result.isFailure(encoded)) deadLetters.push({ record, error: encoded.failure })
      else {
        const headers = normalizedHeaders(record.headers, result.message)
        publish.push({ topic: Topics.normalized, key: record.key, value: encoded.success, headers })
      }
    }
  }
  return { publish, deadLetters, skipped }
})
