/**
 * What an asset makes of its readings, in the order of event time: values hold until others come, windows, derived metrics,
 * roll-ups and health are of the instant. Live, rebuild and preview run this same fold.
 * @module
 */
import { effectiveVersion } from "../effective.ts"
import type { Evaluate } from "../expression/expression.ts"
import type { Emit, Fold } from "../fold.ts"
import type { DeviceId, Instant } from "../ids.ts"
import type { MetricValue, Quality } from "../readings.ts"
import type { AssetReading, AssetTelemetry, ChildAssetReading, DeviceAssetReading } from "./asset-reading.ts"
import { type CompiledAssetType, HEALTH_SCORE, isEmpty } from "./compiled-asset-type.ts"
import { derive, type DerivedMetric } from "./derived.ts"
import { type Health, own } from "./health/algorithm.ts"
import { type Children, rollUpHealth, rollUpMetric } from "./roll-up.ts"
import { invalidity } from "./validation.ts"
import { counts, observe, type Sources, valueAt } from "./window.ts"

/** Further ahead of its received-at a reading takes no part: nobody knows when it was measured. */
export const MAX_AHEAD_MICROS = 60_000_000

/** Children that a parent remembers; of more those that reported longest ago are forgotten. */
export const MAX_CHILDREN = 10_000

type Metrics = Readonly<Record<string, MetricValue>>

/** Plain JSON. */
export interface AssetState {
  /** The instant under way, and what was measured at it so far. */
  readonly ts: Instant
  readonly receivedAt: Instant
  readonly measured: Metrics
  readonly quality?: Readonly<Record<string, Quality>>
  readonly devices: ReadonlyArray<DeviceId>
  readonly messageId?: string
  readonly transactionId?: string
  /** Values of quality good or uncertain, by metric, as they hold. */
  readonly values: Metrics
  readonly sources: Readonly<Record<string, Sources>>
  readonly children: Children
}

/** What the fold tells of an instant: {@link AssetTelemetry} but for who it is of and its revision. */
export interface AssetOutput extends Pick<
  AssetTelemetry,
  "assetTypeVersion" | "health" | "metrics" | "quality" | "receivedAt" | "sourceDevices" | "ts"
> {
  readonly messageId?: string
  readonly transactionId?: string
  /** The values that the health score was judged by, where its contributions do not tell them. */
  readonly inputs?: Metrics
  /** All values as they hold, where they are asked for: what a parent sees. */
  readonly held?: Metrics
}

export interface AssetFoldOptions {
  /** The versions of the asset's type, oldest first; which one applies is told by a reading's timestamp. */
  readonly versions: ReadonlyArray<CompiledAssetType>
  readonly evaluate: Evaluate
  /** Whether outputs carry all values as they hold: for an asset with a parent. */
  readonly holdsForParent?: boolean
}

export type AssetFold = Fold<AssetState, AssetReading, AssetOutput>

const initial: AssetState = {
  ts: Number.MIN_SAFE_INTEGER,
  receivedAt: 0,
  measured: {},
  devices: [],
  values: {},
  sources: {},
  children: {}
}

export const isAhead = ({ receivedAt, ts }: Pick<AssetReading, "receivedAt" | "ts">): boolean =>
  ts - receivedAt > MAX_AHEAD_MICROS

/** What was measured at an instant, while a step adds to it. */
interface Instantly {
  measured: Record<string, MetricValue>
  quality: Record<string, Quality> | undefined
  values: Record<string, MetricValue>
}

const begun = (state: AssetState, ts: Instant): Instantly => {
  const same = state.ts === ts
  return {
    measured: same ? { ...state.measured } : {},
    quality: same && state.quality !== undefined ? { ...state.quality } : undefined,
    values: { ...state.values }
  }
}

const setQuality = (at: Instantly, key: string, quality: Quality | undefined) => {
  if (quality !== undefined && quality !== "good") (at.quality ??= {})[key] = quality
  else if (at.quality !== undefined) delete at.quality[key]
}

