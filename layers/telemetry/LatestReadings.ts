/**
 * What a batch says of each device: its latest value per metric, and when it was last seen.
 * @module
 */
import { movesLatest } from "@argusiq/domain/normalize.ts"
import type { NormalizedMessage, Reading } from "@argusiq/domain/readings.ts"

/** One metric in `entity_latest.metrics`. `ts` in epoch microseconds; `q` absent: good. */
interface LatestMetric {
  readonly v: Reading["metrics"][string]
  readonly ts: number
  readonly q?: string
}

/** A device in a batch. */
export interface DeviceInBatch {
  readonly deviceId: string
  readonly tenantId: string
  lastSeenAt: number
  /** Null prototype: a metric may bear any name. */
  readonly latest: Record<string, LatestMetric>
  oldest: number
  newest: number
}

/** Of two readings of the same instant the first stands, so that a redelivery changes nothing. */
const take = (device: DeviceInBatch, { metrics, quality, ts }: Reading) => {
  const { latest } = device
  for (const key in metrics) {
    const held = latest[key]
    if (held !== undefined && held.ts >= ts) continue
    const q = quality?.[key]
    latest[key] = q === undefined ? { v: metrics[key]!, ts } : { v: metrics[key]!, ts, q }
  }
}

/** By device id, in that order: batches that touch the same devices take their row locks in the same order. */
export const devicesOf = (messages: ReadonlyArray<NormalizedMessage>): ReadonlyArray<DeviceInBatch> => {
  const devices = new Map<string, DeviceInBatch>()
  for (const { readings, receivedAt, tenantId } of messages) {
    for (const reading of readings) {
      const { deviceId } = reading
      let device = devices.get(deviceId)
      if (device === undefined) {
        device = { deviceId, tenantId, lastSeenAt: receivedAt, latest: Object.create(null), oldest: 0, newest: 0 }
        devices.set(deviceId, device)
      } else if (receivedAt > device.lastSeenAt) {
        device.lastSeenAt = receivedAt
      }
      if (movesLatest(reading, receivedAt)) take(device, reading)
    }
  }
  const sorted = [...devices.values()].toSorted((one, other) => (one.deviceId < other.deviceId ? -1 : 1))
  for (const device of sorted) {
    let oldest = Number.POSITIVE_INFINITY
    let newest = Number.NEGATIVE_INFINITY
    for (const key in device.latest) {
      const { ts } = device.latest[key]!
      if (ts < oldest) oldest = ts
      if (ts > newest) newest = ts
    }
    device.oldest = oldest
    device.newest = newest
  }
  return sorted
}
