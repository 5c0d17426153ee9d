import { assert, layer } from "@effect/vitest"
import { Ajv2020 } from "ajv/dist/2020.js"
import { Effect } from "effect"
import { type Answer, Api, apiServer } from "./apiServer.ts"

interface Media {
  readonly schema?: object
  readonly example?: unknown
}
interface Operation {
  readonly operationId: string
  readonly summary?: string
  readonly tags?: ReadonlyArray<string>
  readonly security?: ReadonlyArray<Readonly<Record<string, unknown>>>
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> }
  readonly parameters?: ReadonlyArray<{ readonly in: string; readonly name: string; readonly schema: unknown }>
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly content?: Readonly<Record<string, Media>> }>
  >
}

/** Every `$ref` in a document. */
const referencesIn = (value: unknown): ReadonlyArray<string> => {
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "$ref" && typeof inner === "string" ? [inner] : referencesIn(inner)
  )
}

layer(apiServer, { excludeTestServices: true })("the published contract", (it) => {
  it.effect(
    "is OpenAPI 3.1: every operation has an id of its own, a described answer and its refusals as problems",
    () =>
      Effect.gen(function* () {
        const { body: document } = yield* (yield* Api).call("GET", "/openapi.json")
        assert.match(document.openapi, /^3\.1\.\d+$/)
        assert.isString(document.info.title)
        assert.isString(document.info.version)
        const operations = Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(
          ([path, item]) => Object.entries(item).map(([method, operation]) => [`${method} ${path}`, operation] as const)
        )
        assert.isAbove(operations.length, 25)
        const ids = operations.map(([, { operationId }]) => operationId)
        assert.strictEqual(new Set(ids).size, ids.length)
        for (const [name, operation] of operations) {
          const { parameters = [], responses } = operation
          const successes = Object.entries(responses).filter(([status]) => status.startsWith("2"))
          assert.isAbove(successes.length, 0, name)
          for (const [status, { content, description }] of Object.entries(responses)) {
            assert.isNotEmpty(description, `${name} ${status}`)
            if (status === "204") assert.isUndefined(content, name)
            else for (const { schema } of Object.values(content ?? {})) assert.isDefined(schema, `${name} ${status}`)
            const isAnswered = !["204", "408", "431"].includes(status) // those two come before a request is read
            if (isAnswered) assert.isNotEmpty(Object.keys(content ?? {}), `${name} ${status}`)
            if (isAnswered && Number(status) >= 400 && !name.endsWith("/ready")) {
              assert.deepStrictEqual(Object.keys(content ?? {}), ["application/problem+json"], `${name} ${status}`)
            }
          }
          const placeholders = [...name.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter)
          const inPath = parameters.filter((parameter) => parameter.in === "path")
          assert.sameMembers(
            inPath.map((parameter) => parameter.name),
            placeholders,
            name
          )
          for (const parameter of parameters) assert.isDefined(parameter.schema, `${name} ${parameter.name}`)
        }
        for (const reference of referencesIn(document)) {
          const target = reference
            .replace(/^#\//, "")
            .split("/")
            .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], document)
          assert.isDefined(target, reference)
        }
        assert.isDefined(document.paths["/api/v1/telemetry"]?.post, "ingest is part of it")
      })
  )

  let read: Answer["body"]
  const operations = Effect.gen(function* () {
    read ??= (yield* (yield* Api).call("GET", "/openapi.json")).body
    const document = read
    const paths = document.paths as Record<string, Record<string, Operation>>
    return {
      document,
      all: Object.entries(paths).flatMap(([path, item]) =>
        Object.entries(item).map(([method, operation]) => ({ name: `${method} ${path}`, method, path, operation }))
      )
    }
  })

  it.effect("every operation has a summary, one tag that is listed, and its security, or says that it needs none", () =>
    Effect.gen(function* () {
      const { all, document } = yield* operations
      const tags = new Set(document.tags.map(({ name }: { name: string }) => name))
      const schemes = Object.keys(document.components.securitySchemes)
      const open: Array<string> = []
      for (const { name, operation } of all) {
        assert.isNotEmpty(operation.summary, name)
        assert.lengthOf(operation.tags ?? [], 1, name)
        assert.isTrue(tags.has(operation.tags?.[0]), name)
        assert.isDefined(operation.security, name)
        for (const scheme of operation.security ?? []) assert.includeMembers(schemes, Object.keys(scheme), name)
        if (operation.security?.length === 0) open.push(name)
      }
      assert.sameMembers(
        open.filter((name) => !name.includes("/auth/")),
        [
          "get /health",
          "get /ready",
          "get /metrics",
          // What brokers and devices need before they can say who they are; a download has a token of its own.
          "get /crl.pem",
          "get /api/v1/crl.pem",
          "get /api/v1/crl.der",
          "get /api/v1/ca.pem",
          "get /api/v1/devices/{id}/certificate/download"
        ]
      )
    })
  )

  it.effect("every refusal that can happen is documented, and those of bodies only where there is one", () =>
    Effect.gen(function* () {
      for (const { method, name, operation, path } of (yield* operations).all) {
        const statuses = Object.keys(operation.responses)
        if (!path.startsWith("/api/v1/")) continue
        const isIngest = operation.tags?.[0] === "Ingest"
        assert.includeMembers(statuses, ["400", "503"], name)
        if ((operation.security ?? []).length > 0) assert.includeMembers(statuses, ["401", "403"], name)
        if (path.includes("{id}")) assert.include(statuses, "404", name)
        if (operation.requestBody === undefined) assert.notIncludeMembers(statuses, ["413", "415"], name)
        else assert.includeMembers(statuses, isIngest ? ["413"] : ["413", "415"], name)
        const takesVersion = operation.parameters?.some((one) => one.in === "header" && one.name === "if-match")
        assert.strictEqual(statuses.includes("412"), takesVersion === true, name)
        if (["/api/v1/auth/login", "/api/v1/telemetry"].includes(path)) assert.include(statuses, "429", name)
        if (method === "delete" || method === "patch") assert.isAbove(statuses.length, 5, name)
      }
    })
  )

  it.effect("whatever is changed or removed by its id and has a version takes If-Match", () =>
    Effect.gen(function* () {
      const { all } = yield* operations
      const shown = new Map(
        all.filter(({ method }) => method === "get").map(({ operation, path }) => [path, operation])
      )
      let versioned = 0
      for (const { method, name, operation, path } of all) {
        if (!["put", "patch", "delete"].includes(method)) continue
        const example = shown.get(path)?.responses["200"]?.content?.["application/json"]?.example
        if (typeof example !== "object" || example === null || !("version" in example)) continue
        versioned++
        assert.isTrue(
          operation.parameters?.some(({ name }) => name === "if-match"),
          name
        )
      }
      assert.isAbove(versioned, 30)
    })
  )

  it.effect("every JSON body has an example, and every example is right by its schema", () =>
    Effect.gen(function* () {
      const { all, document } = yield* operations
      const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true })
      ajv.addSchema({ $id: "contract", components: document.components })
      let examined = 0
      for (const { name, operation } of all) {
        yield* Effect.sleep(0) // the server shares this process: it must be able to close idle connections
        const bodies = [
          ...Object.entries(operation.requestBody?.content ?? {}),
          ...Object.values(operation.responses).flatMap(({ content = {} }) => Object.entries(content))
        ]
        for (const [type, { example, schema }] of bodies) {
          if (!type.endsWith("json")) continue
          assert.isDefined(example, `${name} ${type}`)
          const inDocument = JSON.stringify(schema).replaceAll('"#/components', '"contract#/components')
          const isRight = ajv.validate(JSON.parse(inDocument), example)
          assert.isTrue(isRight, `${name} ${type}: ${JSON.stringify(example)} ${ajv.errorsText()}`)
          examined++
        }
      }
      assert.isAbove(examined, 300)
    })
  )

  it.effect("a list is asked for by limit, from 1 to 500, and cursor, and answers with items and nextCursor", () =>
    Effect.gen(function* () {
      const { all } = yield* operations
      let lists = 0
      for (const { name, operation } of all) {
        const example = operation.responses["200"]?.content?.["application/json"]?.example
        if (typeof example !== "object" || example === null || !("nextCursor" in example) || !("items" in example))
          continue
        lists++
        const parameters = new Map(operation.parameters?.map((one) => [one.name, one.schema]))
        assert.deepStrictEqual(parameters.get("limit"), { type: "integer", minimum: 1, maximum: 500 }, name)
        assert.isTrue(parameters.has("cursor"), name)
      }
      assert.isAbove(lists, 25)
    })
  )

  it.effect("is shown as a page that loads nothing from elsewhere", () =>
    Effect.gen(function* () {
      const { headers, status, text } = yield* (yield* Api).call("GET", "/docs")
      assert.strictEqual(status, 200)
      assert.match(headers.get("content-type") ?? "", /^text\/html/)
      assert.notMatch(text, /<script[^>]+src=/)
    })
  )

  it.effect("a method that an address does not know is answered with 405 and those that it knows", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const asked = yield* Effect.forEach(
        [
          ["DELETE", "/api/v1/devices?limit=1"],
          ["POST", `/api/v1/devices/${api.firstDevice.deviceId}`],
          ["GET", "/api/v1/telemetry"],
          ["POST", "/api/v1/devices//api-keys"],
          ["POST", "/api/v1/nothing"]
        ] as const,
        ([method, path]) => api.call(method, path)
      )
      assert.deepStrictEqual(
        asked.map(({ headers, status }) => [status, headers.get("allow")]),
        [
          [405, "GET, HEAD, POST"],
          [405, "DELETE, GET, HEAD, PATCH, PUT"],
          [405, "POST"],
          [404, null],
          [404, null]
        ]
      )
      assert.deepInclude(asked[0]!.body, { type: "urn:argusiq:problem:method-not-allowed", status: 405 })
      assert.isString(asked[0]!.body.requestId)
    })
  )

  it.effect("addresses and methods that do not exist are problems with an id, and so are other content types", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const unknown = yield* api.call("GET", "/api/v1/nothing", { headers: { "x-request-id": "trace-7" } })
      assert.strictEqual(unknown.status, 404)
      assert.deepStrictEqual(unknown.body, {
        type: "urn:argusiq:problem:not-found",
        status: 404,
        title: "Not found",
        requestId: "trace-7"
      })
      const token = yield* api.login()
      const form = yield* api.call("POST", "/api/v1/devices", {
        token,
        rawBody: "name=x",
        headers: { "content-type": "application/x-www-form-urlencoded" }
      })
      assert.strictEqual(form.status, 415, form.text)
      assert.match(form.headers.get("content-type") ?? "", /^application\/problem\+json/)
      assert.isString(form.body.requestId)
    })
  )

  it.effect("the process is alive, ready with each dependency named, and measured for this machine only", () =>
    Effect.gen(function* () {
      const api = yield* Api
      assert.deepStrictEqual((yield* api.call("GET", "/health")).body, { status: "ok" })
      const ready = yield* api.call("GET", "/ready")
      assert.strictEqual(ready.status, 200, ready.text)
      assert.deepStrictEqual(
        ready.body.dependencies.map(({ name, state }: Record<string, string>) => `${name} ${state}`),
        ["database up", "bus up", "consumers up"]
      )
      const metrics = yield* api.call("GET", "/metrics")
      assert.strictEqual(metrics.status, 200)
      assert.match(metrics.headers.get("content-type") ?? "", /^text\/plain/)
      const behindProxy = { "x-forwarded-for": "203.0.113.7" }
      assert.strictEqual((yield* api.call("GET", "/metrics", { headers: behindProxy })).status, 403)
      const token = yield* api.login()
      assert.strictEqual((yield* api.call("GET", "/metrics", { headers: behindProxy, token })).status, 200)
    })
  )
})
