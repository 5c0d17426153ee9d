import { assetFold, type AssetOutput, quietAssetFold } from "@argusiq/domain/asset/asset-fold.ts"
import type { AssetReading, ChildAssetReading, DeviceAssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import { runTestVectors, tryReadings } from "@argusiq/domain/asset/asset-type-trial.ts"
import { compileAssetType } from "@argusiq/domain/asset/compiled-asset-type.ts"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { evaluateHere } from "@argusiq/domain/expression/memo.ts"
import { advance, compareInputs, emptyState, foldAll } from "@argusiq/domain/fold-state.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { restarted } from "../restarted.ts"

const SECOND = 1_000_000
const START = 1_700_000_000 * SECOND
const namespace = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
const decode = Schema.decodeUnknownSync(AssetTypeConfig)

const config = decode({
  metricDefinitions: [{ key: "temperature", displayName: "Temperature", dataType: "numeric" }],
  transformationEngine: { derived: { power: "voltage * current", kilo: "power / 1000" } },
  aggregationRules: { load: { windowSeconds: 120, fn: "avg" } },
  validationRules: { temperature: { min: -40, max: 120 } },
  healthAlgorithm: {
    algorithm: "weighted_average",
    metrics: [{ metricKey: "temperature", weight: 1, direction: "lower_better", min: 0, max: 100 }]
  },
  testVectors: [
    {
      name: "warm",
      readings: [
        { atSeconds: 0, metrics: { temperature: 40, load: 1 } },
        { atSeconds: 30, metrics: { load: 3 } }
      ],
      expected: { metrics: { temperature: 40, load: 2 }, healthScore: 60 }
    }
  ]
})
const site = decode({ rollup: { metrics: { temperature: "max", power: "sum" }, health: "worst" } })
const versions = [compileAssetType(config, parseExpression)]
const fold = assetFold({ versions, evaluate: evaluateHere })

const device = (
  seconds: number,
  metrics: DeviceAssetReading["metrics"],
  extra: Partial<DeviceAssetReading> & { readonly name?: string } = {}
): AssetReading => {
  const { name = "one", ...rest } = extra
  const ts = START + seconds * SECOND
  return {
    kind: "device",
    readingId: uuidV5(namespace, `${name} ${seconds} ${JSON.stringify(metrics)}`),
    sourceMessageId: uuidV5(namespace, `message ${seconds}`),
    sourceDeviceId: uuidV5(namespace, name),
    linkId: uuidV5(namespace, `link ${name}`),
    role: "primary",
    ts,
    receivedAt: ts + SECOND,
    metrics,
    ...rest
  } as DeviceAssetReading
}
const child = (seconds: number, name: string, metrics: ChildAssetReading["metrics"], health?: number): AssetReading =>
  ({
    kind: "child",
    readingId: uuidV5(namespace, `${name} ${seconds}`),
    childId: uuidV5(namespace, name),
    weight: 1,
    revision: 1,
    retracted: false,
    ts: START + seconds * SECOND,
    receivedAt: START + seconds * SECOND,
    metrics,
    ...(health !== undefined && { health })
  }) as ChildAssetReading

const told = (readings: ReadonlyArray<AssetReading>, of = fold) =>
  [...foldAll(of, readings.toSorted(compareInputs)).told].map(
    ([ts, output]) => [(Number(ts) - START) / SECOND, output] as const
  )
const metricsOf = (readings: ReadonlyArray<AssetReading>, of = fold) =>
  told(readings, of).map(([seconds, { metrics }]) => [seconds, metrics])

describe("an asset's fold", () => {
  it("tells of each instant what was measured and derived at it, and the health of what holds", () => {
    const readings = [
      device(0, { temperature: 40, voltage: 230 }),
      device(10, { current: 2 }, { name: "two" }),
      device(20, { temperature: 90 })
    ]
    assert.deepStrictEqual(metricsOf(readings), [
      [0, { temperature: 40, voltage: 230, health_score: 60 }],
      [10, { current: 2, power: 460, kilo: 0.46, health_score: 60 }],
      [20, { temperature: 90, health_score: 10 }]
    ])
  })

  it("takes what several devices measure at one instant together", () => {
    const [first, ...more] = told([device(0, { voltage: 10 }), device(0, { current: 3 }, { name: "two" })])
    assert.deepStrictEqual(more, [])
    assert.deepStrictEqual(first![1].metrics, { voltage: 10, current: 3, power: 30, kilo: 0.03 })
    assert.strictEqual(first![1].sourceDevices.length, 2)
  })

  it("records a bad value and keeps it out of everything else", () => {
    const outputs = told([
      device(0, { temperature: 40 }),
      device(1, { temperature: 500 }),
      device(2, { temperature: 7 }, { quality: { temperature: "bad" } })
    ])
    assert.deepStrictEqual(
      outputs.map(([, { metrics, quality }]) => [metrics, quality]),
      [
        [{ temperature: 40, health_score: 60 }, undefined],
        [{ temperature: 500, health_score: 60 }, { temperature: "bad" }],
        [{ temperature: 7, health_score: 60 }, { temperature: "bad" }]
      ]
    )
  })

  it("has no score without data", () => {
    const [[, output]] = told([device(0, { load: 1 })]) as [[number, AssetOutput]]
    assert.isUndefined(output.health)
    assert.deepStrictEqual(output.metrics, { load: 1 })
  })

  it("takes a backup's values only once the primary has been silent for the window", () => {
    const backup = { name: "two", role: "backup" } as const
    const readings = [
      device(0, { temperature: 10 }),
      device(1, { temperature: 90 }, backup),
      device(899, { temperature: 91 }, backup),
      device(900, { temperature: 92 }, backup),
      device(950, { temperature: 11 }),
      device(960, { temperature: 93 }, backup)
    ]
    assert.deepStrictEqual(
      told(readings).map(([at, { metrics }]) => [at, metrics["temperature"]]),
      [
        [0, 10],
        [900, 92],
        [950, 11]
      ]
    )
  })

  it("leaves out what claims to be of the future", () => {
    const ts = START + 100 * SECOND
    assert.deepStrictEqual(metricsOf([device(100, { load: 1 }, { receivedAt: ts - 60 * SECOND - 1 })]), [])
    assert.deepStrictEqual(metricsOf([device(100, { load: 1 }, { receivedAt: ts - 60 * SECOND })]), [
      [100, { load: 1 }]
    ])
  })

  it("applies the version that was in force when a reading was measured", () => {
    const second = decode({
      ...Schema.encodeSync(AssetTypeConfig)(config),
      transformationEngine: { derived: { power: "voltage" } }
    })
    const both = [
      compileAssetType(config, parseExpression, undefined, { number: 1, effectiveAt: START }),
      compileAssetType(second, parseExpression, undefined, { number: 2, effectiveAt: START + 10 * SECOND })
    ]
    const outputs = told(
      [device(9, { voltage: 2, current: 3 }), device(10, { voltage: 2 })],
      assetFold({ versions: both, evaluate: evaluateHere })
    )
    assert.deepStrictEqual(
      outputs.map(([, { assetTypeVersion, metrics }]) => [assetTypeVersion, metrics["power"]]),
      [
        [1, 6],
        [2, 2]
      ]
    )
  })

  it("rolls its children up, each as it was last", () => {
    const parent = assetFold({ versions: [compileAssetType(site, parseExpression)], evaluate: evaluateHere })
    const readings = [
      child(1, "a", { temperature: 20, power: 5, other: 1 }, 90),
      child(2, "b", { temperature: 30 }, 70),
      child(3, "a", { power: 7 }, 95)
    ]
    assert.deepStrictEqual(metricsOf(readings, parent), [
      [1, { temperature: 20, power: 5, health_score: 90 }],
      [2, { temperature: 30, power: 5, health_score: 70 }],
      [3, { temperature: 30, power: 7, health_score: 70 }]
    ])
  })

  it("tells the same without telling: the quiet fold comes to the same state", () => {
    const readings = [device(0, { temperature: 40, voltage: 2 }), device(1, { load: 3 }), device(70, { load: 5 })]
    const quiet = quietAssetFold({ versions })
    assert.deepStrictEqual(foldAll(quiet, readings).state, foldAll(fold, readings).state)
  })
})

const Event = Schema.Struct({
  at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 200 })),
  source: Schema.Literals(["one", "two", "three"]),
  value: Schema.Int.check(Schema.isBetween({ minimum: -60, maximum: 140 })),
  key: Schema.Literals(["temperature", "load", "voltage", "current"]),
  place: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 29 })),
  twice: Schema.Boolean,
  cut: Schema.Boolean,
  restart: Schema.Boolean
})

