import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { addOrganization, Api, apiServer, type Call } from "./apiServer.ts"

const nobody = "01890a5d-ac96-774b-bcce-b302099a8057"

const meter = {
  sourceProtocol: "modbus",
  transformationRules: {
    source: { encoding: "hex", path: "$.data" },
    registers: [
      { name: "voltage", register: 0, type: "uint16", scale: 0.5 },
      { name: "power", register: 1, type: "int32", wordSwapped: true }
    ]
  }
}
const payload = { data: "01cd 0010 0000".replaceAll(" ", "") }

layer(apiServer, { excludeTestServices: true })("protocol converters", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const call = (method: string, path: string, options: Call = {}) =>
      api.call(method, `/api/v1/${path}`, { token, ...options })
    const create = (name: string, content: object = meter) =>
      call("POST", "protocol-converters", { body: { name, ...content } })
    return { api, call, create }
  })
  const pathsOf = (answer: { body: { errors: ReadonlyArray<{ path: string }> } }) =>
    answer.body.errors.map(({ path }) => path)

  it.effect("are added, shown, changed where nobody else changed them, listed and removed", () =>
    Effect.gen(function* () {
      const { call, create } = yield* session
      const made = yield* create("SDM630")
      assert.strictEqual(made.status, 201, made.text)
      assert.deepInclude(made.body, { name: "SDM630", isActive: true, targetSchema: null, version: 1 })
      assert.strictEqual(made.body.transformationRules.firstRegister, 0, "defaults are written down")
      const path = `protocol-converters/${made.body.id}`
      const shown = yield* call("GET", path)
      assert.deepStrictEqual(shown.body, made.body)
      assert.strictEqual(shown.headers.get("etag"), '"1"')
      assert.strictEqual((yield* create("SDM630")).status, 409)

      const paused = yield* call("PATCH", path, { body: { isActive: false }, headers: { "if-match": '"1"' } })
      assert.strictEqual(paused.status, 200, paused.text)
      assert.deepStrictEqual(paused.body.transformationRules, made.body.transformationRules)
      const stale = { headers: { "if-match": '"1"' } }
      assert.strictEqual((yield* call("PUT", path, { body: { name: "x" }, ...stale })).status, 412)
      const { body } = yield* call("GET", "protocol-converters?isActive=false&q=sdm")
      assert.deepStrictEqual(
        body.items.map(({ id }: { id: string }) => id),
        [made.body.id]
      )
      assert.strictEqual((yield* call("DELETE", path, stale)).status, 412)
      assert.strictEqual((yield* call("DELETE", path)).status, 204)
      assert.strictEqual((yield* call("GET", path)).status, 404)
    })
  )

  it.effect("that would not work are refused with the paths, expressions among them", () =>
    Effect.gen(function* () {
      const { call, create } = yield* session
      const registers = [{ name: "a", register: 0, type: "uint16", expression: "$value * 2" }]
      const scripted = yield* create("Scripted", { ...meter, transformationRules: { registers } })
      assert.strictEqual(scripted.status, 422, scripted.text)
      assert.deepStrictEqual(pathsOf(scripted), ["transformationRules.registers[0].expression"])
      assert.include(scripted.text, "Expressions are not supported")

      const { body } = yield* create("Right")
      const path = `protocol-converters/${body.id}`
      const wrong = yield* call("PATCH", path, { body: { transformationRules: { registers: [{ register: 1 }] } } })
      assert.strictEqual(wrong.status, 422, wrong.text)
      assert.sameMembers(pathsOf(wrong), [
        "transformationRules.registers[0].name",
        "transformationRules.registers[0].type"
      ])
      const other = yield* call("PATCH", path, { body: { sourceProtocol: "bacnet" } })
      assert.deepStrictEqual(pathsOf(other), ["transformationRules.objects"])
      const unreadable = yield* call("POST", "protocol-converters", { body: { name: "x", sourceProtocol: "modbus" } })
      assert.strictEqual(unreadable.status, 400)
      assert.deepStrictEqual(pathsOf(unreadable), ["transformationRules"])
    })
  )

  it.effect("are tried, stored or sent along, and say what a payload is not", () =>
    Effect.gen(function* () {
      const { call, create } = yield* session
      const { body } = yield* create("Tried")
      const test = (trial: object) => call("POST", `protocol-converters/${body.id}/test`, { body: trial })
      const tried = yield* test({ payload })
      assert.strictEqual(tried.status, 200, tried.text)
      assert.deepStrictEqual(tried.body, {
        document: { ...payload, decoded: { voltage: 230.5, power: 16 } },
        error: null
      })
      const asText = yield* test({ payload: JSON.stringify(payload), encoding: "text" })
      assert.deepStrictEqual(asText.body, tried.body)
      const short = yield* test({ payload: { data: "08" } })
      assert.isNull(short.body.document)
      assert.deepInclude(short.body.error, { reason: "Undecodable", path: "voltage", offset: 1 })
      const raw = { sourceProtocol: "raw", transformationRules: { adapter: { kind: "csv", columns: ["a"] } } }
      const other = yield* test({ payload: "0x", encoding: "hex", content: raw })
      assert.deepStrictEqual(pathsOf(other), ["payload"])
      assert.deepStrictEqual((yield* test({ payload: "Nw==", encoding: "base64", content: raw })).body.document, {
        a: 7
      })
    })
  )

  it.effect("are copied into a version when it is published, whatever becomes of them later", () =>
    Effect.gen(function* () {
      const { call, create } = yield* session
      const { body: converter } = yield* create("Copied")
      const converterPath = `protocol-converters/${converter.id}`
      const rule = { path: "$.decoded.voltage", type: "numeric", required: true }
      const config = (converterId: string) => ({
        processingMode: "endpoint",
        protocolAdapter: { converterId },
        extractionRules: { voltage: rule },
        testVectors: [{ name: "230.5 V", payload, expected: [{ voltage: 230.5 }] }]
      })
      const {
        body: type,
        status,
        text
      } = yield* call("POST", "device-types", {
        body: { name: "Meter", config: config(converter.id) }
      })
      assert.strictEqual(status, 201, text)
      assert.deepInclude(type.config.protocolAdapter, { converterId: converter.id })
      assert.strictEqual(type.config.protocolAdapter.copy.version, 1)
      const path = `device-types/${type.id}`

      const half = { ...meter.transformationRules, registers: [{ name: "voltage", register: 0, type: "uint16" }] }
      yield* call("PATCH", converterPath, { body: { transformationRules: half } })
      const forged = { converterId: converter.id, copy: type.config.protocolAdapter.copy }
      const draft = yield* call("PUT", `${path}/draft`, {
        body: { config: { ...config(converter.id), protocolAdapter: forged } }
      })
      assert.deepStrictEqual(draft.body.draft.protocolAdapter, { converterId: converter.id })
      const unsaved = yield* call("POST", `${path}/test`, { body: { payload } })
      assert.deepStrictEqual(unsaved.body.readings[0].metrics, { voltage: 461 })
      const gate = yield* call("POST", `${path}/publish`)
      assert.strictEqual(gate.status, 422, "the vector no longer holds")
      assert.deepStrictEqual(pathsOf(gate), ["config.testVectors[0]"])

      yield* call("PATCH", converterPath, { body: { isActive: false } })
      assert.deepStrictEqual(pathsOf(yield* call("POST", `${path}/publish`)), ["config.protocolAdapter.converterId"])
      yield* call("DELETE", converterPath)
      assert.deepStrictEqual(pathsOf(yield* call("POST", `${path}/publish`)), ["config.protocolAdapter.converterId"])
      const { body: still } = yield* call("GET", path)
      assert.deepStrictEqual(still.config, type.config)

      const plain = { processingMode: "endpoint" }
      yield* call("PUT", `${path}/draft`, { body: { config: plain } })
      assert.strictEqual((yield* call("POST", `${path}/publish`)).status, 200)
      const back = yield* call("POST", `${path}/rollback`, { body: { version: 1 } })
      assert.strictEqual(back.status, 200, back.text)
      assert.deepStrictEqual(back.body.config, type.config)
    })
  )

  it.effect("of another organization answer exactly as missing ones", () =>
    Effect.gen(function* () {
      const { api, call, create } = yield* session
      const { body } = yield* create("Ours")
      const { email } = yield* addOrganization("converters")
      const token = yield* api.login(email)
      const answers = (id: string) =>
        Effect.forEach(
          [
            ["GET", ""],
            ["PATCH", "", { name: "taken over" }],
            ["PUT", "", { name: "taken over" }],
            ["DELETE", ""],
            ["POST", "/test", { payload: {} }]
          ] as const,
          ([method, path, sent]) =>
            Effect.map(
              api.call(method, `/api/v1/protocol-converters/${id}${path}`, { token, body: sent }),
              (answer) => [answer.status, answer.body.detail]
            )
        )
      const theirs = yield* answers(body.id)
      assert.deepStrictEqual(theirs, yield* answers(nobody))
      for (const [status] of theirs) assert.strictEqual(status, 404)
      const used = yield* api.call("POST", "/api/v1/device-types", {
        token,
        body: { name: "x", config: { processingMode: "endpoint", protocolAdapter: { converterId: body.id } } }
      })
      assert.deepStrictEqual(pathsOf(used), ["config.protocolAdapter.converterId"])
      assert.deepStrictEqual((yield* api.call("GET", "/api/v1/protocol-converters", { token })).body.items, [])
      assert.strictEqual((yield* call("GET", `protocol-converters/${body.id}`)).body.name, "Ours")
    })
  )
})
