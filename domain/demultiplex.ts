/**
 * One gateway message becomes one entry per child device, in the order in which the gateway lists them.
 *
 * Children go on together: one record of `telemetry.logical_devices.v1` per gateway message, keyed by the gateway, with all
 * its entries (`LogicalDevices`), so that a message stays one unit from end to end and is stored in one transaction. An entry
 * keeps its place in the device's message as `index`, also where entries before it failed: index and payload decide the ids of
 * its readings, so the same bytes give the same ids, and the same child twice in one message gives two readings.
 *
 * In three steps, so that a batch asks for its children once: {@link demultiplex} each message, look up what
 * {@link identifiersOf} names, then {@link resolveChildren} each message. What fails is one entry, never its neighbours.
 * @module
 */
import { Result } from "effect"
import { type TimestampRule } from "./device-type.ts"
import { type GatewayDemux } from "./device-type.ts"
import { Poison } from "./errors.ts"
import { type Problem } from "./extract.ts"
import { type DeviceId, type DeviceTypeId, type Instant } from "./ids.ts"
import { compilePath, type PathReader } from "./json-path.ts"
import { type LogicalDevices } from "./readings.ts"
import { type StructureLimits, structureLimits } from "./scan.ts"
import { isMetricKey } from "./storable.ts"
import { parseTimestamp, type TimestampFormat } from "./timestamp.ts"
import { uuidV5 } from "./uuid.ts"

/** What a message of many children may hold; each child by itself has the limits of an endpoint's message. */
export const gatewayLimits: StructureLimits = { depth: structureLimits.depth, keys: 200_000 }
/** Entries in one message: what one transaction stores. */
export const MAX_ENTRIES = 10_000
const MAX_IDENTIFIER_UNITS = 255

/** One entry that cannot go on; `index` is its place in the device's message. */
export interface FailedEntry {
  readonly index: number
  readonly error: Poison
}

/** What every entry of a message has before anybody knows which device it belongs to. */
export interface Entry {
  readonly index: number
  readonly deviceTimestamp: Instant | undefined // the entry's own, else the message's; undefined: neither says one
  readonly doubtful: boolean // a timestamp was sent that cannot be read
  readonly payload: object
}

export interface ChildEntry extends Entry {
  readonly identifier: string // the child's logical identifier within its gateway
}

export interface Demultiplexed<E extends Entry = ChildEntry> {
  readonly entries: ReadonlyArray<E>
  readonly failed: ReadonlyArray<FailedEntry>
}

export type Demultiplexer = (root: unknown) => Result.Result<Demultiplexed, Poison>

interface Sent {
  readonly ts: Instant | undefined
  readonly doubtful: boolean
}

const nothingSent: Sent = { ts: undefined, doubtful: false }

/** The first of several places that holds a timestamp. One that cannot be read counts as none, in doubt. */
export const sentTimestamp = (readers: ReadonlyArray<PathReader>, format: TimestampFormat, root: unknown): Sent => {
  for (const read of readers) {
    const sent = read(root)
    if (sent === undefined) continue
    const ts = parseTimestamp(sent, format)
    return { ts, doubtful: ts === undefined }
  }
  return nothingSent
}

/** What an entry was measured at: its own timestamp, else what the message says. */
export const inherited = (own: Sent, message: Sent): Sent =>
  own.ts !== undefined ? own : { ts: message.ts, doubtful: own.doubtful || message.doubtful }

/** Compiles a path of a demultiplexing strategy; what is wrong with it is added to `problems`. */
export const compileStrategyPath = (field: string, path: string, problems: Array<Problem>): PathReader => {
  const compiled = compilePath(path)
  if (Result.isSuccess(compiled)) return compiled.success.read
  problems.push({ path: `$.demuxStrategy.${field}`, message: compiled.failure })
  return () => undefined
}

