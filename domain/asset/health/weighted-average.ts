/**
 * Each metric normalised to 0..1 against its range, Σ(value · weight) / Σ weight · 100 over the metrics that have a value.
 * @module
 */
import type { HealthAlgorithm } from "../asset-type.ts"
import { type HealthAlgorithmKind, numberOf, own, type Weighted, weightedHealth } from "./algorithm.ts"

type Metric = Extract<HealthAlgorithm, { readonly algorithm: "weighted_average" }>["metrics"][number]

const between = (value: number) => Math.min(1, Math.max(0, value))

/** 1 within the band, falling to 0 at the ends of the range. */
const withinBand = (value: number, min: number, max: number, [low, high]: readonly [number, number]): number => {
  if (value >= low && value <= high) return 1
  if (value < low) return low === min ? 0 : between((value - min) / (low - min))
  return high === max ? 0 : between((max - value) / (max - high))
}

const normalised = ({ band, direction, max, min }: Metric, value: number): number => {
  if (direction === "band") return withinBand(value, min, max, band ?? [min, max])
  const share = between((value - min) / (max - min))
  return direction === "higher_better" ? share : 1 - share
}

export const weightedAverage: HealthAlgorithmKind<"weighted_average"> = {
  name: "weighted_average",
  compile: ({ metrics }, _parse, fault) => {
    metrics.forEach(({ band, direction, max, min }, index) => {
      if (min >= max) fault(`metrics[${index}].max`, `must be greater than min (${min})`)
      if (direction !== "band") return
      if (band === undefined) fault(`metrics[${index}].band`, "is needed: the values that count as fully healthy")
      else if (band[0] > band[1] || band[0] < min || band[1] > max) {
        fault(`metrics[${index}].band`, `must lie within ${min} and ${max}, the lower end first`)
      }
    })
    return {
      reads: metrics.map(({ metricKey }) => metricKey),
      score: (values) => {
        const parts: Array<Weighted> = []
        for (const metric of metrics) {
          const { metricKey, weight } = metric
          const value = numberOf(own(values, metricKey))
          if (value !== undefined) parts.push({ metricKey, value, score: normalised(metric, value) * 100, weight })
        }
        return weightedHealth(parts)
      }
    }
  }
}
