import type { Link } from "@argusiq/domain/asset/asset.ts"
import { compileDerived, derive } from "@argusiq/domain/asset/derived.ts"
import { compileMapping, mappingFault, takes } from "@argusiq/domain/asset/mapping.ts"
import { type Children, rollUpHealth, rollUpMetric } from "@argusiq/domain/asset/roll-up.ts"
import { invalidity } from "@argusiq/domain/asset/validation.ts"
import { observe, type Sources, valueAt, type Window } from "@argusiq/domain/asset/window.ts"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { evaluateHere } from "@argusiq/domain/expression/memo.ts"
import type { AssetId } from "@argusiq/domain/ids.ts"
import type { MetricValue } from "@argusiq/domain/readings.ts"
import { assert, describe, it } from "@effect/vitest"

const SECOND = 1_000_000

describe("a window", () => {
  const measured: ReadonlyArray<readonly [seconds: number, value: MetricValue]> = [
    [10, 4],
    [50, 6],
    [70, 1],
    [130, 9]
  ]
  const at = (seconds: number, window: Window) => {
    let sources: Sources | undefined
    for (const [ts, value] of measured) {
      if (ts <= seconds) sources = observe(sources, "one", "primary", ts * SECOND, value, window)
    }
    return valueAt(sources ?? {}, seconds * SECOND, window)
  }

  it("holds the minutes that its length covers, the one under way included", () => {
    assert.strictEqual(at(130, { seconds: 180, fn: "avg" }), 5)
    assert.strictEqual(at(130, { seconds: 120, fn: "avg" }), 5)
    assert.strictEqual(at(130, { seconds: 60, fn: "avg" }), 9)
    assert.strictEqual(at(70, { seconds: 120, fn: "sum" }), 11)
    assert.strictEqual(at(130, { seconds: 180, fn: "count" }), 4)
    assert.strictEqual(at(130, { seconds: 120, fn: "min" }), 1)
    assert.strictEqual(at(50, { seconds: 60, fn: "max" }), 6)
    assert.strictEqual(at(130, { seconds: 180, fn: "latest" }), 9)
    assert.strictEqual(at(5, { seconds: 60, fn: "avg" }), undefined)
  })

  const both = (primary: ReadonlyArray<number>, backup: ReadonlyArray<number>, seconds: number, fn: Window["fn"]) => {
    const window: Window = { seconds: 120, fn }
    const all = [
      ...primary.map((ts) => ({ id: "p", role: "primary" as const, ts, value: 10 })),
      ...backup.map((ts) => ({ id: "b", role: "backup" as const, ts, value: 2 }))
    ].toSorted((left, right) => left.ts - right.ts)
    let sources: Sources | undefined
    for (const { id, role, ts, value } of all) sources = observe(sources, id, role, ts * SECOND, value, window)
    return valueAt(sources!, seconds * SECOND, window)
  }

  it("leaves a backup out while a primary has reported within it", () => {
    assert.strictEqual(both([0, 60], [10, 70], 100, "latest"), 10)
    assert.strictEqual(both([0, 60], [10, 70], 100, "avg"), 10)
    assert.strictEqual(both([0, 60], [10, 70, 179], 179, "latest"), 10)
    assert.strictEqual(both([0, 60], [10, 70, 180], 180, "latest"), 2)
    assert.strictEqual(both([0, 60], [10, 70, 250], 250, "count"), 1)
    assert.strictEqual(both([], [10], 10, "avg"), 2)
  })
})

describe("validation", () => {
  const rule = { min: 0, max: 100, maxRatePerSecond: 2 }
  it("judges the range, and the rate against the last good value", () => {
    assert.strictEqual(invalidity(rule, 50, 10 * SECOND, { ts: 0, value: 30 }), undefined)
    assert.match(invalidity(rule, 51, 10 * SECOND, { ts: 0, value: 30 })!, /30 to 51 within 10 s/)
    assert.match(invalidity(rule, 101, 0, undefined)!, /above 100/)
    assert.match(invalidity(rule, -0.5, 0, undefined)!, /below 0/)
    assert.strictEqual(invalidity(rule, "high", 0, { ts: 0, value: 30 }), undefined)
    assert.strictEqual(invalidity(rule, 30, 0, { ts: 0, value: 30 }), undefined)
    assert.match(invalidity(rule, 31, 0, { ts: 0, value: 30 })!, /faster/)
  })
})

describe("derived metrics", () => {
  const compiled = (derived: Record<string, string>) => {
    const faults: Array<string> = []
    const metrics = compileDerived(derived, parseExpression, (path, message) => faults.push(`${path}: ${message}`))
    return { faults, metrics }
  }
  const run = (derived: Record<string, string>, values: Record<string, MetricValue>) => {
    const told: Record<string, MetricValue> = {}
    derive(compiled(derived).metrics, { ...values }, evaluateHere, ({ key }, value) => void (told[key] = value))
    return told
  }

  it("are evaluated after those they read, however they are written down", () => {
    const derived = { cost: "energy * 0.3", energy: "power * 2", power: "voltage * current" }
    assert.deepStrictEqual(run(derived, { voltage: 230, current: 2 }), { power: 460, energy: 920, cost: 276 })
  })

  it("have no value where what they read has none", () => {
    assert.deepStrictEqual(run({ power: "voltage * current", half: "voltage / 2" }, { voltage: 230 }), { half: 115 })
  })

  it("are refused when they depend on themselves, with the names on the way", () => {
    const { faults, metrics } = compiled({ a: "b + 1", b: "c * 2", c: "a", d: "1" })
    assert.deepStrictEqual(metrics, [])
    assert.deepStrictEqual(faults, [": the derived metrics a → b → c → a depend on themselves"])
    assert.match(compiled({ a: "a + 1" }).faults[0]!, /a → a/)
  })
})