/** The places of a message's own timestamp; what is wrong with them is reported where the type is compiled. */
export const compileTimestampPaths = (rule: typeof TimestampRule.Type): ReadonlyArray<PathReader> =>
  rule.path.flatMap((path) => {
    const compiled = compilePath(path)
    return Result.isSuccess(compiled) ? [compiled.success.read] : []
  })

export const isEntryPayload = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const extractionFailed = (path: string, message: string): Poison =>
  new Poison({ reason: "ExtractionFailed", message, path })

/** The text of an identifier, or why it is none. */
const identifierOf = (value: unknown): string | { readonly why: string } => {
  if (value === undefined) return { why: "nothing is there" }
  if (typeof value === "number") {
    if (Number.isSafeInteger(value)) return String(value)
    return { why: `${value} is no integer that a double holds exactly: send it as text` }
  }
  if (typeof value !== "string") return { why: "what is there is neither text nor a number" }
  if (value.length > MAX_IDENTIFIER_UNITS) return { why: `it is longer than ${MAX_IDENTIFIER_UNITS} characters` }
  return isMetricKey(value) ? value : { why: "it is empty or has control characters" }
}

/** Refuses a list that is none or too long; `what` and `path` say which list. */
export const tooManyEntries = (count: number, path: string): Poison =>
  new Poison({
    reason: "TooManyMetrics",
    message: `The message has ${count} entries at ${path}, more than ${MAX_ENTRIES}. Send several messages.`,
    path,
    limit: MAX_ENTRIES
  })

/** Compiles a gateway's strategy for use on parsed messages; what is wrong with it is added to `problems`. */
export const compileDemultiplexer = (
  config: typeof GatewayDemux.Type,
  timestamp: typeof TimestampRule.Type,
  problems: Array<Problem>
): Demultiplexer => {
  const { childDevicesPath, childDeviceIdPath, childTimestampPath } = config
  const readChildren = compileStrategyPath("childDevicesPath", childDevicesPath, problems)
  const readIdentifier = compileStrategyPath("childDeviceIdPath", childDeviceIdPath, problems)
  const ownTimestamp =
    childTimestampPath === undefined ? [] : [compileStrategyPath("childTimestampPath", childTimestampPath, problems)]
  const messageTimestamp = compileTimestampPaths(timestamp)
  const { format } = timestamp
  const idSuffix = childDeviceIdPath.slice(1)
  return (root) => {
    const children = readChildren(root)
    if (!Array.isArray(children)) {
      const what = children === undefined ? "nothing is there" : "what is there is no array"
      return Result.fail(
        extractionFailed(childDevicesPath, `The gateway's children are expected at ${childDevicesPath}, but ${what}.`)
      )
    }
    if (children.length > MAX_ENTRIES) return Result.fail(tooManyEntries(children.length, childDevicesPath))
    const message = sentTimestamp(messageTimestamp, format, root)
    const entries: Array<ChildEntry> = []
    const failed: Array<FailedEntry> = []
    for (let index = 0; index < children.length; index++) {
      const payload: unknown = children[index]
      const path = `${childDevicesPath}[${index}]`
      if (!isEntryPayload(payload)) {
        failed.push({ index, error: extractionFailed(path, `The child at ${path} is no object.`) })
        continue
      }
      const identifier = identifierOf(readIdentifier(payload))
      if (typeof identifier !== "string") {
        const at = path + idSuffix
        failed.push({
          index,
          error: extractionFailed(at, `The child's id is expected at ${at}, but ${identifier.why}.`)
        })
        continue
      }
      const sent =
        ownTimestamp.length === 0 ? message : inherited(sentTimestamp(ownTimestamp, format, payload), message)
      entries.push({ index, identifier, deviceTimestamp: sent.ts, doubtful: sent.doubtful, payload })
    }
    return Result.succeed({ entries, failed })
  }
}

/** The entries of one gateway message. No children is no error. Pure: the same message gives the same entries. */
export const demultiplex = (demultiplexer: Demultiplexer, root: unknown): Result.Result<Demultiplexed, Poison> =>
  demultiplexer(root)

