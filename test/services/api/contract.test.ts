import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Api, apiServer } from "./apiServer.ts"

interface Operation {
  readonly operationId: string
  readonly parameters?: ReadonlyArray<{ readonly in: string; readonly name: string; readonly schema: unknown }>
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly content?: Record<string, { readonly schema?: unknown }> }>
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
            if (status !== "204") assert.isNotEmpty(Object.keys(content ?? {}), `${name} ${status}`)
            if (Number(status) >= 400 && !name.endsWith("/ready")) {
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
