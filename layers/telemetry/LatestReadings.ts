/**
 * What a batch says of each device: its latest value per metric, and when it was last seen.
 * @module
 */
import { hash } from "node:crypto"
import { movesLatest } from "@argusiq/domain/normalize.ts"
import type { NormalizedMessage, Quality, Reading } from "@argusiq/domain/readings.ts"
import { BoundedMap } from "../cache/BoundedMap.ts"

/** A reading and the message that it came in: what becomes a row of `telemetry_frames`. */
export interface Frame {
  readonly message: NormalizedMessage
  readonly reading: Reading
}

/** Values that one frame alone does not tell. `older` holds the instants (epoch microseconds) before the newest one. */
export interface MergedLatest {
  readonly metrics: Record<string, Reading["metrics"][string]>
  readonly quality: Record<string, Quality> | undefined
  readonly older: Record<string, number> | undefined
}

/** The latest of a device: the values of its newest frame, unless `merged` says others. */
export interface DeviceLatest {
  readonly newest: number // index of the frame
  /** Tells the names of the metrics, where all of them are of the newest instant. */
  readonly keysHash: bigint | undefined
  readonly merged: MergedLatest | undefined
}

/** A device in a batch. */
export interface DeviceInBatch {
  /** Index of the frame that was received last; undefined: it was seen and counted before. */
  readonly lastSeen: number | undefined
  /** Undefined: nothing in the batch can be its latest. */
  readonly latest: DeviceLatest | undefined
}

/** By their names in any order. Longer ones are rare and are not remembered. */
const hashes = new BoundedMap<bigint>(2_000)
const longestRemembered = 2_000

/** 64 bits that tell the names of metrics, whatever their order. */
const hashOfKeys = (metrics: object): bigint => {
  const keys = Object.keys(metrics)
  const text = keys.join("\n") // which no name contains
  const known = hashes.get(text)
  if (known !== undefined) return known
  const found = hash("sha256", keys.toSorted().join("\n"), "buffer").readBigInt64BE(0)
  if (text.length <= longestRemembered) hashes.set(text, found)
  return found
}

const isEmpty = (record: object): boolean => {
  for (const _ in record) return false
  return true
}
const holdsKeysOf = (metrics: object, other: object): boolean => {
  for (const key in other) if (!Object.hasOwn(metrics, key)) return false
  return true
}

/** Of two readings of the same instant the first stands, so that a redelivery changes nothing. */
const latestOf = (frames: ReadonlyArray<Frame>, indexes: ReadonlyArray<number>): DeviceLatest => {
  let newest = indexes[0]!
  for (const index of indexes) if (frames[index]!.reading.ts > frames[newest]!.reading.ts) newest = index
  const { metrics, ts } = frames[newest]!.reading
  if (indexes.every((index) => index === newest || holdsKeysOf(metrics, frames[index]!.reading.metrics))) {
    return { newest, keysHash: hashOfKeys(metrics), merged: undefined }
  }
  const merged = mergedOf(
    indexes.map((index) => frames[index]!.reading),
    ts
  )
  return { newest, keysHash: merged.older === undefined ? hashOfKeys(merged.metrics) : undefined, merged }
}

const mergedOf = (readings: ReadonlyArray<Reading>, newest: number): MergedLatest => {
  // Null prototypes: a metric may bear any name.
  const metrics: MergedLatest["metrics"] = Object.create(null)
  const quality: Record<string, Quality> = Object.create(null)
  const older: Record<string, number> = Object.create(null)
  for (const reading of readings.toSorted((one, other) => other.ts - one.ts)) {
    for (const key in reading.metrics) {
      if (key in metrics) continue
      metrics[key] = reading.metrics[key]!
      const told = reading.quality?.[key]
      if (told !== undefined) quality[key] = told
      if (reading.ts < newest) older[key] = reading.ts
    }
  }
  return {
    metrics,
    quality: isEmpty(quality) ? undefined : quality,
    older: isEmpty(older) ? undefined : older
  }
}

/** What is known of devices before their readings are stored. */
export interface KnownDevices {
  /** Every metric that these readings bring is held at a later instant: latest values are neither looked at nor locked. */
  readonly settled: ReadonlySet<string>
  /** They were seen in these messages, and counted: their rows of `device_status` are neither looked at nor locked. */
  readonly counted: ReadonlySet<string>
}
const nothingKnown: KnownDevices = { settled: new Set(), counted: new Set() }

/** One for each device. */
export const devicesOf = (
  frames: ReadonlyArray<Frame>,
  { counted, settled }: KnownDevices = nothingKnown
): ReadonlyArray<DeviceInBatch> => {
  const devices = new Map<string, { lastSeen: number; readonly moving: Array<number> }>()
  for (const [index, { message, reading }] of frames.entries()) {
    let device = devices.get(reading.deviceId)
    if (device === undefined) {
      device = { lastSeen: index, moving: [] }
      devices.set(reading.deviceId, device)
    } else if (message.receivedAt > frames[device.lastSeen]!.message.receivedAt) {
      device.lastSeen = index
    }
    if (settled.has(reading.deviceId)) continue
    if (movesLatest(reading, message.receivedAt) && !isEmpty(reading.metrics)) device.moving.push(index)
  }
  return Array.from(devices, ([deviceId, { lastSeen, moving }]) => ({
    lastSeen: counted.has(deviceId) ? undefined : lastSeen,
    latest: moving.length === 0 ? undefined : latestOf(frames, moving)
  }))
}
