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

  it.effect("expressions are tried, checked by test vectors and published, also those that need the sandbox", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const withExpression = (expression: string, expected: string) => ({
        ...config,
        transformationRules: [{ kind: "expression", metricKey: "label", expression }],
        testVectors: [{ name: "v", payload: { t: 2 }, expected: [{ temperature: 2, label: expected }] }]
      })
      const joined = "$join(['t', $string(temperature)], '=')"
      const made = yield* call("POST", "", { body: { name: "Labelled", config: withExpression(joined, "t=2") } })
      assert.strictEqual(made.status, 201, made.text)

      const path = `/${made.body.id}/test`
      const tried = yield* call("POST", path, { body: { payload: { t: 21.5 } } })
      assert.deepStrictEqual(tried.body.readings[0].metrics, { temperature: 21.5, label: "t=21.5" })
      const endless = withExpression("($f := function($x){ $f($x) }; $f(temperature))", "")
      const stopped = yield* call("POST", path, { body: { payload: { t: 1 }, config: endless } })
      assert.strictEqual(stopped.body.error.reason, "ExpressionTimeout", stopped.text)
      assert.strictEqual(stopped.body.error.path, "$.transformationRules[0].expression")

      const publish = (draft: object) =>
        Effect.andThen(
          call("PUT", `/${made.body.id}/draft`, { body: { config: draft } }),
          call("POST", `/${made.body.id}/publish`)
        )
      const wrong = yield* publish(withExpression(joined, "t=3"))
      assert.strictEqual(wrong.status, 422, wrong.text)
      assert.deepStrictEqual(pathsOf(wrong), ["config.testVectors[0]"])
      const refused = yield* publish(withExpression("temperature + $eval('1')", "t=2"))
      assert.deepStrictEqual(pathsOf(refused), ["config.transformationRules[0].expression"], refused.text)
      assert.include(refused.text, "At position 14")
      assert.strictEqual((yield* publish(withExpression("temperature & '!'", "2!"))).status, 200)
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

  it.effect("an earlier version is published again, under a new number and with the draft behind it", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: type } = yield* call("POST", "", { body: { name: "Rolled back", config } })
      const draft = (path: string) => ({
        body: { config: { processingMode: "endpoint", extractionRules: { temperature: { path, type: "numeric" } } } }
      })
      yield* call("PUT", `/${type.id}/draft`, draft("$.wrong"))
      yield* call("POST", `/${type.id}/publish`)
      yield* call("PUT", `/${type.id}/draft`, draft("$.next"))
      const before = Date.now()
      const back = yield* call("POST", `/${type.id}/rollback`, { body: { version: 1, note: "wrong path" } })
      assert.strictEqual(back.status, 200, back.text)
      assert.strictEqual(back.body.publishedVersion, 3)
      assert.deepStrictEqual(back.body.config, type.config)
      assert.strictEqual(back.body.draft.extractionRules.temperature.path, "$.next")
      const { body } = yield* call("GET", `/${type.id}/versions`)
      assert.deepStrictEqual(
        body.items.map(({ note, number, state }: never) => [number, state, note]),
        [
          [4, "draft", ""],
          [3, "published", "wrong path"],
          [2, "published", ""],
          [1, "published", ""]
        ]
      )
      assert.approximately(Date.parse(body.items[1].effectiveAt) - before, 2_000, 1_000)
      assert.strictEqual((yield* call("POST", `/${type.id}/rollback`, { body: { version: 3 } })).status, 409)
      assert.strictEqual((yield* call("POST", `/${type.id}/rollback`, { body: { version: 4 } })).status, 409)
      const next = yield* call("POST", `/${type.id}/publish`)
      assert.strictEqual(next.body.publishedVersion, 4)
      const times = (yield* call("GET", `/${type.id}/versions`)).body.items.map(({ effectiveAt }: never) => effectiveAt)
      assert.deepStrictEqual(times, [...new Set(times)].toSorted().toReversed(), "each in force after the one before")
    })
  )

  it.effect("every change is refused when it is based on another version than the present one", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: type } = yield* call("POST", "", { body: { name: "Guarded", config } })
      const stale = { headers: { "if-match": '"1"' } }
      const drafted = yield* call("PUT", `/${type.id}/draft`, { body: { config }, ...stale })
      assert.strictEqual(drafted.status, 200, drafted.text)
      assert.strictEqual(drafted.headers.get("etag"), '"2"')
      assert.strictEqual((yield* call("PUT", `/${type.id}/draft`, { body: { config }, ...stale })).status, 412)
      assert.strictEqual((yield* call("POST", `/${type.id}/publish`, stale)).status, 412)
      const published = yield* call("POST", `/${type.id}/publish`, { headers: { "if-match": '"2"' } })
      assert.strictEqual(published.status, 200, published.text)
      const back = { body: { version: 1 } }
      assert.strictEqual((yield* call("POST", `/${type.id}/rollback`, { ...back, ...stale })).status, 412)
      const rolled = yield* call("POST", `/${type.id}/rollback`, { ...back, headers: { "if-match": '"3"' } })
      assert.strictEqual(rolled.status, 200, rolled.text)
    })
  )

  it.effect(
    "a gateway is tried and published with the type of its children, which must be one of the organization",
    () =>
      Effect.gen(function* () {
        const { call } = yield* session
        const rssi = { extractionRules: { rssi: { path: "$.rssi", type: "numeric", required: true } } }
        const { body: beacon } = yield* call("POST", "", { body: { name: "Beacon", config: { ...config, ...rssi } } })
        const { body: unpublished } = yield* call("POST", "", { body: { name: "Unpublished" } })
        const hub = (childDeviceTypeId: string, more: object = {}) => ({
          processingMode: "gateway",
          demuxStrategy: {
            childDevicesPath: "$.devices",
            childDeviceIdPath: "$.id",
            autoCreateChildren: true,
            childDeviceTypeId
          },
          ...more
        })
        const payload = { devices: [{ id: "a", rssi: -60 }, { id: "b" }, { id: "c", rssi: -70 }] }
        const vectors = (expected: ReadonlyArray<object>) => ({
          testVectors: [{ name: "one", payload: { devices: [{ id: "a", rssi: -60 }] }, expected }]
        })
        const create = (name: string, hubConfig: object) => call("POST", "", { body: { name, config: hubConfig } })
        const missing = yield* create("Hub of none", hub("01890a5d-ac96-774b-bcce-b302099a8057"))
        assert.deepStrictEqual(pathsOf(missing), ["config.demuxStrategy.childDeviceTypeId"])
        const untried = yield* create("Hub of drafts", hub(unpublished.id, vectors([{ rssi: -60 }])))
        assert.deepStrictEqual(pathsOf(untried), ["config.demuxStrategy.childDeviceTypeId"])
        const closed = yield* create("Closed hub", hub(beacon.id, vectors([{ rssi: 60 }])))
        assert.deepStrictEqual(pathsOf(closed), ["config.testVectors[0]"])
        const { body: type } = yield* create("Hub", hub(beacon.id, vectors([{ rssi: -60 }])))
        assert.strictEqual(type.publishedVersion, 1)

        const { body } = yield* call("POST", `/${type.id}/test`, { body: { payload } })
        assert.deepStrictEqual(
          body.readings.map(({ identifier, metrics }: never) => [identifier, metrics]),
          [
            ["a", { rssi: -60 }],
            ["c", { rssi: -70 }]
          ]
        )
        assert.deepStrictEqual(body.documents, [payload])
        assert.deepStrictEqual(
          body.entries.map(({ extracted, index }: { extracted: object | null; index: number }) => [
            index,
            extracted !== null
          ]),
          [
            [0, true],
            [1, false],
            [2, true]
          ]
        )
        assert.lengthOf(body.deadLetters, 1)
        assert.deepInclude(body.deadLetters[0], { payload: 0, entry: 1, reason: "ExtractionFailed" })
        assert.strictEqual(body.error.reason, "ExtractionFailed")
      })
  )

  it.effect("every mode and adapter is tried, from payloads as JSON, text, hex and base64", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { body: beacon } = yield* call("POST", "", {
        body: { name: "Child", config: { processingMode: "endpoint" } }
      })
      const { body: type } = yield* call("POST", "", { body: { name: "Everything" } })
      const test = (of: object, payload: unknown, encoding?: string) =>
        Effect.map(
          call("POST", `/${type.id}/test`, {
            body: {
              config: { processingMode: "endpoint", ...of },
              payload,
              ...(encoding !== undefined && { encoding })
            }
          }),
          ({ body, status, text }) => {
            assert.strictEqual(status, 200, text)
            return body
          }
        )
      const metrics = (body: { readings: ReadonlyArray<{ metrics: object }> }) =>
        body.readings.map((reading) => reading.metrics)

      const fields = [{ name: "t", offset: 0, type: "int16", scale: 0.1 }]
      const binary = { protocolAdapter: { kind: "binary", fields } }
      assert.deepStrictEqual(metrics(yield* test(binary, "00 d7", "hex")), [{ t: 21.5 }])
      assert.deepStrictEqual(metrics(yield* test(binary, "ANc=", "base64")), [{ t: 21.5 }])
      const short = yield* test(binary, { hex: "00" })
      assert.deepInclude(short.error, { reason: "Undecodable", path: "t", offset: 1 })
      assert.deepStrictEqual(metrics(yield* test({ protocolAdapter: "csv" }, "a,b\n1,x")), [{ a: 1, b: "x" }])
      const broken = yield* test({}, '{"a":', "text")
      assert.deepInclude(broken.error, { reason: "Undecodable", offset: 5 })
      assert.deepStrictEqual(broken.documents, [])
      const wrong = yield* call("POST", `/${type.id}/test`, {
        body: { payload: 1, encoding: "hex", config: { processingMode: "endpoint" } }
      })
      assert.deepStrictEqual(pathsOf(wrong), ["payload"])

      const unit = { path: "$.t", type: "numeric", unit: "Cel" }
      const kelvin = [{ kind: "unit", metricKey: "t", to: "K" }]
      const converted = yield* test({ extractionRules: { t: unit }, transformationRules: kelvin }, { t: 0 })
      assert.deepStrictEqual(metrics(converted), [{ t: 273.15 }])
      assert.deepStrictEqual(converted.entries[0].extracted.metrics, { t: 0 })

      const ports = {
        ports: [
          { port: 1, voltage: 231 },
          { port: 2, voltage: 229 }
        ]
      }
      const rtu = yield* test({ processingMode: "rtu_multiport" }, ports)
      assert.deepStrictEqual(
        rtu.readings.map(({ port }: never) => port),
        ["1", "2"]
      )
      const chunked = {
        processingMode: "gateway_chunked",
        demuxStrategy: {
          childDevicesPath: "$.data.devices",
          childDeviceIdPath: "$.id",
          autoCreateChildren: true,
          childDeviceTypeId: beacon.id
        }
      }
      const chunk = (seq: number, id: string) => ({
        correlationId: "c",
        seq,
        total: 2,
        data: { devices: [{ id, rssi: seq }] }
      })
      const whole = yield* test(chunked, [chunk(2, "b"), chunk(1, "a")])
      assert.deepStrictEqual(
        whole.readings.map(({ identifier }: never) => identifier),
        ["a", "b"]
      )
      assert.lengthOf(whole.whole.data.devices, 2)
      const half = yield* test(chunked, [chunk(2, "b")])
      assert.strictEqual(half.error.reason, "ChunkTimeout")

      const sparkplug = {
        protocolAdapter: "sparkplug_b",
        extractionRules: { temp: { path: "$.metrics.temp", type: "numeric" } }
      }
      const [birth, data] = ["120f 0a0474656d70 1001 2009 650000a041 1800", "1207 1001 650000ac41 1801"]
      assert.deepStrictEqual(metrics(yield* test(sparkplug, [birth, data], "hex")), [{ temp: 20 }, { temp: 21.5 }])
      const unborn = yield* test(sparkplug, [data, birth], "hex")
      assert.deepStrictEqual(metrics(unborn), [{ temp: 20 }])
      assert.deepInclude(unborn.deadLetters[0], { payload: 0, reason: "Undecodable", path: "alias 1" })
    })
  )
})