describe("mapping", () => {
  const definitions = ["temperature", "humidity", "raw"].map((key) => ({
    key,
    displayName: key,
    dataType: "numeric" as const
  }))
  const map = (layers: ReadonlyArray<Record<string, string>>, port?: string) =>
    compileMapping(layers, definitions, port)

  it("takes the link's before the profile's before the type's, by key or path", () => {
    const type = { temperature: "temp_1", humidity: "$.hum" }
    const profile = { temperature: "$.temp_2" }
    const reading = { metrics: { temp_1: 1, temp_2: 2, temp_3: 3, hum: 40 } }
    assert.deepStrictEqual(map([type])(reading), { metrics: { temperature: 1, humidity: 40 } })
    assert.deepStrictEqual(map([type, profile])(reading), { metrics: { temperature: 2, humidity: 40 } })
    assert.deepStrictEqual(map([type, profile, { temperature: "temp_3" }])(reading), {
      metrics: { temperature: 3, humidity: 40 }
    })
  })

  it("passes what nothing maps under its own key where the type defines it", () => {
    assert.deepStrictEqual(
      map([{ temperature: "raw" }])({ metrics: { raw: 5, humidity: 3, other: 1, temperature: 9 } }),
      {
        metrics: { temperature: 5, humidity: 3 }
      }
    )
    assert.strictEqual(map([])({ metrics: { other: 1 } }), undefined)
  })

  it("carries quality to the metric's name for the asset, and reads within a metric", () => {
    const mapped = map([{ temperature: "$.sensor.t" }])({
      metrics: { sensor: { t: 21 }, humidity: 1 },
      quality: { sensor: "uncertain" }
    })
    assert.deepStrictEqual(mapped, { metrics: { temperature: 21, humidity: 1 }, quality: { temperature: "uncertain" } })
  })

  it("knows the metrics of a link's port by their names within it", () => {
    const reading = {
      port: "2",
      metrics: { "port2.temp_1": 7, "port2.humidity": 50 },
      quality: { "port2.humidity": "bad" as const }
    }
    assert.deepStrictEqual(map([{ temperature: "temp_1" }], "2")(reading), {
      metrics: { temperature: 7, humidity: 50 },
      quality: { humidity: "bad" }
    })
    assert.deepStrictEqual(map([{ temperature: "port2.temp_1" }])(reading), { metrics: { temperature: 7 } })
    assert.deepStrictEqual(map([{ temperature: "$.port2.temp_1" }])(reading), { metrics: { temperature: 7 } })
  })

  it("refuses a path that is none", () => {
    assert.match(mappingFault("$.a[?(@.b)]")!, /filter/)
    assert.strictEqual(mappingFault("any key, with [what]ever"), undefined)
  })

  it("is of a link from its beginning to before its end, and of its port", () => {
    const link = { validFrom: 10, validUntil: 20 } as Link
    assert.deepStrictEqual(
      [9, 10, 19, 20].map((ts) => takes(link, { ts })),
      [false, true, true, false]
    )
    assert.isFalse(takes({ ...link, port: "1" }, { ts: 10 }))
    assert.isTrue(takes({ ...link, port: "1" }, { ts: 10, port: "1" }))
  })
})

describe("a roll-up", () => {
  const children: Children = {
    a: { ts: 1, weight: 3, health: 80, metrics: { power: 10, state: "on" } },
    b: { ts: 1, weight: 1, health: 40, metrics: { power: 4 } },
    c: { ts: 1, weight: 1, metrics: { power: 1 } }
  }
  it("is of the children that have a value", () => {
    const of = (fn: "sum" | "avg" | "min" | "max" | "worst" | "count") => rollUpMetric(children, "power", fn)
    assert.deepStrictEqual([of("sum"), of("avg"), of("min"), of("max"), of("count"), of("worst")], [15, 5, 1, 10, 3, 4])
    assert.strictEqual(rollUpMetric(children, "state", "count"), 1)
    assert.strictEqual(rollUpMetric(children, "state", "worst"), "on")
    assert.strictEqual(rollUpMetric(children, "nothing", "sum"), undefined)
  })

  it("takes the children's health by average, by weight, or the worst", () => {
    assert.strictEqual(rollUpHealth(children, "avg")?.score, 60)
    assert.strictEqual(rollUpHealth(children, "weighted")?.score, 70)
    assert.deepStrictEqual(rollUpHealth(children, "worst"), {
      score: 40,
      contributions: [{ childId: "b" as AssetId, score: 40, weight: 1, points: 40 }]
    })
    assert.strictEqual(rollUpHealth({ c: children["c"]! }, "avg"), undefined)
  })
})
