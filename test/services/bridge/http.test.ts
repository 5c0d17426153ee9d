import { routes } from "@argusiq/bridge/routes.ts"
import { Ingest } from "@argusiq/bridge/Ingest.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as MemoryRateLimit from "@argusiq/layers/rate-limit/MemoryRateLimit.ts"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Fiber, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer, request } from "node:http"
import { gzipSync } from "node:zlib"
import * as Support from "./support.ts"
import { a1, a2, Faults, holding, marker, raw, text, until } from "./support.ts"

const served = (settings: Readonly<Record<string, string>> = {}) =>
  HttpRouter.serve(routes, { disableLogger: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.provide(MemoryRateLimit.layer()),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ WEBHOOK_SECRET: "w".repeat(16), ...settings }))),
    Layer.provideMerge(Support.bridge(settings))
  )

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: Record<string, unknown> & { readonly errors: ReadonlyArray<{ path: string; message: string }> }
}

const send = (
  body: unknown,
  options: { key?: string | undefined; path?: string; headers?: Record<string, string>; chunked?: boolean } = {}
) =>
  Effect.gen(function* () {
    const { address } = yield* HttpServer.HttpServer
    assert(address._tag !== "UnixPathAddress")
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === "string" ? body : JSON.stringify(body))
    return yield* Effect.callback<Answer>((resume) => {
      const sent = request(
        {
          host: "127.0.0.1",
          port: address.port,
          method: "POST",
          path: options.path ?? "/api/v1/telemetry",
          headers: {
            "content-type": "application/json",
            ...("key" in options && options.key === undefined
              ? {}
              : { authorization: `Bearer ${options.key ?? a1.key}` }),
            ...(options.chunked === true ? {} : { "content-length": bytes.length }),
            ...options.headers
          }
        },
        (response) => {
          const chunks: Array<Buffer> = []
          response.on("data", (chunk: Buffer) => chunks.push(chunk))
          response.on("end", () =>
            resume(
              Effect.succeed({
                status: response.statusCode ?? 0,
                headers: response.headers,
                body: JSON.parse(Buffer.concat(chunks).toString() || "{}")
              } as Answer)
            )
          )
        }
      )
      sent.on("error", () => {}) // a refusal may come before the whole body is sent
      sent.end(bytes)
    })
  })

const refused = (answer: Answer, status: number) => {
  assert.strictEqual(answer.status, status, JSON.stringify(answer.body))
  assert.match(String(answer.headers["content-type"]), /^application\/problem\+json/)
  assert.strictEqual(answer.body["status"], status)
}

