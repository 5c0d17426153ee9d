import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { unitConversion } from "@argusiq/domain/units.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { compiled, problemsOf, reading } from "./compiled.ts"

const convert = (value: number, from: string, to: string) => Result.getOrThrow(unitConversion(from, to))(value)

describe("unit conversion", () => {
  it.each([
    [100, "Cel", "[degF]", 212],
    [-40, "[degF]", "Cel", -40],
    [98.6, "°F", "°C", 37],
    [0, "Cel", "K", 273.15],
    [273.15, "K", "Cel", 0],
    [1, "bar", "kPa", 100],
    [1, "[psi]", "Pa", 6894.757293168362],
    [1, "atm", "hPa", 1013.25],
    [1, "[mi_i]", "km", 1.609344],
    [36, "km/h", "m/s", 10],
    [1, "[mi_i]/h", "km/h", 1.609344],
    [1, "kW.h", "MJ", 3.6],
    [50, "%", "1", 0.5],
    [1, "[gal_us]", "L", 3.785411784],
    [60, "L/min", "L/s", 1],
    [1, "[HP]", "W", 745.6998715822702],
    [1, "[lb_av]", "kg", 0.45359237],
    [3000, "/min", "Hz", 50],
    [20.1, "Cel", "[degF]", 68.18],
    [21.35, "Cel", "K", 294.5],
    [1.005, "V", "mV", 1005],
    [33.3, "%", "1", 0.333]
  ])("%d %s → %s is %d", (value, from, to, expected) => {
    assert.strictEqual(convert(value, from, to), expected)
  })

  const units = ["Cel", "K", "[degF]"] as const
  it.prop(
    "there and back is where it began",
    {
      value: Schema.Finite.check(Schema.isBetween({ minimum: -1e6, maximum: 1e6 })),
      from: Schema.Literals(units),
      to: Schema.Literals(units)
    },
    ({ from, to, value }) => {
      assert.closeTo(convert(convert(value, from, to), to, from), value, 1e-9)
    }
  )
})

describe("transformation rules", () => {
  const extractionRules = {
    t: { path: "$.t", type: "numeric", unit: "[degF]", max: 212 },
    s: { path: "$.s", type: "text" }
  }
  const transformationRules = [
    { kind: "unit", metricKey: "t", to: "Cel" },
    { kind: "unit", metricKey: "t", to: "K" }
  ]

  it("convert in order, after min and max have judged in the rule's unit", () => {
    const { metrics, quality } = reading({ t: 213.8, s: "x" }, { extractionRules, transformationRules })
    assert.strictEqual(metrics["t"], 374.15)
    assert.deepStrictEqual(quality, { t: "bad" })
  })

  it("pass by a metric that is not in the message", () => {
    assert.deepStrictEqual(reading({ s: "x" }, { extractionRules, transformationRules }).metrics, { s: "x" })
  })

  it("decide the unit that a metric is stored in", () => {
    assert.deepStrictEqual([...compiled({ extractionRules, transformationRules }).units], [["t", "K"]])
    assert.deepStrictEqual([...compiled({ extractionRules }).units], [["t", "[degF]"]])
  })

  it.each<[why: string, rule: object, message: string]>([
    ["unknown units", { kind: "unit", metricKey: "t", to: "furlong" }, 'The unit "furlong" is not known'],
    ["another quantity", { kind: "unit", metricKey: "t", to: "bar" }, "measures temperature"],
    ["metrics without a unit", { kind: "unit", metricKey: "s", to: "K" }, "no numeric extraction rule with a unit"],
    [
      "metrics without a rule",
      { kind: "unit", metricKey: "toString", to: "K" },
      "no numeric extraction rule with a unit"
    ],
    [
      "expressions that cannot be parsed",
      { kind: "expression", metricKey: "t", expression: "t * $foo(1)" },
      "At position 4: There is neither a function nor a variable $foo."
    ]
  ])("with %s are refused when the type is compiled", (_, rule, message) => {
    const problems = problemsOf({ extractionRules, transformationRules: [rule] })
    assert.include(problems, message)
    assert.include(problems, "$.transformationRules[0]")
  })
})

it("everything that is wrong is reported at once, each with its path", () => {
  const problems = problemsOf({
    protocolAdapter: { converterId: "0190a5f0-7b1e-7c3d-8a2b-000000000009" },
    extractionRules: {
      a: { path: "a", type: "numeric", min: 2, max: 1 },
      b: { path: ["$.b", "$["], type: "text", scale: 2 }
    },
    timestamp: { path: ["$.ts", "when", "$..ts"], maxAheadSeconds: -1 },
    transformationRules: [{ kind: "unit", metricKey: "z", to: "K" }],
    messageSchema: { type: "float" }
  })
  const paths = problems.split("\n").map((line) => line.slice(0, line.indexOf(": ")))
  assert.deepStrictEqual(paths, [
    "$.protocolAdapter.converterId",
    '$.extractionRules["a"].path',
    '$.extractionRules["a"].min',
    '$.extractionRules["b"].path',
    '$.extractionRules["b"].scale',
    "$.timestamp.path[1]",
    "$.timestamp.path[2]",
    "$.timestamp.maxAheadSeconds",
    "$.transformationRules[0].metricKey",
    "$.messageSchema/type"
  ])
})

it("every protocol adapter compiles but a converter, which must be resolved first", () => {
  for (const protocolAdapter of ["json", "csv", "cbor", "senml", "sparkplug_b"]) {
    assert.strictEqual(problemsOf({ protocolAdapter }), "")
  }
  const protocolAdapter = { converterId: "0190a5f0-7b1e-7c3d-8a2b-000000000009" }
  assert.include(problemsOf({ protocolAdapter }), "$.protocolAdapter.converterId")
})

it("an adapter whose messages depend on those before them is for endpoints only", () => {
  const sparkplug = { protocolAdapter: "sparkplug_b", processingMode: "rtu_multiport" }
  assert.include(problemsOf(sparkplug), "$.processingMode")
})

it("a type for gateways compiles: whether its mode is served is the dispatcher's question", () => {
  assert.strictEqual(problemsOf({ processingMode: "gateway" }), "")
})

it.prop(
  "whatever configuration decodes, compiling it gives a result and does not throw",
  { config: DeviceTypeConfig },
  ({ config }) => {
    problemsOf(config)
  },
  { arbitrary: { runs: 100 } }
)
