/**
 * Trying an asset type's configuration before any asset depends on it: on readings that somebody typed in, step by step, and
 * on its own test vectors when it is published. Nothing is stored and nobody is asked.
 * @module
 */
import { Result } from "effect"
import type { Evaluate } from "../expression/expression.ts"
import { parseExpression } from "../expression/compile.ts"
import { evaluateHere } from "../expression/memo.ts"
import { foldAll } from "../fold-state.ts"
import type { AssetId, DeviceId, Instant, LinkId, MessageId, ReadingId, TenantId } from "../ids.ts"
import type { MetricValue, Metrics, Quality } from "../readings.ts"
import { assetFold, type AssetState, outputOf } from "./asset-fold.ts"
import type { DeviceAssetReading } from "./asset-reading.ts"
import type { AssetTypeConfig } from "./asset-type.ts"
import { type AssetTypeFault, compileAssetType, type CompiledAssetType, HEALTH_SCORE } from "./compiled-asset-type.ts"
import { metricValueOf } from "./derived.ts"
import type { Health } from "./health/algorithm.ts"
import { compileMapping, type DeviceMetrics, type Mappings } from "./mapping.ts"
import { invalidity } from "./validation.ts"

/** What is wrong with a configuration that inherits nothing any more: it cannot be saved. */
export const assetTypeFaults = (config: AssetTypeConfig): ReadonlyArray<AssetTypeFault> => {
  const faults: Array<AssetTypeFault> = []
  compileAssetType(config, parseExpression, (path, message) => faults.push({ path, message }))
  return faults
}

const nobody = "00000000-0000-0000-0000-000000000000"

const readingOf = (
  index: number,
  ts: Instant,
  metrics: typeof Metrics.Type,
  quality?: Readonly<Record<string, Quality>>
) =>
  ({
    kind: "device",
    readingId: `${nobody.slice(0, -8)}${String(index).padStart(8, "0")}` as ReadingId,
    assetId: nobody as AssetId,
    tenantId: nobody as TenantId,
    assetTypeVersion: 0,
    sourceReadingId: nobody as ReadingId,
    sourceMessageId: nobody as MessageId,
    sourceDeviceId: nobody as DeviceId,
    linkId: nobody as LinkId,
    role: "primary",
    ts,
    receivedAt: ts,
    metrics,
    ...(quality !== undefined && { quality })
  }) satisfies DeviceAssetReading

/** Numbers count as equal within a part in 10⁹: averages and sums are floating-point arithmetic. */
const isSame = (left: unknown, right: unknown): boolean => {
  if (typeof left === "number" && typeof right === "number") {
    return left === right || Math.abs(left - right) <= 1e-9 * Math.max(Math.abs(left), Math.abs(right))
  }
  return JSON.stringify(left) === JSON.stringify(right)
}

const shown = (value: unknown): string => (value === undefined ? "nothing" : JSON.stringify(value))

const after = (compiled: CompiledAssetType, readings: ReadonlyArray<DeviceAssetReading>, evaluate: Evaluate) => {
  const sorted = readings.toSorted((left, right) => left.ts - right.ts)
  const { state } = foldAll(assetFold({ versions: [compiled], evaluate }), sorted)
  return outputOf(state, compiled, { evaluate, holdsForParent: true })
}

/** What the test vectors of a configuration without faults do not come to. */
export const runTestVectors = (
  config: AssetTypeConfig,
  evaluate: Evaluate = evaluateHere
): ReadonlyArray<AssetTypeFault> => {
  const compiled = compileAssetType(config, parseExpression)
  return config.testVectors.flatMap(({ expected, name, readings }, index) => {
    const path = `testVectors[${index}]`
    const found = after(
      compiled,
      readings.map(({ atSeconds, metrics }, place) => readingOf(place, Math.round(atSeconds * 1e6), metrics)),
      evaluate
    )
    const faults: Array<AssetTypeFault> = []
    const compare = (at: string, got: unknown, wanted: unknown) => {
      if (!isSame(got, wanted)) {
        faults.push({
          path: `${path}.expected.${at}`,
          message: `${name}: expected ${shown(wanted)}, got ${shown(got)}`
        })
      }
    }
    for (const [key, value] of Object.entries(expected.metrics)) {
      compare(`metrics.${key}`, key === HEALTH_SCORE ? found.metrics[key] : found.held?.[key], value)
    }
    if (expected.healthScore !== undefined) compare("healthScore", found.health?.score ?? null, expected.healthScore)
    return faults
  })
}