layer(served({ TELEMETRY_RATE_LIMIT_PER_MINUTE: "0" }), { excludeTestServices: true, timeout: 60_000 })(
  "HTTP ingest",
  (it) => {
    it.effect("stores the body as sent and answers with the id it is stored under", () =>
      Effect.gen(function* () {
        const body = `{ "deviceId": "${a1.id}",  "metrics": {"a": 1.50, "b": "${marker("body")}", "c": true}, "timestamp": "2026-01-01T00:00:00Z", "metadata": {"x": 1} }`
        const answer = yield* send(body)
        assert.strictEqual(answer.status, 202)
        assert.deepStrictEqual(Object.keys(answer.body), ["status", "messageId"])
        const [record] = (yield* raw).filter((one) => one.headers["message-id"] === answer.body["messageId"])
        assert.strictEqual(text(record!), body)
        const { "received-at": _, "message-id": __, ...rest } = record!.headers
        assert.deepStrictEqual(rest, {
          source: "http",
          "content-type": "application/json",
          "tenant-id": a1.org,
          "device-id": a1.id
        })
      })
    )

    it.effect("takes X-API-Key, an external id, no device id, and the device's own JSON", () =>
      Effect.gen(function* () {
        const mark = marker("forms")
        const byHeader = { path: "/api/v1/telemetry/ingest", key: undefined, headers: { "x-api-key": a1.key } }
        assert.strictEqual((yield* send({ deviceId: a1.externalId, metrics: { mark } }, byHeader)).status, 202)
        assert.strictEqual((yield* send({ metrics: { mark } })).status, 202)
        assert.strictEqual((yield* send({ deviceId: a1.id.toUpperCase(), payload: { devices: [mark] } })).status, 202)
        assert.deepStrictEqual(holding(yield* raw, mark).map(text), [
          JSON.stringify({ deviceId: a1.externalId, metrics: { mark } }),
          JSON.stringify({ metrics: { mark } }),
          JSON.stringify({ devices: [mark] })
        ])
      })
    )

    it.effect("takes a body of another content type as the message, untouched and with its type", () =>
      Effect.gen(function* () {
        const mark = marker("untouched")
        const bytes = Buffer.concat([Buffer.from([0, 255, 123]), Buffer.from(mark)])
        const answer = yield* send(bytes, { headers: { "content-type": "application/octet-stream" } })
        assert.strictEqual(answer.status, 202, JSON.stringify(answer.body))
        const [record] = (yield* raw).filter((one) => one.headers["message-id"] === answer.body["messageId"])
        assert.deepStrictEqual([...record!.value], [...bytes])
        assert.strictEqual(record!.headers["content-type"], "application/octet-stream")
        const zipped = yield* send(gzipSync(bytes), {
          headers: { "content-type": "application/cbor", "content-encoding": "gzip" }
        })
        const [inflated] = (yield* raw).filter((one) => one.headers["message-id"] === zipped.body["messageId"])
        assert.deepStrictEqual([...inflated!.value], [...bytes])
        refused(yield* send("", { headers: { "content-type": "text/csv" } }), 400)
        refused(yield* send("a,b", { headers: { "content-type": "Application/JSON; charset=utf-8" } }), 400)
      })
    )

    it.effect("takes an array of 1,000 in its order, each with its id", () =>
      Effect.gen(function* () {
        const mark = marker("array")
        const answer = yield* send(Array.from({ length: 1_000 }, (_, n) => ({ deviceId: a1.id, metrics: { n, mark } })))
        assert.strictEqual(answer.status, 202)
        const found = holding(yield* raw, mark)
        assert.deepStrictEqual(
          found.map((one) => one.headers["message-id"]),
          answer.body["messageIds"]
        )
        assert.deepStrictEqual(
          found.map((one) => JSON.parse(text(one)).metrics.n),
          Array.from({ length: 1_000 }, (_, n) => n)
        )
      })
    )

    it.effect("stores nothing of an array of which one message is wrong, and names it", () =>
      Effect.gen(function* () {
        const mark = marker("all-or-nothing")
        const wrong = yield* send([{ metrics: { mark } }, { metrics: { mark, temp: null } }, { metrics: { mark } }])
        refused(wrong, 400)
        assert.deepStrictEqual(
          wrong.body.errors.map(({ path }) => path),
          ["[1].metrics.temp"]
        )
        const foreign = yield* send([{ metrics: { mark } }, { deviceId: a2.id, metrics: { mark } }])
        refused(foreign, 403)
        assert.deepStrictEqual(
          foreign.body.errors.map(({ path }) => path),
          ["[1].deviceId"]
        )
        assert.deepStrictEqual(holding(yield* raw, mark), [])
      })
    )

    const unreadable: ReadonlyArray<readonly [string, unknown, string]> = [
      ["no JSON", "{", ""],
      ["no UTF-8", Buffer.from([0x22, 0xff, 0x22]), ""],
      ["an empty body", "", ""],
      ["a number", "1", ""],
      ["an empty array", "[]", ""],
      ["an array of 1,001", Array.from({ length: 1_001 }, () => ({ metrics: {} })), ""],
      ["nesting without end", "[".repeat(100_000), ""],
      ["neither metrics nor payload", { deviceId: a1.id }, "metrics"],
      ["both", { metrics: {}, payload: {} }, "payload"],
      ["metrics that are a list", { metrics: [1] }, "metrics"],
      ["a nested metric", { metrics: { a: { b: 1 } } }, "metrics.a"],
      ["a device id that is a number", { deviceId: 1, metrics: {} }, "deviceId"],
      ["a timestamp that is an object", { metrics: {}, timestamp: {} }, "timestamp"],
      ["metadata that is a text", { metrics: {}, metadata: "x" }, "metadata"]
    ]
    for (const [what, body, path] of unreadable) {
      it.effect(`answers 400 with the path on ${what}`, () =>
        Effect.gen(function* () {
          const answer = yield* send(body)
          refused(answer, 400)
          assert.strictEqual(answer.body.errors[0]!.path, path)
          assert.isNotEmpty(answer.body.errors[0]!.message)
        })
      )
    }

    it.effect("answers 401 to a wrong key and to none, 403 to another device, 422 to a decommissioned one", () =>
      Effect.gen(function* () {
        refused(yield* send({ metrics: {} }, { key: "wrong" }), 401)
        refused(yield* send({ metrics: {} }, { key: undefined }), 401)
        refused(yield* send({ deviceId: a2.id, metrics: {} }), 403)
        refused(yield* send({ deviceId: "EXT-none", metrics: {} }), 403)
        refused(yield* send({ metrics: {} }, { key: Support.decommissioned.key }), 422)
      })
    )

    it.effect("answers 413 to more than 8 MiB, announced or not, and takes 8 MiB", () =>
      Effect.gen(function* () {
        const { budget } = yield* Ingest
        const fits = Buffer.alloc(8 * 1_048_576, " ")
        fits.write('{"payload":1}')
        assert.strictEqual((yield* send(fits)).status, 202)
        refused(yield* send(Buffer.alloc(8 * 1_048_576 + 1, " ")), 413)
        refused(yield* send(Buffer.alloc(9 * 1_048_576, " "), { chunked: true }), 413)
        yield* until("the budget is given back", () => budget.inFlight === 0)
      })
    )

    it.effect("inflates gzip, refuses a bomb before it is inflated, and other encodings", () =>
      Effect.gen(function* () {
        const mark = marker("gzip")
        const gzip = { headers: { "content-encoding": "gzip" } }
        assert.strictEqual((yield* send(gzipSync(JSON.stringify({ metrics: { mark } })), gzip)).status, 202)
        assert.deepStrictEqual(holding(yield* raw, mark).map(text), [JSON.stringify({ metrics: { mark } })])
        const deflating = performance.now()
        const bomb = gzipSync(Buffer.alloc(512 * 1_048_576), { level: 1 })
        const deflated = performance.now() - deflating
        assert.isBelow(bomb.length, 8 * 1_048_576)
        const before = process.memoryUsage().arrayBuffers
        const started = performance.now()
        refused(yield* send(bomb, gzip), 413)
        assert.isBelow(performance.now() - started, Math.max(1_000, deflated))
        assert.isBelow(process.memoryUsage().arrayBuffers - before, 40 * 1_048_576)
        refused(yield* send(Buffer.from("no gzip"), gzip), 400)
        const brotli = yield* send("x", { headers: { "content-encoding": "br" } })
        refused(brotli, 400)
        assert.strictEqual(brotli.body.errors[0]!.path, "header.content-encoding")
      })
    )

    it.effect("answers 503 with Retry-After while the log is away, and 202 as soon as it is back", () =>
      Effect.gen(function* () {
        const faults = yield* Faults
        const mark = marker("log-away")
        faults.bus = "unavailable"
        const away = yield* send({ metrics: { mark } })
        faults.bus = "none"
        refused(away, 503)
        assert.isAtLeast(Number(away.headers["retry-after"]), 1)
        assert.strictEqual((yield* send({ metrics: { mark } })).status, 202)
        assert.strictEqual(holding(yield* raw, mark).length, 1)
      })
    )

    it.effect("answers 202 only after the log has the message", () =>
      Effect.gen(function* () {
        const faults = yield* Faults
        faults.bus = "hangs"
        let answered = false
        const sending = yield* Effect.forkChild(
          Effect.tap(send({ metrics: {} }), () => Effect.sync(() => (answered = true)))
        )
        yield* Effect.sleep(200)
        assert.isFalse(answered)
        faults.bus = "none"
        yield* until("the answer", () => answered)
        assert.strictEqual((yield* Fiber.join(sending)).status, 202)
      })
    )

    it.effect("goes on with a device in memory while the database is away and answers 503 for others", () =>
      Effect.gen(function* () {
        const faults = yield* Faults
        assert.strictEqual((yield* send({ metrics: {} })).status, 202)
        faults.database = "away"
        const known = yield* send({ metrics: {} })
        const other = yield* send({ metrics: {} }, { key: Support.devicesA[9]!.key })
        faults.database = "none"
        assert.strictEqual(known.status, 202)
        refused(other, 503)
        assert.isAtLeast(Number(other.headers["retry-after"]), 1)
      })
    )
  }
)