/** The one entry that a retry is limited to; without an index, all. */
export const onlyEntry = <E extends Entry>(of: Demultiplexed<E>, index: number | undefined): Demultiplexed<E> =>
  index === undefined
    ? of
    : {
        entries: of.entries.filter((entry) => entry.index === index),
        failed: of.failed.filter((entry) => entry.index === index)
      }

/** Whom to look up for the messages of one gateway: each identifier once, in order of appearance. */
export const identifiersOf = (messages: Iterable<Demultiplexed>): ReadonlySet<string> => {
  const identifiers = new Set<string>()
  for (const { entries } of messages) for (const { identifier } of entries) identifiers.add(identifier)
  return identifiers
}

/** The id of a child that is created on its first message: the same from whichever process. */
export const childDeviceId = (tenantId: string, gatewayId: string, identifier: string): DeviceId =>
  uuidV5(tenantId, `${gatewayId}:${identifier}`) as DeviceId

/** Who of a gateway's unknown children is created: those that still fit, in order of appearance. */
export const admitChildren = (
  unknown: Iterable<string>,
  existing: number,
  { autoCreateChildren, maxChildren }: Pick<typeof GatewayDemux.Type, "autoCreateChildren" | "maxChildren">
): { readonly create: ReadonlyArray<string>; readonly refused: ReadonlyMap<string, Poison> } => {
  const create: Array<string> = []
  const refused = new Map<string, Poison>()
  for (const identifier of new Set(unknown)) {
    if (!autoCreateChildren) {
      const message = `The gateway has no child "${identifier}", and its type creates none. Register it, then retry.`
      refused.set(identifier, new Poison({ reason: "UnknownChildDevice", message }))
    } else if (existing + create.length >= maxChildren) {
      const message = `The child "${identifier}" is not created: its gateway has ${maxChildren} children, as many as its type allows.`
      refused.set(identifier, new Poison({ reason: "ChildLimitReached", message, limit: maxChildren }))
    } else create.push(identifier)
  }
  return { create, refused }
}

/** A child as it was looked up: its type's version is the one effective at the message's received-at. */
export interface ResolvedChild {
  readonly deviceId: DeviceId
  readonly deviceTypeId: DeviceTypeId
  readonly typeVersion: number
}

/**
 * The value of the record that goes on, and all entries that do not. Without an entry left there is nothing to publish.
 * @param correlationId of the transaction: what the device gave, else the message id
 */
export const resolveChildren = (
  { entries, failed }: Demultiplexed,
  correlationId: string,
  resolve: (identifier: string) => ResolvedChild | Poison
): { readonly value: LogicalDevices; readonly failed: ReadonlyArray<FailedEntry> } => {
  const resolved: Array<LogicalDevices["entries"][number]> = []
  const refused: Array<FailedEntry> = []
  for (const { deviceTimestamp, doubtful, identifier, index, payload } of entries) {
    const child = resolve(identifier)
    if (child instanceof Poison) refused.push({ index, error: child })
    else resolved.push(logicalDevice(index, child, undefined, deviceTimestamp, doubtful, payload))
  }
  return {
    value: { correlationId, entries: resolved },
    failed: refused.length === 0 ? failed : [...failed, ...refused]
  }
}

/** One entry of the record; what is not known is absent. */
export const logicalDevice = (
  index: number,
  { deviceId, deviceTypeId, typeVersion }: ResolvedChild,
  port: string | undefined,
  deviceTimestamp: Instant | undefined,
  doubtful: boolean,
  payload: object
): LogicalDevices["entries"][number] => ({
  index,
  deviceId,
  deviceTypeId,
  typeVersion,
  ...(port !== undefined && { port }),
  ...(deviceTimestamp !== undefined && { deviceTimestamp }),
  ...(doubtful && { doubtful }),
  payload: payload as LogicalDevices["entries"][number]["payload"]
})
