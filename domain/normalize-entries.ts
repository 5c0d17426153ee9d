/**
 * The normalizer's work on one record of logical devices: the children of a gateway, or the ports of a device, to readings.
 * @module
 */
import { hash } from "node:crypto"
import { type CompiledDeviceType } from "./compiled-device-type.ts"
import { type FailedEntry } from "./demultiplex.ts"
import { Poison } from "./errors.ts"
import { type Evaluate } from "./expression/expression.ts"
import { evaluateHere } from "./expression/memo.ts"
import { Extracted } from "./extract.ts"
import { type Instant } from "./ids.ts"
import { judgeClock, metadataOf, type ReadingOrigin, readingsOf } from "./normalize.ts"
import { type LogicalDevices, type NormalizedMessage, type Reading } from "./readings.ts"
import { portKey } from "./rtu.ts"
import { structureLimits } from "./scan.ts"
import { isMetricKey } from "./storable.ts"

/** A record of logical devices, parsed and trusted. Ids are those of the record's headers: the sending device's. */
export interface EntriesMessage {
  readonly value: LogicalDevices
  readonly messageId: string
  readonly tenantId: string
  readonly deviceId: string
  readonly receivedAt: Instant
  /** The version that an entry was stamped with, or why its entry cannot be processed. */
  readonly typeOf: (deviceTypeId: string, version: number) => CompiledDeviceType | Poison
  readonly evaluate?: Evaluate // absent: only what runs in process
}

export interface NormalizedEntries {
  readonly message: NormalizedMessage // of all entries that did not fail, in their order
  readonly failed: ReadonlyArray<FailedEntry>
  readonly skipped: number
}

type Entry = LogicalDevices["entries"][number]

const ofPort = (extracted: Extracted, port: string): Extracted => {
  const named = new Extracted()
  named.skipped = extracted.skipped
  for (const key of Object.keys(extracted.metrics)) {
    const name = portKey(port, key)
    if (isMetricKey(name)) named.put(name, extracted.metrics[key]!, extracted.qualityOf(key))
    else named.skipped++
  }
  return named
}

const tooManyKeys = (payload: unknown): boolean =>
  typeof payload === "object" && payload !== null && Object.keys(payload).length > structureLimits.keys

/** Adds the readings of one entry, or returns why it has none. */
const normalizeEntry = (input: EntriesMessage, entry: Entry, into: Array<Reading>): Poison | number => {
  const { deviceId, deviceTimestamp, deviceTypeId, doubtful, index, payload, port, typeVersion } = entry
  const compiled = input.typeOf(deviceTypeId, typeVersion)
  if (compiled instanceof Poison) return compiled
  if (tooManyKeys(payload)) {
    const limit = structureLimits.keys
    return new Poison({ reason: "TooManyMetrics", message: `The entry has more than ${limit} keys.`, limit })
  }
  const text = JSON.stringify(payload)
  const mismatch = compiled.checkSchema?.(payload, text.length)
  if (mismatch !== undefined) return mismatch
  const found = new Extracted()
  const failure = compiled.extract(payload, found)
  if (failure !== undefined) return failure
  const untransformed = compiled.transform?.(found, input.evaluate ?? evaluateHere)
  if (untransformed !== undefined) return untransformed
  const extracted = port === undefined ? found : ofPort(found, port)
  const { clock, ts, uncertain } =
    deviceTimestamp === undefined
      ? { ts: input.receivedAt, clock: undefined, uncertain: false }
      : judgeClock(compiled.config.timestamp, deviceTimestamp, input.receivedAt)
  if (uncertain || doubtful === true) extracted.doubt()
  const metadata = metadataOf(payload)
  const origin: ReadingOrigin = {
    deviceId,
    ts,
    ...(clock !== undefined && { clock }),
    deviceTypeId,
    typeVersion,
    ...(port !== undefined && { port }),
    ...(deviceId !== input.deviceId && { sourceGatewayId: input.deviceId as Reading["deviceId"] }),
    ...(metadata !== undefined && { metadata })
  }
  into.push(...readingsOf(extracted, origin, hash("sha256", text, "hex"), index))
  return extracted.skipped
}

/** The readings of all entries; one that fails does not hurt its neighbours. Without a reading there is nothing to publish. */
export const normalizeEntries = (input: EntriesMessage): NormalizedEntries => {
  const readings: Array<Reading> = []
  const failed: Array<FailedEntry> = []
  let skipped = 0
  for (const entry of input.value.entries) {
    const outcome = normalizeEntry(input, entry, readings)
    if (typeof outcome === "number") skipped += outcome
    else failed.push({ index: entry.index, error: outcome })
  }
  const message: NormalizedMessage = {
    messageId: input.messageId as NormalizedMessage["messageId"],
    tenantId: input.tenantId as NormalizedMessage["tenantId"],
    deviceId: input.deviceId as NormalizedMessage["deviceId"],
    receivedAt: input.receivedAt,
    correlationId: input.value.correlationId,
    readings
  }
  return { message, failed, skipped }
}
