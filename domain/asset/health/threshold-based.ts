/**
 * The share of the checked metrics that are within their limits. A metric without a value is not checked.
 * @module
 */
import { type HealthAlgorithmKind, numberOf, own, type Weighted, weightedHealth } from "./algorithm.ts"

export const thresholdBased: HealthAlgorithmKind<"threshold_based"> = {
  name: "threshold_based",
  compile: ({ metrics }, _parse, fault) => {
    metrics.forEach(({ max, min }, index) => {
      if (min === undefined && max === undefined) fault(`metrics[${index}]`, "needs min, max or both")
      if (min !== undefined && max !== undefined && min > max) {
        fault(`metrics[${index}].max`, `must not be less than min (${min})`)
      }
    })
    return {
      reads: metrics.map(({ metricKey }) => metricKey),
      score: (values) => {
        const parts: Array<Weighted> = []
        for (const { max = Infinity, metricKey, min = -Infinity } of metrics) {
          const value = numberOf(own(values, metricKey))
          if (value === undefined) continue
          parts.push({ metricKey, value, score: value >= min && value <= max ? 100 : 0, weight: 1 })
        }
        return weightedHealth(parts)
      }
    }
  }
}
