/**
 * Asset types: all that decides what an asset makes of its devices' readings, as users write it (camelCase, stored as jsonb).
 * @module
 */
import { Schema } from "effect"
import { ExtractionRule } from "../device-type.ts"
import { Expression } from "../expression/expression.ts"
import { AssetTypeId, Instant, MetricKey, metricMap, orElse } from "../ids.ts"
import { Metrics } from "../readings.ts"
import { EventRule, TypeThreshold } from "../rule/rule.ts"

const range = { min: Schema.optionalKey(Schema.Finite), max: Schema.optionalKey(Schema.Finite) }
const weighted = { metricKey: MetricKey, weight: Schema.Finite.check(Schema.isGreaterThan(0)) }

export const HealthAlgorithm = Schema.Union([
  // each metric normalised to 0..1 against its range; Σ(value · weight) / Σ weight · 100 over the metrics that have a value
  Schema.Struct({
    algorithm: Schema.Literal("weighted_average"),
    metrics: Schema.NonEmptyArray(
      Schema.Struct({
        ...weighted,
        direction: Schema.Literals(["higher_better", "lower_better", "band"]),
        min: Schema.Finite,
        max: Schema.Finite,
        band: Schema.optionalKey(Schema.Tuple([Schema.Finite, Schema.Finite]))
      })
    )
  }),
  // the share of checked metrics within [min, max]
  Schema.Struct({
    algorithm: Schema.Literal("threshold_based"),
    metrics: Schema.NonEmptyArray(Schema.Struct({ metricKey: MetricKey, ...range }))
  }),
  // 100 minus the deduction of each rule whose condition holds, floor 0
  Schema.Struct({
    algorithm: Schema.Literal("weighted_deductions"),
    rules: Schema.NonEmptyArray(Schema.Struct({ when: Expression, deduction: Schema.Finite, reason: Schema.String }))
  }),
  // the first band with min ≤ value < max gives a metric's score, combined by weights
  Schema.Struct({
    algorithm: Schema.Literal("score_based"),
    metrics: Schema.NonEmptyArray(
      Schema.Struct({ ...weighted, bands: Schema.NonEmptyArray(Schema.Struct({ ...range, score: Schema.Finite })) })
    )
  })
])
export type HealthAlgorithm = typeof HealthAlgorithm.Type

export const MetricDefinition = Schema.Struct({
  key: MetricKey,
  displayName: Schema.String,
  dataType: ExtractionRule.fields.type,
  unit: Schema.optionalKey(Schema.String), // UCUM
  precision: Schema.optionalKey(Schema.Int),
  ...range
})

export const WindowFunction = Schema.Literals(["min", "max", "avg", "latest", "count", "sum"])
export type WindowFunction = typeof WindowFunction.Type

const empty = orElse({})
/** asset_type_versions.config: versioned as a whole. Its thresholdRules and eventRules become rows of threshold_rules. */
export const AssetTypeConfig = Schema.Struct({
  metricDefinitions: Schema.Array(MetricDefinition).pipe(Schema.withDecodingDefaultKey(orElse([]))),
  transformationEngine: Schema.Struct({
    /** Asset metric → path in the device reading's metrics (`$.temp_1`); a bare key is a path too. Link over profile over type. */
    mappings: metricMap(Schema.NonEmptyString).pipe(Schema.withDecodingDefaultKey(empty)),
    /** Over the asset's metrics, in dependency order; cycles are refused when saved. */
    derived: metricMap(Expression).pipe(Schema.withDecodingDefaultKey(empty))
  }).pipe(Schema.withDecodingDefaultKey(orElse({ mappings: {}, derived: {} }))),
  /** None for a metric: `latest`. `windowSeconds` is a multiple of 60 and at most a day. */
  aggregationRules: metricMap(
    Schema.Struct({
      windowSeconds: Schema.Int.check(Schema.isBetween({ minimum: 60, maximum: 86_400 })),
      fn: WindowFunction
    })
  ).pipe(Schema.withDecodingDefaultKey(empty)),
  /** Beyond the range or the rate: quality bad. */
  validationRules: metricMap(Schema.Struct({ ...range, maxRatePerSecond: Schema.optionalKey(Schema.Finite) })).pipe(
    Schema.withDecodingDefaultKey(empty)
  ),
  healthAlgorithm: Schema.optionalKey(HealthAlgorithm),
  thresholdRules: Schema.Array(TypeThreshold).pipe(Schema.withDecodingDefaultKey(orElse([]))),
  eventRules: Schema.Array(EventRule).pipe(Schema.withDecodingDefaultKey(orElse([]))),
  rollup: Schema.optionalKey(
    Schema.Struct({
      /** Which of the children's metrics become the parent's metric of the same key, and how. `worst`: the value of the child with the lowest health. */
      metrics: metricMap(Schema.Literals(["sum", "avg", "min", "max", "worst", "count"])),
      /** `own`: the type's health algorithm over the parent's own metrics; `weighted`: by the children's `healthWeight` attribute (1). */
      health: Schema.Literals(["avg", "weighted", "worst", "own"])
    })
  ),
  /** Device readings' metrics (as mapped, each at its second of the vector), and what the asset must show after them. */
  testVectors: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      readings: Schema.NonEmptyArray(Schema.Struct({ atSeconds: Schema.Finite, metrics: Metrics })),
      expected: Schema.Struct({
        metrics: Metrics,
        healthScore: Schema.optionalKey(Schema.NullOr(Schema.Finite))
      })
    })
  ).pipe(Schema.withDecodingDefaultKey(orElse([])))
})
export type AssetTypeConfig = typeof AssetTypeConfig.Type

/** The published versions of an asset type, oldest first, with what its parent types set where it sets nothing. */
export const AssetTypeProfile = Schema.Struct({
  assetTypeId: AssetTypeId,
  versions: Schema.NonEmptyArray(Schema.Struct({ number: Schema.Int, effectiveAt: Instant, config: AssetTypeConfig })),
  sequence: Schema.Int
})
export type AssetTypeProfile = typeof AssetTypeProfile.Type
