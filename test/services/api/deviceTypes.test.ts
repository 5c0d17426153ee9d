import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Api, apiServer, type Call } from "./apiServer.ts"

const config = {
  processingMode: "endpoint",
  extractionRules: { temperature: { path: "$.t", type: "numeric", unit: "Cel", required: true } }
}

const pathsOf = (answer: { body: { errors: ReadonlyArray<{ path: string }> } }) =>
  answer.body.errors.map(({ path }) => path)

layer(apiServer, { excludeTestServices: true })("device types", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const call = (method: string, path: string, options: Call = {}) =>
      api.call(method, `/api/v1/device-types${path}`, { token, ...options })
    return { call }
  })

  it.effect("with a configuration, version 1 is published and in force at once", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const made = yield* call("POST", "", { body: { name: "Thermometer", config } })
      assert.strictEqual(made.status, 201, made.text)
      assert.strictEqual(made.body.publishedVersion, 1)
      assert.strictEqual(made.body.processingMode, "endpoint")
      const { body } = yield* call("GET", `/${made.body.id}/versions`)
      assert.deepStrictEqual(
        body.items.map(({ number, state }: never) => [number, state]),
        [[1, "published"]]
      )
      assert.isAtMost(Date.parse(body.items[0].effectiveAt), Date.now())
      assert.strictEqual(body.items[0].config.offlineAfterSeconds, 300, "defaults are written down")
      assert.strictEqual((yield* call("POST", "", { body: { name: "Thermometer" } })).status, 409)
    })
  )

  it.effect("a draft changes nothing until it is published, and is in force two seconds later", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: type } = yield* call("POST", "", { body: { name: "Drafted", config } })
      const changed = { ...config, extractionRules: { humidity: { path: "$.h", type: "numeric" } } }
      const drafted = yield* call("PUT", `/${type.id}/draft`, { body: { config: changed, note: "humidity" } })
      assert.strictEqual(drafted.status, 200, drafted.text)
      assert.deepStrictEqual(Object.keys(drafted.body.config.extractionRules), ["temperature"])
      assert.deepStrictEqual(Object.keys(drafted.body.draft.extractionRules), ["humidity"])
      yield* call("PUT", `/${type.id}/draft`, { body: { config: changed } })
      const before = Date.now()
      const published = yield* call("POST", `/${type.id}/publish`)
      assert.strictEqual(published.status, 200, published.text)
      assert.strictEqual(published.body.publishedVersion, 2)
      assert.isNull(published.body.draft)
      const { body } = yield* call("GET", `/${type.id}/versions`)
      assert.strictEqual(body.items.length, 2)
      const [newest] = body.items
      assert.strictEqual(newest.note, "humidity")
      assert.approximately(Date.parse(newest.effectiveAt) - before, 2_000, 1_000)
      assert.strictEqual((yield* call("POST", `/${type.id}/publish`)).status, 409)
    })
  )

  it.effect("what cannot be compiled, or fails its own test vectors, is refused with the paths", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: type } = yield* call("POST", "", { body: { name: "Refused", config } })
      const publish = (draft: object) =>
        Effect.andThen(
          call("PUT", `/${type.id}/draft`, { body: { config: draft } }),
          call("POST", `/${type.id}/publish`)
        )

      const badPath = yield* publish({ ...config, extractionRules: { t: { path: "$.[", type: "numeric" } } })
      assert.strictEqual(badPath.status, 422, badPath.text)
      assert.isTrue(
        pathsOf(badPath).some((path) => path.startsWith("config.extractionRules")),
        badPath.text
      )

      const vectors = [
        { name: "right", payload: { t: 21.5 }, expected: [{ temperature: 21.5 }] },
        { name: "wrong", payload: { t: 21.5 }, expected: [{ temperature: 22 }] },
        { name: "poison", payload: {}, expected: [] }
      ]
      const failing = yield* publish({ ...config, testVectors: vectors })
      assert.strictEqual(failing.status, 422)
      assert.deepStrictEqual(pathsOf(failing), ["config.testVectors[1]", "config.testVectors[2]"])
      assert.strictEqual((yield* call("GET", `/${type.id}`)).body.publishedVersion, 1)
      assert.strictEqual((yield* publish({ ...config, testVectors: vectors.slice(0, 1) })).status, 200)

      const unreadable = yield* call("PUT", `/${type.id}/draft`, { body: { config: { processingMode: "sideways" } } })
      assert.strictEqual(unreadable.status, 400)
      assert.deepStrictEqual(pathsOf(unreadable), ["config.processingMode"])
    })
  )

  it.effect("a payload is tried on the draft, on a configuration sent along, and failures are told", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: type } = yield* call("POST", "", { body: { name: "Tried", config } })
      const tried = yield* call("POST", `/${type.id}/test`, {
        body: { payload: { t: 21.5, ts: "2026-01-31T08:00:00Z" } }
      })
      assert.strictEqual(tried.status, 200, tried.text)
      assert.deepStrictEqual(
        tried.body.readings.map(({ metrics }: never) => metrics),
        [{ temperature: 21.5 }]
      )
      assert.strictEqual(tried.body.readings[0].timestamp, "2026-01-31T08:00:00.000Z")
      assert.isNull(tried.body.error)
      const poison = yield* call("POST", `/${type.id}/test`, { body: { payload: {} } })
      assert.strictEqual(poison.status, 200, poison.text)
      assert.strictEqual(poison.body.error.reason, "ExtractionFailed")
      const other = { processingMode: "endpoint" }
      const withOther = yield* call("POST", `/${type.id}/test`, { body: { payload: { x: 1 }, config: other } })
      assert.deepStrictEqual(withOther.body.readings[0].metrics, { x: 1 })
    })
  )

  it.effect("name and description change with a version of their own", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: type } = yield* call("POST", "", { body: { name: "Renamed" } })
      assert.isNull(type.publishedVersion)
      const renamed = yield* call("PATCH", `/${type.id}`, {
        body: { name: "Renamed once" },
        headers: { "if-match": '"1"' }
      })
      assert.strictEqual(renamed.status, 200, renamed.text)
      const stale = yield* call("PATCH", `/${type.id}`, { body: { name: "x" }, headers: { "if-match": '"1"' } })
      assert.strictEqual(stale.status, 412)
      const { body } = yield* call("GET", "?q=renamed")
      assert.deepStrictEqual(
        body.items.map(({ name }: never) => name),
        ["Renamed once"]
      )
    })
  )
})
