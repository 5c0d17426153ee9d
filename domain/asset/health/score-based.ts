/**
 * The first band with min ≤ value < max gives a metric's score; the scores are combined by weights. A value that no band
 * holds has no score and takes no part.
 * @module
 */
import { type HealthAlgorithmKind, numberOf, own, type Weighted, weightedHealth } from "./algorithm.ts"

export const scoreBased: HealthAlgorithmKind<"score_based"> = {
  name: "score_based",
  compile: ({ metrics }, _parse, fault) => {
    metrics.forEach(({ bands }, index) => {
      bands.forEach(({ max = Infinity, min = -Infinity, score }, band) => {
        const path = `metrics[${index}].bands[${band}]`
        if (min >= max) fault(`${path}.max`, `must be greater than min (${min})`)
        if (score < 0 || score > 100) fault(`${path}.score`, "must be between 0 and 100")
      })
    })
    return {
      reads: metrics.map(({ metricKey }) => metricKey),
      score: (values) => {
        const parts: Array<Weighted> = []
        for (const { bands, metricKey, weight } of metrics) {
          const value = numberOf(own(values, metricKey))
          if (value === undefined) continue
          const band = bands.find(({ max = Infinity, min = -Infinity }) => min <= value && value < max)
          if (band !== undefined) parts.push({ metricKey, value, score: band.score, weight })
        }
        return weightedHealth(parts)
      }
    }
  }
}
