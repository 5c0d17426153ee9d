import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { uuidV7 } from "@argusiq/domain/uuid.ts"
import { randomBytes, randomUUID } from "node:crypto"

/** Epoch microseconds. */
export const nowMicros = () => Math.round((performance.timeOrigin + performance.now()) * 1000)

/** Writes a message. Its timestamp is `at`, in epoch microseconds, so that a stored row tells its own age. */
export type MessageWriter = (sequence: number, at: number) => Uint8Array

/** Messages of `metrics` numbers; with `children` those of a gateway, with so many numbers for each child. */
export const messageWriter = (metrics: number, children = 0): MessageWriter => {
  const values = valuesWriter(metrics)
  if (children === 0) {
    return (sequence, at) => Buffer.from(`{"timestamp":${at},"metrics":{${values(sequence)}}}`)
  }
  const ids = Array.from({ length: children }, (_, child) => `{"id":"child-${child}",`)
  return (sequence, at) => {
    const entries = ids.map((id, child) => `${id}${values(sequence + child)}}`)
    return Buffer.from(`{"timestamp":${at},"devices":[${entries.join(",")}]}`)
  }
}

const valuesWriter = (metrics: number) => {
  const prefixes = Array.from({ length: metrics }, (_, metric) => `"metric_${metric}":${20 + metric}.`)
  return (sequence: number): string => {
    let text = ""
    for (let metric = 0; metric < prefixes.length; metric++) {
      text += `${metric === 0 ? "" : ","}${prefixes[metric]}${(sequence * 7 + metric * 13) % 1000}`
    }
    return text
  }
}

/** What an everyday device measures: ten metrics, text and boolean among them. */
export const tenMetrics = (index: number) => ({
  temperature: 20 + (index % 50) / 10,
  humidity: 40.25,
  pressure: 1013.25 + (index % 7),
  voltage: 231.2,
  current: 4.25,
  power: 982.6 + (index % 100),
  energy: 12_345.678 + index,
  state: "running",
  open: index % 2 === 0,
  rssi: -65
})

/** A message of one reading, as the normalizer hands it on. Instants in epoch microseconds; received when measured unless said. */
export const normalizedMessage = (of: {
  readonly tenantId: string
  readonly deviceId: string | undefined
  readonly deviceTypeId: string
  readonly ts: number
  readonly receivedAt?: number
  readonly metrics: object
}): NormalizedMessage => {
  const { deviceId, deviceTypeId, metrics, receivedAt = of.ts, tenantId, ts } = of
  const message = {
    messageId: uuidV7(receivedAt, randomBytes(10)),
    tenantId,
    deviceId,
    receivedAt,
    readings: [{ readingId: randomUUID(), deviceId, ts, deviceTypeId, typeVersion: 1, metrics }]
  }
  return message as unknown as NormalizedMessage // ids are branded; these are random UUIDs
}