/** What one reading of a device goes through, in this order. */
export interface TrialSteps {
  readonly mapped: Readonly<Record<string, MetricValue>>
  /** By metric, why a value is bad. */
  readonly refused: Readonly<Record<string, string>>
  readonly windowed: Readonly<
    Record<string, { readonly fn: string; readonly windowSeconds: number; readonly value: MetricValue }>
  >
  readonly derived: Readonly<Record<string, { readonly value: MetricValue | null; readonly error?: string }>>
  readonly health: (Health & { readonly algorithm: string }) | null
  /** What the asset would show. */
  readonly metrics: Readonly<Record<string, MetricValue>>
  readonly quality: Readonly<Record<string, Quality>>
}

export interface TriedReading extends DeviceMetrics {
  readonly ts: Instant
}

/** Each reading with all those before it; they are taken in the order of their timestamps. */
export const tryReadings = (
  config: AssetTypeConfig,
  readings: ReadonlyArray<TriedReading>,
  {
    linkMapping = {},
    profileMapping = {}
  }: { readonly linkMapping?: Mappings; readonly profileMapping?: Mappings } = {},
  evaluate: Evaluate = evaluateHere
): Result.Result<ReadonlyArray<TrialSteps>, ReadonlyArray<AssetTypeFault>> => {
  const faults = assetTypeFaults(config)
  if (faults.length > 0) return Result.fail(faults)
  const compiled = compileAssetType(config, parseExpression)
  const layers = [config.transformationEngine.mappings, profileMapping, linkMapping]
  const fold = assetFold({ versions: [compiled], evaluate, holdsForParent: true })
  let state = fold.initial
  const steps = readings
    .toSorted((left, right) => left.ts - right.ts)
    .map((reading, index) => {
      const mapped = compileMapping(layers, config.metricDefinitions, reading.port)(reading) ?? { metrics: {} }
      const before = state
      state = fold.step(state, readingOf(index, reading.ts, mapped.metrics, mapped.quality), () => {})
      return stepsOf(compiled, before, state, reading.ts, mapped.metrics, evaluate)
    })
  return Result.succeed(steps)
}

const stepsOf = (
  compiled: CompiledAssetType,
  before: AssetState,
  state: AssetState,
  ts: Instant,
  mapped: Readonly<Record<string, MetricValue>>,
  evaluate: Evaluate
): TrialSteps => {
  const { held = {}, ...output } = outputOf(state, compiled, { evaluate, holdsForParent: true })
  const refused: Record<string, string> = {}
  const windowed: Record<string, TrialSteps["windowed"][string]> = {}
  for (const key of Object.keys(mapped)) {
    const rule = compiled.validationOf(key)
    const why = rule && invalidity(rule, mapped[key]!, ts, before.sources[key]?.[nobody])
    if (why !== undefined) refused[key] = why
    const { fn, seconds } = compiled.windowOf(key)
    if (fn !== "latest" && state.values[key] !== undefined) {
      windowed[key] = { fn, windowSeconds: seconds, value: state.values[key] }
    }
  }
  const derived = Object.fromEntries(
    compiled.derived.map(({ expression, key }) => {
      const result = evaluate(expression, held)
      if (Result.isFailure(result)) return [key, { value: null, error: result.failure.message }] as const
      return [key, { value: metricValueOf(result.success) ?? null }] as const
    })
  )
  return {
    mapped,
    refused,
    windowed,
    derived,
    health: output.health ?? null,
    metrics: output.metrics,
    quality: output.quality ?? {}
  }
}