describe("an asset's outputs", () => {
  it.prop(
    "are the same in whatever order within the horizon, however often, in whatever batches and with restarts between",
    { events: Schema.Array(Event).check(Schema.isMaxLength(40)) },
    ({ events }) => {
      const readings = events.map(({ at, key, source, value }) =>
        device(at, { [key]: value }, { name: source, role: source === "two" ? "backup" : "primary" })
      )
      const expected = new Map(
        foldAll(fold, [...new Map(readings.map((one) => [one.readingId, one])).values()].toSorted(compareInputs)).told
      )
      // Each arrives up to 29 s after its turn: within the horizon of 30 s.
      const arrivals = events
        .flatMap((event, index) => {
          const one = { event, input: readings[index]!, turn: event.at + event.place }
          return event.twice ? [one, { ...one, turn: Math.min(one.turn + 1, event.at + 29) }] : [one]
        })
        .toSorted((left, right) => left.turn - right.turn)
      const quiet = quietAssetFold({ versions })
      const given = new Map<string, AssetOutput>()
      let state = emptyState(fold)
      let batch: Array<AssetReading> = []
      const flush = (restart: boolean) => {
        const options = { horizonMicros: 30 * SECOND, baseLimit: Number.MIN_SAFE_INTEGER }
        const advanced = advance(fold, state, batch, options)
        for (const [id, output] of advanced.changed) given.set(id, output)
        for (const id of advanced.retracted) given.delete(id)
        assert.deepStrictEqual(advanced.late, [])
        batch = []
        state = advanced.state
        if (restart) {
          state = advance(quiet, state, [], { ...options, baseLimit: Number.MAX_SAFE_INTEGER }).state as typeof state
          state = restarted(state)
          assert.deepStrictEqual(foldAll(quiet, state.recent, undefined, state.base).state, state.tip)
        }
      }
      for (const { event, input } of arrivals) {
        batch.push(input)
        if (event.cut) flush(event.restart)
      }
      flush(true)
      assert.deepStrictEqual(Object.fromEntries(given), Object.fromEntries(expected))
    }
  )
})

