import type { HealthAlgorithm } from "@argusiq/domain/asset/asset-type.ts"
import type { Values } from "@argusiq/domain/asset/health/algorithm.ts"
import { compileHealth } from "@argusiq/domain/asset/health/registry.ts"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { evaluateHere } from "@argusiq/domain/expression/memo.ts"
import { assert, describe, it } from "@effect/vitest"

const faultsOf = (config: HealthAlgorithm) => {
  const faults: Array<string> = []
  compileHealth(config, parseExpression, (path) => faults.push(path))
  return faults
}
const scoreOf = (config: HealthAlgorithm, values: Values) =>
  compileHealth(config, parseExpression, (path, message) => assert.fail(`${path} ${message}`)).score(
    values,
    evaluateHere
  )
const pointsOf = (config: HealthAlgorithm, values: Values) =>
  scoreOf(config, values)?.contributions.map(({ points }) => points)

const average: HealthAlgorithm = {
  algorithm: "weighted_average",
  metrics: [
    { metricKey: "temperature", weight: 2, direction: "lower_better", min: 20, max: 120 },
    { metricKey: "pressure", weight: 1, direction: "higher_better", min: 0, max: 8 },
    { metricKey: "voltage", weight: 1, direction: "band", min: 200, max: 260, band: [220, 240] }
  ]
}
const threshold: HealthAlgorithm = {
  algorithm: "threshold_based",
  metrics: [
    { metricKey: "a", min: 0, max: 10 },
    { metricKey: "b", max: 5 },
    { metricKey: "c", min: 1 }
  ]
}
const deductions: HealthAlgorithm = {
  algorithm: "weighted_deductions",
  rules: [
    { when: "temperature > 80", deduction: 30, reason: "Hot" },
    { when: "vibration > 5 and temperature > 60", deduction: 25, reason: "Shaking while warm" },
    { when: "leak = true", deduction: 90, reason: "Leaking" }
  ]
}
const bands: HealthAlgorithm = {
  algorithm: "score_based",
  metrics: [
    {
      metricKey: "load",
      weight: 3,
      bands: [
        { max: 70, score: 100 },
        { min: 70, max: 90, score: 60 },
        { min: 90, score: 10 }
      ]
    },
    { metricKey: "age", weight: 1, bands: [{ min: 0, max: 10, score: 80 }] }
  ]
}

describe("health by weighted average", () => {
  it("is the mean of the normalised metrics by their weights, and its points add up to it", () => {
    // temperature 45: 1 − 25/100 = 0.75, twice; pressure 2: 0.25; voltage 210: (210 − 200)/20 = 0.5 → (1.5 + 0.25 + 0.5)/4
    const health = scoreOf(average, { temperature: 45, pressure: 2, voltage: 210 })
    assert.strictEqual(health?.score, 56.25)
    assert.deepStrictEqual(health?.contributions, [
      { metricKey: "temperature", value: 45, score: 75, weight: 2, points: 37.5 },
      { metricKey: "pressure", value: 2, score: 25, weight: 1, points: 6.25 },
      { metricKey: "voltage", value: 210, score: 50, weight: 1, points: 12.5 }
    ])
  })

  it("leaves out what has no value, and counts what is beyond its range as at its end", () => {
    assert.strictEqual(scoreOf(average, { temperature: 500, voltage: 230 })?.score, 33.333333)
    assert.strictEqual(scoreOf(average, { temperature: -40, pressure: true })?.score, 70.833333)
    assert.strictEqual(scoreOf(average, { voltage: 250 })?.score, 50)
  })

  it("is no score at all without data", () => {
    assert.strictEqual(scoreOf(average, {}), undefined)
    assert.strictEqual(scoreOf(average, { temperature: "warm", other: 1 }), undefined)
  })

  it("refuses empty ranges, and bands outside of theirs", () => {
    const [metric] = average.algorithm === "weighted_average" ? average.metrics : []
    assert.deepStrictEqual(faultsOf({ ...average, metrics: [{ ...metric!, min: 5, max: 5 }] } as HealthAlgorithm), [
      "metrics[0].max"
    ])
    assert.deepStrictEqual(
      faultsOf({ ...average, metrics: [{ ...metric!, direction: "band", band: [10, 30] }] } as HealthAlgorithm),
      ["metrics[0].band"]
    )
  })
})

describe("health by thresholds", () => {
  it("is the share of the checked metrics within their limits, the limits included", () => {
    assert.deepStrictEqual(scoreOf(threshold, { a: 10, b: 5.1, c: 1 })?.score, 66.666667)
    assert.deepStrictEqual(pointsOf(threshold, { a: 11, b: 5 }), [0, 50])
    assert.strictEqual(scoreOf(threshold, { c: 0 })?.score, 0)
    assert.strictEqual(scoreOf(threshold, { d: 0 }), undefined)
  })
})

describe("health by deductions", () => {
  it("is 100 less what each rule that holds takes", () => {
    const health = scoreOf(deductions, { temperature: 85, vibration: 6, leak: false })
    assert.strictEqual(health?.score, 45)
    assert.deepStrictEqual(
      health?.contributions.map(({ points, reason }) => [reason, points]),
      [
        ["No deductions", 100],
        ["Hot", -30],
        ["Shaking while warm", -25]
      ]
    )
    assert.strictEqual(scoreOf(deductions, { temperature: 20 })?.score, 100)
  })

  it("is never below 0, and its points say so", () => {
    const health = scoreOf(deductions, { temperature: 85, vibration: 6, leak: true })
    assert.strictEqual(health?.score, 0)
    assert.deepStrictEqual(
      health?.contributions.map(({ points }) => points),
      [100, -30, -25, -90, 45]
    )
  })

  it("is no score while nothing that it reads has a value", () => {
    assert.strictEqual(scoreOf(deductions, {}), undefined)
    assert.strictEqual(scoreOf(deductions, { other: 1 }), undefined)
  })

  it("refuses an expression with its position", () => {
    assert.deepStrictEqual(
      faultsOf({ algorithm: "weighted_deductions", rules: [{ when: "a >", deduction: -1, reason: "" }] }),
      ["rules[0].deduction", "rules[0].when"]
    )
  })
})

describe("health by bands", () => {
  it("takes the first band with min ≤ value < max, by weights", () => {
    assert.deepStrictEqual(pointsOf(bands, { load: 70, age: 4 }), [45, 20])
    assert.strictEqual(scoreOf(bands, { load: 90 })?.score, 10)
    assert.strictEqual(scoreOf(bands, { load: 69.9 })?.score, 100)
  })

  it("leaves a value out that no band holds", () => {
    assert.strictEqual(scoreOf(bands, { load: 80, age: 11 })?.score, 60)
    assert.strictEqual(scoreOf(bands, { age: 11 }), undefined)
  })
})