layer(served({ TELEMETRY_RATE_LIMIT_PER_MINUTE: "5" }), { excludeTestServices: true, timeout: 60_000 })(
  "the rate limit of HTTP ingest",
  (it) => {
    it.effect("answers 429 with Retry-After to a device's sixth request in a minute, and hurts no other device", () =>
      Effect.gen(function* () {
        for (let request = 0; request < 5; request++) assert.strictEqual((yield* send({ metrics: {} })).status, 202)
        const answer = yield* send({ metrics: {} })
        refused(answer, 429)
        assert.isAtMost(Number(answer.headers["retry-after"]), 12)
        assert.isAtLeast(Number(answer.headers["retry-after"]), 1)
        assert.strictEqual((yield* send({ metrics: {} }, { key: a2.key })).status, 202)
      })
    )

    it.effect("goes by the device type's own limit where it sets one", () =>
      Effect.gen(function* () {
        const key = Support.limited.key
        for (let request = 0; request < 2; request++)
          assert.strictEqual((yield* send({ metrics: {} }, { key })).status, 202)
        refused(yield* send({ metrics: {} }, { key }), 429)
      })
    )

    it.effect("does not accept a key that was revoked", () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const revoked = Support.devicesA[10]!
        assert.strictEqual((yield* send({ metrics: {} }, { key: revoked.key })).status, 202)
        yield* sql`update device_api_keys set revoked_at = now() where device_id = ${revoked.id}`
        yield* Effect.sleep(1_500)
        refused(yield* send({ metrics: {} }, { key: revoked.key }), 401)
      })
    )
  }
)

layer(served({ TELEMETRY_RATE_LIMIT_PER_MINUTE: "0", INGEST_MAX_BYTES_IN_FLIGHT: "100000" }), {
  excludeTestServices: true,
  timeout: 60_000
})("a spent budget of bytes", (it) => {
  it.effect("is answered with 503 and Retry-After before the body is read", () =>
    Effect.gen(function* () {
      const { budget } = yield* Ingest
      budget.take(100_000)
      const answer = yield* send({ metrics: {} })
      refused(answer, 503)
      assert.isAtLeast(Number(answer.headers["retry-after"]), 1)
      budget.release(100_000)
      assert.strictEqual((yield* send({ metrics: {} })).status, 202)
    })
  )
})