describe("a configuration's trial", () => {
  it("runs its test vectors, and says what differs", () => {
    assert.deepStrictEqual(runTestVectors(config), [])
    const [vector] = config.testVectors
    const wrong = { ...config, testVectors: [{ ...vector!, expected: { metrics: { load: 4 }, healthScore: null } }] }
    assert.deepStrictEqual(
      runTestVectors(wrong).map(({ path }) => path),
      ["testVectors[0].expected.metrics.load", "testVectors[0].expected.healthScore"]
    )
  })

  it("shows each step of a reading", () => {
    const steps = Result.getOrThrow(
      tryReadings(
        config,
        [
          { ts: START, metrics: { temp_1: 40, load: 2 } },
          { ts: START + 30 * SECOND, metrics: { temp_1: 400, load: 4 } }
        ],
        { linkMapping: { temperature: "temp_1", load: "load", voltage: "v" } }
      )
    )
    assert.deepStrictEqual(
      steps.map(({ health, mapped, refused, windowed }) => [mapped, refused, windowed, health?.score]),
      [
        [{ temperature: 40, load: 2 }, {}, { load: { fn: "avg", windowSeconds: 120, value: 2 } }, 60],
        [
          { temperature: 400, load: 4 },
          { temperature: "400 is above 120" },
          { load: { fn: "avg", windowSeconds: 120, value: 3 } },
          60
        ]
      ]
    )
  })
})
