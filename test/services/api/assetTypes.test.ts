import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Api, apiServer, type Call } from "./apiServer.ts"

const metric = (key: string) => ({ key, displayName: key, dataType: "numeric" })
const config = {
  metricDefinitions: [metric("temperature")],
  transformationEngine: { mappings: { temperature: "$.temp_1" } },
  thresholdRules: [{ metricKey: "temperature", direction: "above", warning: 8, critical: 12 }]
}

const pathsOf = (answer: { body: { errors: ReadonlyArray<{ path: string }> } }) =>
  answer.body.errors.map(({ path }) => path)

layer(apiServer, { excludeTestServices: true })("asset types", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const call = (method: string, path: string, options: Call = {}) =>
      api.call(method, `/api/v1${path}`, { token, ...options })
    return { call }
  })
  const keysOf = (definitions: ReadonlyArray<{ readonly key: string }>) => definitions.map(({ key }) => key)

  it.effect("with a configuration, version 1 is published and its thresholds are rules of the type", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const made = yield* call("POST", "/asset-types", { body: { name: "Cold room", color: "#00aaff", config } })
      assert.strictEqual(made.status, 201, made.text)
      assert.strictEqual(made.body.publishedVersion, 1)
      assert.isFalse(made.body.hasDraft)
      const shown = yield* call("GET", `/asset-types/${made.body.id}/telemetry-config`)
      assert.deepStrictEqual(shown.body.resolved, shown.body.config)
      assert.isNull(shown.body.draft)
      const { body: rules } = yield* call("GET", `/rules?assetTypeId=${made.body.id}`)
      assert.strictEqual(rules.items.length, 1)
      assert.deepInclude(rules.items[0], {
        assetTypeId: made.body.id,
        ownerAssetTypeId: made.body.id,
        metricKey: "temperature",
        warningThreshold: 8,
        criticalThreshold: 12
      })
      assert.approximately(Date.parse(rules.items[0].effectiveAt) - Date.now(), 2_000, 1_000)
      const refused = yield* call("PATCH", `/rules/${rules.items[0].id}`, {
        body: { warningThreshold: 7, criticalThreshold: 9 }
      })
      assert.strictEqual(refused.status, 409, refused.text)
    })
  )

  it.effect(
    "a draft changes nothing until it is published; what a version drops ends, what it changes is superseded",
    () =>
      Effect.gen(function* () {
        const { call } = yield* session
        const { body: type } = yield* call("POST", "/asset-types", { body: { name: "Drafted", config } })
        const path = `/asset-types/${type.id}/telemetry-config`
        const drafted = yield* call("PATCH", path, {
          body: {
            thresholdRules: [{ metricKey: "temperature", direction: "above", warning: 6, critical: 12 }],
            eventRules: [
              { key: "frozen", if: "temperature < -30", eventType: "FROZEN", severity: "high", message: "Too cold" }
            ],
            note: "stricter"
          }
        })
        assert.strictEqual(drafted.status, 200, drafted.text)
        assert.strictEqual(drafted.body.config.thresholdRules[0].warning, 8)
        assert.strictEqual(drafted.body.draft.thresholdRules[0].warning, 6)
        assert.deepStrictEqual(keysOf(drafted.body.draft.metricDefinitions), ["temperature"], "what is not named stays")
        const rulesOf = Effect.map(call("GET", `/rules?assetTypeId=${type.id}`), ({ body }) => body.items)
        const [before] = yield* rulesOf
        assert.strictEqual(before.ruleVersion, 1)
        const published = yield* call("POST", `/asset-types/${type.id}/publish`)
        assert.strictEqual(published.status, 200, published.text)
        assert.strictEqual(published.body.publishedVersion, 2)
        assert.isNull(published.body.draft)
        assert.isAbove(Date.parse(published.body.effectiveAt), Date.now())
        const after = yield* rulesOf
        assert.deepStrictEqual(
          after.map(({ condition, ruleVersion }: never) => [condition, ruleVersion]),
          [
            [{ operator: "expression", expression: "temperature < -30", durationSeconds: 0 }, 1],
            [{ operator: "above", warning: 6, critical: 12, durationSeconds: 0 }, 2]
          ]
        )
        assert.strictEqual(after[1].id, before.id)
        assert.strictEqual(after[1].effectiveAt, published.body.effectiveAt)
        assert.strictEqual((yield* call("POST", `/asset-types/${type.id}/publish`)).status, 409)

        const back = yield* call("POST", `/asset-types/${type.id}/rollback`, { body: { version: 1 } })
        assert.strictEqual(back.status, 200, back.text)
        assert.strictEqual(back.body.publishedVersion, 3)
        const [only, ...others] = yield* rulesOf
        assert.deepStrictEqual(others, [])
        assert.deepInclude(only, { id: before.id, ruleVersion: 3, warningThreshold: 8 })
        const { body: versions } = yield* call("GET", `/asset-types/${type.id}/versions`)
        assert.deepStrictEqual(
          versions.items.map(({ note, number }: never) => [number, note]),
          [
            [3, "Back to version 1"],
            [2, "stricter"],
            [1, ""]
          ]
        )
      })
  )

  it.effect("a child type inherits what it does not set, also when its parent changes later", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: parent } = yield* call("POST", "/asset-types", { body: { name: "Room", config } })
      const made = yield* call("POST", "/asset-types", {
        body: {
          name: "Freezer",
          parentTypeId: parent.id,
          config: {
            metricDefinitions: [metric("door")],
            transformationEngine: { mappings: { door: "door_open", temperature: "$.inner" } }
          }
        }
      })
      assert.strictEqual(made.status, 201, made.text)
      const child = Effect.map(call("GET", `/asset-types/${made.body.id}/telemetry-config`), ({ body }) => body)
      const first = yield* child
      assert.deepStrictEqual(keysOf(first.config.metricDefinitions), ["door"])
      assert.deepStrictEqual(keysOf(first.resolved.metricDefinitions), ["temperature", "door"])
      assert.deepStrictEqual(first.resolved.transformationEngine.mappings, {
        temperature: "$.inner",
        door: "door_open"
      })

      yield* call("PATCH", `/asset-types/${parent.id}/telemetry-config`, {
        body: { metricDefinitions: [metric("temperature"), metric("humidity")] }
      })
      yield* call("PATCH", `/asset-types/${made.body.id}/telemetry-config`, { body: { note: "a draft that stays" } })
      yield* call("POST", `/asset-types/${parent.id}/publish`)
      const second = yield* child
      assert.strictEqual(second.publishedVersion, 2)
      assert.deepStrictEqual(keysOf(second.resolved.metricDefinitions), ["temperature", "humidity", "door"])
      assert.deepStrictEqual(keysOf(second.config.metricDefinitions), ["door"])
      assert.isNotNull(second.draft)
      const { body: rules } = yield* call("GET", `/rules?assetTypeId=${made.body.id}`)
      assert.strictEqual(rules.items.length, 1, "the inherited threshold is a rule of the child's own")
    })
  )

  it.effect("a tree of types is at most three levels deep and has no cycle", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const add = (name: string, parentTypeId?: string) =>
        call("POST", "/asset-types", { body: { name, parentTypeId } })
      const { body: one } = yield* add("One")
      const { body: two } = yield* add("Two", one.id)
      const { body: three } = yield* add("Three", two.id)
      const four = yield* add("Four", three.id)
      assert.strictEqual(four.status, 422, four.text)
      assert.deepStrictEqual(pathsOf(four), ["parentTypeId"])
      const cycle = yield* call("PATCH", `/asset-types/${one.id}`, { body: { parentTypeId: three.id } })
      assert.strictEqual(cycle.status, 422, cycle.text)
      const { body: other } = yield* add("Other")
      const deep = yield* call("PATCH", `/asset-types/${one.id}`, { body: { parentTypeId: other.id } })
      assert.strictEqual(deep.status, 422, deep.text)
      assert.strictEqual((yield* call("DELETE", `/asset-types/${one.id}`)).status, 409)
      assert.strictEqual((yield* call("DELETE", `/asset-types/${three.id}`)).status, 204)
    })
  )

  it.effect("what would not work is refused when it is saved, each fault with its path", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: type } = yield* call("POST", "/asset-types", { body: { name: "Refused", config } })
      const draft = (body: object) => call("PATCH", `/asset-types/${type.id}/telemetry-config`, { body })
      const refused: ReadonlyArray<readonly [body: object, path: string]> = [
        [{ transformationEngine: { mappings: { pressure: "$.p" } } }, "transformationEngine.mappings.pressure"],
        [{ transformationEngine: { mappings: { temperature: "$.[" } } }, "transformationEngine.mappings.temperature"],
        [{ transformationEngine: { derived: { a: "b + 1", b: "a + 1" } } }, "transformationEngine.derived"],
        [{ transformationEngine: { derived: { a: "temperature *" } } }, "transformationEngine.derived.a"],
        [{ aggregationRules: { humidity: { windowSeconds: 60, fn: "avg" } } }, "aggregationRules.humidity"],
        [{ aggregationRules: { temperature: { windowSeconds: 90, fn: "avg" } } }, "aggregationRules.temperature"],
        [
          { eventRules: [{ key: "x", if: "$nothing(", eventType: "X", severity: "low", message: "" }] },
          "eventRules[0].if"
        ],
        [
          { thresholdRules: [{ metricKey: "humidity", direction: "above", warning: 1, critical: 2 }] },
          "thresholdRules[0]"
        ],
        [
          { healthAlgorithm: { algorithm: "threshold_based", metrics: [{ metricKey: "nope", min: 1 }] } },
          "healthAlgorithm"
        ]
      ]
      for (const [body, path] of refused) {
        const answer = yield* draft(body)
        assert.strictEqual(answer.status, 422, `${path}: ${answer.text}`)
        assert.isTrue(
          pathsOf(answer).some((at) => at.startsWith(path)),
          answer.text
        )
      }
      const shown = yield* call("GET", `/asset-types/${type.id}/telemetry-config`)
      assert.isNull(shown.body.draft)
      const vector = { name: "v", readings: [{ atSeconds: 0, metrics: { temperature: 5 } }] }
      yield* draft({ testVectors: [{ ...vector, expected: { metrics: { temperature: 6 } } }] })
      const closed = yield* call("POST", `/asset-types/${type.id}/publish`)
      assert.strictEqual(closed.status, 422, closed.text)
      assert.match(pathsOf(closed)[0] ?? "", /^testVectors\[0\]/)
      yield* draft({ testVectors: [{ ...vector, expected: { metrics: { temperature: 5 } } }] })
      assert.strictEqual((yield* call("POST", `/asset-types/${type.id}/publish`)).status, 200)
    })
  )

  it.effect("a change based on an outdated version is refused", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: type } = yield* call("POST", "/asset-types", { body: { name: "Versioned" } })
      const headers = { "if-match": `"${type.version}"` }
      const first = yield* call("PATCH", `/asset-types/${type.id}`, { body: { icon: "a" }, headers })
      assert.strictEqual(first.status, 200, first.text)
      const second = yield* call("PATCH", `/asset-types/${type.id}`, { body: { icon: "b" }, headers })
      assert.strictEqual(second.status, 412, second.text)
      const widgets = { widgets: [{ metric: "temperature" }] }
      assert.strictEqual(
        (yield* call("PUT", `/asset-types/${type.id}/dashboard`, { body: widgets, headers })).status,
        412
      )
      assert.strictEqual((yield* call("PUT", `/asset-types/${type.id}/dashboard`, { body: widgets })).status, 200)
      assert.deepStrictEqual((yield* call("GET", `/asset-types/${type.id}/dashboard`)).body, widgets)
      const draft = yield* call("PATCH", `/asset-types/${type.id}/telemetry-config`, { body: { note: "x" }, headers })
      assert.strictEqual(draft.status, 412, draft.text)
    })
  )
})