const withDevice = (
  at: Instantly,
  sources: Record<string, Sources>,
  type: CompiledAssetType,
  reading: DeviceAssetReading
) => {
  const { linkId, metrics, quality, role, ts } = reading
  for (const key in metrics) {
    if (type.rollup !== undefined && own(type.rollup.metrics, key) !== undefined) continue
    const value = metrics[key]!
    const told = quality?.[key]
    const before = own(sources, key)
    const rule = type.validationOf(key)
    const isBad =
      told === "bad" ||
      (rule !== undefined &&
        invalidity(rule, value, ts, before === undefined ? undefined : own(before, linkId)) !== undefined)
    if (isBad) {
      // Another source's good value of the same instant stands.
      if (own(at.measured, key) !== undefined && at.quality?.[key] !== "bad") continue
      at.measured[key] = value
      setQuality(at, key, "bad")
      continue
    }
    const window = type.windowOf(key)
    const after = observe(before, linkId, role, ts, value, window)
    sources[key] = after
    if (!counts(after, linkId, ts, window)) continue
    const present = valueAt(after, ts, window)
    if (present === undefined) continue
    at.values[key] = present
    at.measured[key] = present
    setQuality(at, key, told)
  }
}

const withChild = (state: AssetState, at: Instantly, type: CompiledAssetType, reading: ChildAssetReading): Children => {
  const { childId, health, metrics, quality, ts, weight } = reading
  if (type.rollup === undefined) return state.children
  const wanted = type.rollup.metrics
  const held: Record<string, MetricValue> = { ...own(state.children, childId)?.metrics }
  for (const key in metrics) if (own(wanted, key) !== undefined && quality?.[key] !== "bad") held[key] = metrics[key]!
  const child = { ts, weight, metrics: held, ...(health !== undefined && { health }) }
  const children = bounded({ ...state.children, [childId]: child })
  for (const key in wanted) {
    const value = rollUpMetric(children, key, wanted[key]!)
    if (value === undefined) continue
    at.values[key] = value
    at.measured[key] = value
  }
  return children
}

const bounded = (children: Children): Children => {
  const ids = Object.keys(children)
  if (ids.length <= MAX_CHILDREN) return children
  const newest = ids.toSorted((left, right) => children[right]!.ts - children[left]!.ts).slice(0, MAX_CHILDREN)
  return Object.fromEntries(newest.map((id) => [id, children[id]!]))
}

const isTouched = ({ expression }: DerivedMetric, metrics: Metrics): boolean =>
  expression.reads === undefined || expression.reads.some((key) => Object.hasOwn(metrics, key))

const derivedQuality = (
  { expression, key }: DerivedMetric,
  value: MetricValue,
  ts: Instant,
  type: CompiledAssetType,
  quality: Readonly<Record<string, Quality>> | undefined
): Quality | undefined => {
  const rule = type.validationOf(key)
  if (rule !== undefined && invalidity(rule, value, ts, undefined) !== undefined) return "bad"
  if (quality === undefined) return undefined
  return expression.reads?.some((read) => quality[read] === "uncertain") === true ? "uncertain" : undefined
}

interface Judged {
  readonly algorithm: string
  readonly health: Health
  readonly inputs?: Metrics
}

const healthAt = (
  type: CompiledAssetType,
  children: Children,
  values: Metrics,
  evaluate: Evaluate
): Judged | undefined => {
  const by = type.rollup?.health ?? "own"
  const ofChildren = by === "own" ? undefined : rollUpHealth(children, by)
  if (ofChildren !== undefined) return { algorithm: `children_${by}`, health: ofChildren }
  const health: Health | undefined = type.health?.score(values, evaluate)
  if (health === undefined) return undefined
  // Where the contributions tell the values themselves, there is no need to.
  if (health.contributions.every(({ value }) => value !== undefined))
    return { algorithm: type.health!.algorithm, health }
  const inputs: Record<string, MetricValue> = {}
  for (const key of type.health!.reads ?? []) {
    const value = own(values, key)
    if (value !== undefined) inputs[key] = value
  }
  return { algorithm: type.health!.algorithm, health, inputs }
}

