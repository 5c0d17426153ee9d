/**
 * Device readings as assets see them: for each link that is valid at a reading's timestamp, one reading of the asset, by the
 * version of the asset's type in force then. Keyed by asset from here on.
 * @module
 */
import { parseNormalized, jsonValue } from "@argusiq/domain/record-json.ts"
import type { AssetProfile, Link } from "@argusiq/domain/asset/asset.ts"
import type { DeviceAssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import type { AssetTypeProfile } from "@argusiq/domain/asset/asset-type.ts"
import { throughLink, versionsOf } from "@argusiq/domain/asset/device-view.ts"
import { takes } from "@argusiq/domain/asset/mapping.ts"
import { onlyDeviceOf, onlyDevicesOf } from "@argusiq/domain/envelope.ts"
import type { AssetId } from "@argusiq/domain/ids.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import type { NormalizedMessage, Reading } from "@argusiq/domain/readings.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { isGatewayMessage } from "@argusiq/domain/transactions.ts"
import { type MessageAssets, tellAssets } from "@argusiq/layers/asset-state/visibility.ts"
import type { BusRecord, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { makePauses } from "@argusiq/layers/bus/pauses.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { AssetProfiles } from "@argusiq/layers/profiles/AssetProfiles.ts"
import { Effect, Metric, Result } from "effect"
import { Failpoints } from "./Failpoints.ts"

export const SERVICE = "asset-health"
/** An asset's readings, and a parent's children, come through many partitions: while they catch up, not further apart than this. */
export const MAX_DRIFT_MICROS = 60_000_000

const mapped = Metric.withAttributes(Metric.counter("argusiq_asset_readings_total", { incremental: true }), {
  service: SERVICE
})

interface Opened {
  readonly record: StoredRecord
  readonly message: NormalizedMessage
}

const open = (records: ReadonlyArray<StoredRecord>) => {
  const opened: Array<Opened> = []
  const deadLetters: Array<Outcome["deadLetters"][number]> = []
  for (const record of records) {
    const read = parseNormalized(record)
    if (Result.isSuccess(read)) opened.push({ record, message: read.success })
    else deadLetters.push({ record, error: read.failure })
  }
  return { opened, deadLetters }
}

/** What the batch needs to know of links, assets and types. */
interface Known {
  readonly links: ReadonlyMap<string, ReadonlyArray<Link>>
  readonly assets: ReadonlyMap<string, AssetProfile>
  readonly types: ReadonlyMap<string, AssetTypeProfile>
}

/** Undefined: the asset sees nothing of the reading. */
const seenThrough = (
  { assets, types }: Known,
  { messageId, receivedAt, tenantId }: NormalizedMessage,
  reading: Reading,
  link: Link
): DeviceAssetReading | undefined => {
  const asset = assets.get(link.assetId)
  if (asset === undefined || asset.tenantId !== tenantId || asset.status === "decommissioned") return undefined
  const type = types.get(asset.assetTypeId)
  return type && throughLink(link, asset, versionsOf(type), { ...reading, messageId, receivedAt })
}

/** The assets of a gateway's message that belong together: none where it is one asset's alone. */
const togetherOf = (
  message: NormalizedMessage,
  readings: ReadonlyArray<DeviceAssetReading>
): MessageAssets | undefined => {
  if (!isGatewayMessage(message)) return undefined
  const assetIds = [...new Set(readings.map(({ assetId }) => assetId))]
  if (assetIds.length < 2) return undefined
  const { correlationId, deviceId, messageId, receivedAt, tenantId } = message
  return {
    messageId,
    tenantId,
    gatewayId: deviceId,
    correlationId: correlationId ?? messageId,
    receivedAt,
    assetIds: assetIds.toSorted()
  }
}

/** What it was retried for is over. */
const onwards = ({ "retry-entry": _entry, "retry-group": _group, ...headers }: StoredRecord["headers"]) => headers

export const assetMapping: Effect.Effect<Consumer, never, AssetProfiles | PipelineSql> = Effect.gen(function* () {
  const profiles = yield* AssetProfiles
  const sql = yield* PipelineSql
  const reach = yield* Failpoints

  const know = Effect.fnUntraced(function* (opened: ReadonlyArray<Opened>) {
    const devices = new Set<string>()
    for (const { message } of opened) for (const { deviceId } of message.readings) devices.add(deviceId)
    const links = yield* profiles.links(devices)
    const ids = new Set<AssetId>()
    for (const ofDevice of links.values()) for (const { assetId } of ofDevice) ids.add(assetId)
    if (ids.size === 0) return undefined
    const assets = yield* profiles.assets(ids)
    const types = yield* profiles.types(new Set(assets.values().map(({ assetTypeId }) => assetTypeId)))
    return { links, assets, types } satisfies Known
  })

  /** Without those of devices that are linked to nothing: most devices of many a fleet, whose readings need not be parsed. */
  const linked = Effect.fnUntraced(function* (records: ReadonlyArray<StoredRecord>) {
    const senders = onlyDevicesOf(records)
    if (senders.size === 0) return records
    const links = yield* profiles.links(senders)
    return records.filter(({ headers }) => {
      const sender = onlyDeviceOf(headers)
      return sender === undefined || (links.get(sender)?.length ?? 0) > 0
    })
  })

  const process: Consumer["process"] = Effect.fnUntraced(function* ({ records }) {
    const { deadLetters, opened } = open(yield* linked(records))
    const known = yield* know(opened)
    if (known === undefined) return { publish: [], deadLetters }
    const publish: Array<BusRecord> = []
    const together: Array<MessageAssets> = []
    const pause = makePauses()
    for (const { message, record } of opened) {
      const readings: Array<DeviceAssetReading> = []
      for (const reading of message.readings) {
        for (const link of known.links.get(reading.deviceId) ?? []) {
          const seen = takes(link, reading) ? seenThrough(known, message, reading, link) : undefined
          if (seen !== undefined) readings.push(seen)
        }
      }
      if (readings.length === 0) continue
      const sharing = togetherOf(message, readings)
      if (sharing !== undefined) together.push(sharing)
      const headers = onwards(record.headers)
      for (const reading of readings) {
        const value = sharing === undefined ? reading : { ...reading, transactionId: sharing.messageId }
        publish.push({
          topic: Topics.assetReadings,
          key: reading.assetId,
          ...jsonValue(value),
          headers
        })
      }
      yield* pause(readings.length)
    }
    // Before the first of them is read: a transaction whose assets are not known would be shown piecemeal.
    if (together.length > 0) yield* tellAssets(sql, mergedOf(together))
    yield* Metric.update(mapped, publish.length)
    reach("mapped")
    return { publish, deadLetters }
  })

  return {
    service: SERVICE,
    group: Groups.assetMapping,
    topics: [Topics.normalized],
    offsets: "bus",
    maxWaitMillis: 100,
    maxDriftMicros: MAX_DRIFT_MICROS,
    process
  }
})

/** Each message once: a batch may hold retries of several entries of one. */
const mergedOf = (messages: ReadonlyArray<MessageAssets>): ReadonlyArray<MessageAssets> => {
  const byId = new Map<string, MessageAssets>()
  for (const message of messages) {
    const before = byId.get(message.messageId)
    const assetIds = before === undefined ? message.assetIds : [...new Set([...before.assetIds, ...message.assetIds])]
    byId.set(message.messageId, { ...message, assetIds })
  }
  return [...byId.values()]
}
