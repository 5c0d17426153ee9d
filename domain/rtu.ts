/**
 * One message of a device with several ports becomes one entry per port, in the order of the message (an object's numeric keys
 * ascending, as JSON.parse gives them). All entries belong to the device itself and go on in one record, as the children of a
 * gateway do.
 *
 * A port's metrics are named `port{n}.{metric}` from the normalizer on, in history, latest and rules alike; its readings carry
 * `port`, by which links choose the asset, and {@link withinPort} gives the plain name back.
 * @module
 */
import { Result } from "effect"
import {
  compileStrategyPath,
  compileTimestampPaths,
  type Demultiplexed,
  type Entry,
  type FailedEntry,
  inherited,
  isEntryPayload,
  logicalDevice,
  MAX_ENTRIES,
  type ResolvedChild,
  sentTimestamp,
  tooManyEntries
} from "./demultiplex.ts"
import { type PortDemux, type TimestampRule } from "./device-type.ts"
import { Poison } from "./errors.ts"
import { type Problem } from "./extract.ts"
import { type LogicalDevices } from "./readings.ts"

export interface PortEntry extends Entry {
  readonly port: string
}

export type PortSplitter = (root: unknown) => Result.Result<Demultiplexed<PortEntry>, Poison>

const portName = /^[\p{L}\p{N}_-]{1,50}$/u

/** A port's metric as history names it. */
export const portKey = (port: string, metric: string): string => `port${port}.${metric}`

/** The metric's name within its port, undefined when the key is none of that port's. */
export const withinPort = (port: string, key: string): string | undefined => {
  const prefix = `port${port}.`
  return key.startsWith(prefix) ? key.slice(prefix.length) : undefined
}

const failedAt = (path: string, why: string): Poison => new Poison({ reason: "ExtractionFailed", message: why, path })

const portOf = (value: unknown): string | undefined => {
  const text = typeof value === "number" && Number.isSafeInteger(value) ? String(value) : value
  return typeof text === "string" && portName.test(text) ? text : undefined
}

/** Compiles a multi-port device's strategy for use on parsed messages; what is wrong with it is added to `problems`. */
export const compilePortSplitter = (
  config: typeof PortDemux.Type,
  timestamp: typeof TimestampRule.Type,
  problems: Array<Problem>
): PortSplitter => {
  const { portNumberPath = "$.port", portsPath } = config
  const readPorts = compileStrategyPath("portsPath", portsPath, problems)
  const readNumber = compileStrategyPath("portNumberPath", portNumberPath, problems)
  const timestampReaders = compileTimestampPaths(timestamp)
  const { format } = timestamp
  return (root) => {
    const ports = readPorts(root)
    if (typeof ports !== "object" || ports === null) {
      const what = ports === undefined ? "nothing is there" : "what is there is neither an array nor an object"
      return Result.fail(failedAt(portsPath, `The device's ports are expected at ${portsPath}, but ${what}.`))
    }
    const isList = Array.isArray(ports)
    const keys = Object.keys(ports)
    if (keys.length > MAX_ENTRIES) return Result.fail(tooManyEntries(keys.length, portsPath))
    const message = sentTimestamp(timestampReaders, format, root)
    const entries: Array<PortEntry> = []
    const failed: Array<FailedEntry> = []
    keys.forEach((key, index) => {
      const payload: unknown = Reflect.get(ports, key)
      const path = isList ? `${portsPath}[${index}]` : `${portsPath}[${JSON.stringify(key)}]`
      if (!isEntryPayload(payload)) {
        failed.push({ index, error: failedAt(path, `The port at ${path} is no object.`) })
        return
      }
      const port = portOf(isList ? readNumber(payload) : key)
      if (port === undefined) {
        const at = isList ? path + portNumberPath.slice(1) : path
        const why = `The port's number is expected at ${at}: a whole number, or up to 50 letters, digits, _ and -.`
        failed.push({ index, error: failedAt(at, why) })
        return
      }
      const sent = inherited(sentTimestamp(timestampReaders, format, payload), message)
      entries.push({ index, port, deviceTimestamp: sent.ts, doubtful: sent.doubtful, payload })
    })
    return Result.succeed({ entries, failed })
  }
}

/** The entries of one multi-port message. No ports is no error. Pure: the same message gives the same entries. */
export const splitPorts = (splitter: PortSplitter, root: unknown): Result.Result<Demultiplexed<PortEntry>, Poison> =>
  splitter(root)

/** The value of the record that goes on: every port under the device's own id and type. */
export const portDevices = (
  { entries }: Demultiplexed<PortEntry>,
  correlationId: string,
  device: ResolvedChild
): LogicalDevices => ({
  correlationId,
  entries: entries.map(({ deviceTimestamp, doubtful, index, payload, port }) =>
    logicalDevice(index, device, port, deviceTimestamp, doubtful, payload)
  )
})