/** What is the case at the state's instant. */
export const outputOf = (
  state: AssetState,
  type: CompiledAssetType,
  { evaluate, holdsForParent }: Pick<AssetFoldOptions, "evaluate" | "holdsForParent">
): AssetOutput => {
  const { children, devices, measured, messageId, receivedAt, transactionId, ts } = state
  let { quality } = state
  const metrics: Record<string, MetricValue> = { ...measured }
  const values: Record<string, MetricValue> = { ...state.values }
  derive(type.derived, values, evaluate, (metric, value) => {
    const { key } = metric
    const told = derivedQuality(metric, value, ts, type, quality)
    if (told === "bad") delete values[key]
    if (!isTouched(metric, metrics)) return
    metrics[key] = value
    if (told !== undefined) quality = { ...quality, [key]: told }
  })
  const found = healthAt(type, children, values, evaluate)
  if (found !== undefined) metrics[HEALTH_SCORE] = found.health.score
  return {
    ts,
    receivedAt,
    assetTypeVersion: type.number,
    metrics,
    ...(quality !== undefined && Object.keys(quality).length > 0 && { quality }),
    ...(found !== undefined && { health: { ...found.health, algorithm: found.algorithm } }),
    ...(found?.inputs !== undefined && { inputs: found.inputs }),
    sourceDevices: devices,
    ...(messageId !== undefined && { messageId }),
    ...(transactionId !== undefined && { transactionId }),
    ...(holdsForParent === true && { held: values })
  }
}

const idOf = (ts: Instant): string => String(ts)

/** The state after a reading; the same one where the reading takes no part. */
const stepped = (state: AssetState, reading: AssetReading, type: CompiledAssetType): AssetState => {
  const at = begun(state, reading.ts)
  const before = Object.keys(at.measured).length
  let { children, sources } = state
  if (reading.kind === "device") withDevice(at, (sources = { ...sources }), type, reading)
  else children = withChild(state, at, type, reading)
  const same = state.ts === reading.ts
  const devices = same ? state.devices : []
  const isNew = reading.kind === "device" && !devices.includes(reading.sourceDeviceId)
  // A backup that does not count, or a child of which nothing is wanted, is remembered and tells nothing.
  const tells = !isEmpty(at.measured) || (reading.kind === "child" && type.rollup !== undefined)
  if (!tells && before === 0) return sources === state.sources ? state : { ...state, sources }
  const messageId = reading.kind === "device" ? reading.sourceMessageId : same ? state.messageId : undefined
  const transactionId = reading.transactionId ?? (same ? state.transactionId : undefined)
  return {
    ts: reading.ts,
    receivedAt: same ? Math.max(state.receivedAt, reading.receivedAt) : reading.receivedAt,
    measured: at.measured,
    ...(at.quality !== undefined && { quality: at.quality }),
    devices: isNew && !isEmpty(at.measured) ? [...devices, reading.sourceDeviceId].toSorted() : devices,
    ...(messageId !== undefined && { messageId }),
    ...(transactionId !== undefined && { transactionId }),
    values: at.values,
    sources,
    children
  }
}

const versionAt = (versions: ReadonlyArray<CompiledAssetType>, ts: Instant): CompiledAssetType | undefined =>
  versions.length === 1 ? versions[0] : effectiveVersion(versions, ts)

const silent: AssetFold["pass"] = (state) => state

/** Outputs go by their timestamp, as text. A reading ahead of its received-at takes no part. */
export const assetFold = (options: AssetFoldOptions): AssetFold => {
  const { versions } = options
  return {
    initial,
    step: (state, reading, emit: Emit<AssetOutput>) => {
      const type = versionAt(versions, reading.ts)
      if (type === undefined || isAhead(reading)) return state
      const after = stepped(state, reading, type)
      if (after === state || after.ts !== reading.ts) return after
      const output = outputOf(after, type, options)
      if (!isEmpty(output.metrics)) emit(idOf(reading.ts), output)
      return after
    },
    pass: silent,
    tellsOfEach: true
  }
}

/** The same fold, telling nothing, for what is known to have been told: it evaluates no expression. */
export const quietAssetFold = ({ versions }: Pick<AssetFoldOptions, "versions">): AssetFold => ({
  initial,
  step: (state, reading) => {
    const type = versionAt(versions, reading.ts)
    return type === undefined || isAhead(reading) ? state : stepped(state, reading, type)
  },
  pass: silent
})
