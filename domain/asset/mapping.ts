/**
 * A device's reading as an asset sees it: keys and values of the asset's type. The link's mapping comes before the profile's
 * and that before the type's; a metric that nothing maps keeps its key where the type defines it.
 * @module
 */
import { Result } from "effect"
import type { Instant } from "../ids.ts"
import { compilePath, pathNames } from "../json-path.ts"
import type { MetricValue, Quality } from "../readings.ts"
import { withinPort } from "../rtu.ts"
import type { Link } from "./asset.ts"
import type { AssetTypeConfig } from "./asset-type.ts"
import { metricValueOf } from "./derived.ts"

/** What a mapping reads of a device's reading. */
export interface DeviceMetrics {
  readonly metrics: Readonly<Record<string, MetricValue>>
  readonly quality?: Readonly<Record<string, Quality>>
  readonly port?: string
}

export interface Mapped {
  readonly metrics: Readonly<Record<string, MetricValue>>
  readonly quality?: Readonly<Record<string, Quality>>
}

/** Undefined when the asset sees nothing of the reading. */
export type Mapping = (reading: DeviceMetrics) => Mapped | undefined

export type Mappings = Readonly<Record<string, string>>

/** Why a mapping's path cannot be used; undefined when it can. A bare key is the name of a metric, whatever it contains. */
export const mappingFault = (path: string): string | undefined => {
  if (!path.startsWith("$")) return undefined
  const compiled = compilePath(path)
  return Result.isFailure(compiled) ? compiled.failure : undefined
}

/** How one metric of an asset is read: a device's metric, or something within one. */
interface Entry {
  readonly target: string
  /** The device's metric that it is, or lies in. */
  readonly source: string
  readonly path: ((metrics: unknown) => unknown) | undefined
}

const entryOf = (target: string, path: string): Entry | undefined => {
  if (!path.startsWith("$")) return { target, source: path, path: undefined }
  const compiled = compilePath(path)
  if (Result.isFailure(compiled)) return undefined
  const names = pathNames(path)
  if (names === undefined || names.length === 0) return { target, source: "", path: compiled.success.read }
  // A metric's key may contain dots, as those of ports do.
  const [first = "", ...rest] = names
  return rest.length === 0
    ? { target, source: first, path: undefined }
    : { target, source: names.join("."), path: compiled.success.read }
}

/** @param port of the link: its metrics go by their names within the port */
export const compileMapping = (
  layers: ReadonlyArray<Mappings>,
  definitions: AssetTypeConfig["metricDefinitions"],
  port: string | undefined
): Mapping => {
  const entries = Object.entries<string>(Object.assign({}, ...layers)).flatMap(
    ([target, path]) => entryOf(target, path) ?? []
  )
  const targets = new Set(entries.map(({ target }) => target))
  const sources = new Set(entries.map(({ source }) => source))
  const own = definitions.map(({ key }) => key).filter((key) => !targets.has(key) && !sources.has(key))
  const all: ReadonlyArray<Entry> = [...entries, ...own.map((key) => ({ target: key, source: key, path: undefined }))]
  return (reading) => {
    const given = port === undefined ? reading : plainOf(reading, port)
    const { metrics, quality } = given
    const mapped: Record<string, MetricValue> = {}
    let doubts: Record<string, Quality> | undefined
    let isEmpty = true
    for (const { path, source, target } of all) {
      let value: MetricValue | undefined = Object.hasOwn(metrics, source) ? metrics[source] : undefined
      if (value === undefined && path !== undefined) value = metricValueOf(path(metrics))
      if (value === undefined) continue
      mapped[target] = value
      isEmpty = false
      const told = quality === undefined ? undefined : (quality[source] ?? quality[source.split(".", 1)[0]!])
      if (told !== undefined && told !== "good") (doubts ??= {})[target] = told
    }
    if (isEmpty) return undefined
    return doubts === undefined ? { metrics: mapped } : { metrics: mapped, quality: doubts }
  }
}

/** The metrics of a port by their names within it, and those of the device that bear no port, by theirs. */
const plainOf = ({ metrics, quality }: DeviceMetrics, port: string): DeviceMetrics => {
  const plain: Record<string, MetricValue> = {}
  const doubts: Record<string, Quality> = {}
  for (const key in metrics) {
    const name = withinPort(port, key) ?? key
    plain[name] = metrics[key]!
    const told = quality?.[key]
    if (told !== undefined) doubts[name] = told
  }
  return { metrics: plain, quality: doubts }
}

/** Whether a link takes a reading in: valid at its timestamp, and of its port where it names one. */
export const takes = (link: Link, reading: { readonly ts: Instant; readonly port?: string }): boolean =>
  link.validFrom <= reading.ts &&
  (link.validUntil === undefined || reading.ts < link.validUntil) &&
  (link.port === undefined || link.port === reading.port)
