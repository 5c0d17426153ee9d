import { Ingest } from "@argusiq/bridge/Ingest.ts"
import { routes } from "@argusiq/bridge/routes.ts"
import * as MemoryRateLimit from "@argusiq/layers/rate-limit/MemoryRateLimit.ts"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import {
  a1,
  a2,
  absentDevice,
  b1,
  closedBridge,
  connectionsOf,
  deadLetters,
  Faults,
  holding,
  longTopic,
  marker,
  quiet,
  raw,
  shortTopic,
  text
} from "./support.ts"

const SECRET = "a-shared-secret-of-ours"

const served = (settings: Readonly<Record<string, string>>) =>
  HttpRouter.serve(routes, { disableLogger: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.provide(MemoryRateLimit.layer()),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(settings))),
    Layer.provide(quiet),
    Layer.provideMerge(closedBridge(settings))
  )

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>> & {
    readonly errors?: ReadonlyArray<{ path: string; message: string }>
  }
}

const post = Effect.fnUntraced(function* (
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = { "x-webhook-secret": SECRET }
) {
  const { address } = yield* HttpServer.HttpServer
  assert(address._tag !== "UnixPathAddress")
  return yield* Effect.promise(async (): Promise<Answer> => {
    const response = await fetch(`http://127.0.0.1:${address.port}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" || Buffer.isBuffer(body) ? (body as string) : JSON.stringify(body)
    })
    return { status: response.status, headers: response.headers, body: JSON.parse((await response.text()) || "{}") }
  })
})

const base64 = (payload: string) => Buffer.from(payload).toString("base64")
const message = (topic: string, payload: string) => ({
  topic,
  payload: base64(payload),
  clientid: "the client",
  username: a1.id,
  timestamp: 1_760_000_000_000
})

const refused = (answer: Answer, status: number) => {
  assert.strictEqual(answer.status, status, JSON.stringify(answer.body))
  assert.match(answer.headers.get("content-type")!, /^application\/problem\+json/)
  assert.strictEqual(answer.body["status"], status)
}
const paths = (answer: Answer) => answer.body.errors?.map(({ path }) => path)

layer(served({ WEBHOOK_SECRET: SECRET }), { excludeTestServices: true, timeout: 60_000 })("POST /ingest", (it) => {
  it.effect("answers 202 with the id under which a message is on disk", () =>
    Effect.gen(function* () {
      const mark = marker("one")
      const answer = yield* post("/ingest", { ...message(shortTopic(a1), mark), qos: 1, node: "emqx@1" })
      assert.strictEqual(answer.status, 202)
      assert.deepStrictEqual(Object.keys(answer.body), ["status", "messageId"])
      const messageId = answer.body["messageId"] as string
      const [record] = holding(yield* raw, mark)
      const { "received-at": _, ...headers } = record!.headers
      assert.deepStrictEqual(headers, {
        "message-id": messageId,
        source: "webhook",
        "content-type": "application/json",
        "tenant-id": a1.org,
        "device-id": a1.id,
        "mqtt-topic": shortTopic(a1),
        "client-id": "the client"
      })
    })
  )

  it.effect("takes up to 1,000 at once, in their order, with what brokers leave empty", () =>
    Effect.gen(function* () {
      const mark = marker("many")
      const many = Array.from({ length: 1_000 }, (_, number) => ({
        topic: number % 2 === 0 ? longTopic(a1, a1.externalId) : longTopic(a1),
        payload: base64(`${mark}${number}`),
        clientid: null,
        username: null,
        timestamp: null
      }))
      const answer = yield* post("/ingest", gzipSync(JSON.stringify(many)), {
        "x-webhook-secret": SECRET,
        "content-encoding": "gzip"
      })
      assert.strictEqual(answer.status, 202, JSON.stringify(answer.body))
      const ids = answer.body["messageIds"] as ReadonlyArray<string>
      const byId = new Map(holding(yield* raw, mark).map((record) => [record.headers["message-id"], text(record)]))
      assert.deepStrictEqual(
        ids.map((id) => byId.get(id)),
        many.map((_, number) => `${mark}${number}`)
      )
      refused(yield* post("/ingest", [...many, many[0]]), 400)
    })
  )

  it.effect("answers 202 for what it dead-letters: sending it again would not help", () =>
    Effect.gen(function* () {
      const mark = marker("refused")
      const cases = [
        ["elsewhere", "InvalidTopic"],
        [`devices/${absentDevice}/telemetry`, "UnknownDevice"],
        [longTopic(b1, a1.id), "TenantMismatch"]
      ] as const
      const answer = yield* post(
        "/ingest",
        cases.map(([topic]) => message(topic, mark))
      )
      assert.strictEqual(answer.status, 202)
      const letters = holding(yield* deadLetters, mark)
      assert.deepStrictEqual(
        (answer.body["messageIds"] as ReadonlyArray<string>).map(
          (id) => letters.find(({ headers }) => headers["message-id"] === id)?.headers["dlq-reason"]
        ),
        cases.map(([, reason]) => reason)
      )
    })
  )

  it.effect("answers 401 without the secret, with another, and with a part of it", () =>
    Effect.gen(function* () {
      const mark = marker("secret")
      const wrong = [
        {},
        { "x-webhook-secret": "" },
        { "x-webhook-secret": "x".repeat(23) },
        { authorization: `Bearer ${SECRET}` }
      ]
      for (const headers of [...wrong, { "x-webhook-secret": SECRET.slice(0, -1) }]) {
        refused(yield* post("/ingest", message(shortTopic(a1), mark), headers), 401)
        refused(yield* post("/mqtt/events", { event: "client.connected", clientid: "c" }, headers), 401)
      }
      assert.strictEqual(holding(yield* raw, mark).length, 0)
    })
  )

  it.effect("answers 400 with the place of each fault, and stores nothing of such a request", () =>
    Effect.gen(function* () {
      const mark = marker("faulty")
      const good = message(shortTopic(a1), mark)
      for (const [body, expected] of [
        ["{", [""]],
        ["[]", [""]],
        ["7", [""]],
        [{ payload: "" }, ["topic"]],
        [{ ...good, topic: "" }, ["topic"]],
        [{ ...good, payload: "not base64!" }, ["payload"]],
        [{ ...good, payload: "YWJ" }, ["payload"]],
        [{ ...good, timestamp: "yesterday" }, ["timestamp"]],
        [{ ...good, clientid: 7 }, ["clientid"]],
        [
          [good, { ...good, payload: 1, topic: 2 }],
          ["[1].topic", "[1].payload"]
        ]
      ] as const) {
        const answer = yield* post("/ingest", body)
        refused(answer, 400)
        assert.deepStrictEqual(paths(answer), [...expected], JSON.stringify(body))
      }
      assert.strictEqual(holding(yield* raw, mark).length, 0)
    })
  )

  it.effect("takes the largest payload, and answers 413 beyond 16 MiB", () =>
    Effect.gen(function* () {
      const mark = marker("largest")
      const largest = mark.padEnd(8 * 1_048_576, " ")
      assert.strictEqual((yield* post("/ingest", message(shortTopic(a1), largest))).status, 202)
      assert.strictEqual(holding(yield* raw, mark).length, 1)
      refused(yield* post("/ingest", { ...message(shortTopic(a1), ""), payload: "A".repeat(16 * 1_048_576) }), 413)
    })
  )

  it.effect("answers 503 with Retry-After while the log is away, at once, and keeps nothing", () =>
    Effect.gen(function* () {
      const mark = marker("busy")
      const faults = yield* Faults
      const { budget } = yield* Ingest
      faults.bus = "unavailable"
      for (let attempt = 0; attempt < 3; attempt++) {
        const answer = yield* post("/ingest", [message(shortTopic(a1), mark), message(shortTopic(a2), mark)])
        refused(answer, 503)
        assert.strictEqual(answer.headers.get("retry-after"), "1")
      }
      faults.bus = "none"
      yield* Effect.sleep(200)
      assert.strictEqual(holding(yield* raw, mark).length, 0)
      assert.strictEqual(budget.inFlight, 0)
    })
  )
})

layer(served({ WEBHOOK_SECRET: SECRET }), { excludeTestServices: true, timeout: 60_000 })("POST /mqtt/events", (it) => {
  it.effect("records connects and disconnects of devices, and counts those of others", () =>
    Effect.gen(function* () {
      const answer = yield* post("/mqtt/events", [
        { event: "client.connected", clientid: "c1", username: a1.id.toUpperCase(), timestamp: 1_760_000_000_123 },
        {
          event: "client.disconnected",
          clientid: "c1",
          username: a1.id,
          timestamp: 1_760_000_000_456,
          reason: "normal"
        },
        { event: "client.connected", clientid: a2.id, username: "bridge" },
        { event: "client.connected", clientid: "c", username: null },
        { event: "client.connected", clientid: "c", username: absentDevice }
      ])
      assert.strictEqual(answer.status, 200)
      assert.deepStrictEqual({ ...answer.body }, { known: 2, unknown: 3 })
      const device = { deviceId: a1.id, tenantId: a1.org, clientId: "c1", connectionId: "c1" }
      assert.deepStrictEqual<unknown>(yield* connectionsOf(a1), [
        { ...device, connected: true, at: 1_760_000_000_123_000 },
        { ...device, connected: false, at: 1_760_000_000_456_000, reason: "normal" }
      ])
    })
  )

  it.effect("records no disconnect of a connection that another of the same client id took over", () =>
    Effect.gen(function* () {
      const event = { clientid: "c2", username: a2.id, timestamp: 1_760_000_000_123 }
      const answer = yield* post("/mqtt/events", [
        { event: "client.connected", ...event },
        { event: "client.connected", ...event },
        { event: "client.disconnected", ...event, reason: "takenover" },
        { event: "client.disconnected", ...event, reason: "discarded" }
      ])
      assert.deepStrictEqual({ ...answer.body }, { known: 4, unknown: 0 })
      assert.deepStrictEqual(
        (yield* connectionsOf(a2)).map(({ connected }) => connected),
        [true, true]
      )
    })
  )

  it.effect("answers 503 with Retry-After while the log is away: the broker tells it again", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      const event = { event: "client.connected", clientid: "c3", username: b1.id }
      faults.bus = "unavailable"
      const answer = yield* post("/mqtt/events", event)
      faults.bus = "none"
      refused(answer, 503)
      assert.strictEqual(answer.headers.get("retry-after"), "1")
      assert.deepStrictEqual(yield* connectionsOf(b1), [])
    })
  )

  it.effect("answers 400 to events that it does not know", () =>
    Effect.gen(function* () {
      const answer = yield* post("/mqtt/events", { event: "session.created", clientid: "c" })
      refused(answer, 400)
      assert.deepStrictEqual(paths(answer), ["event"])
    })
  )

  it.effect("answers 503 with Retry-After while the database is away", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      faults.database = "away"
      const answer = yield* post("/mqtt/events", { event: "client.connected", clientid: "c", username: a2.id })
      faults.database = "none"
      refused(answer, 503)
      assert.strictEqual(answer.headers.get("retry-after"), "5")
    })
  )
})

layer(served({ WEBHOOK_SECRET: SECRET, INGEST_MAX_BYTES_IN_FLIGHT: "1000" }), {
  excludeTestServices: true,
  timeout: 60_000
})("webhooks of a bridge that may hold 1 kB", (it) => {
  it.effect("are answered 503 while it is spent", () =>
    Effect.gen(function* () {
      const { budget } = yield* Ingest
      budget.take(1_000)
      refused(yield* post("/ingest", message(shortTopic(a1), "x")), 503)
      refused(yield* post("/mqtt/events", { event: "client.connected", clientid: "c" }), 503)
      budget.release(1_000)
      assert.strictEqual((yield* post("/ingest", message(shortTopic(a1), "x"))).status, 202)
    })
  )
})

class Directory extends Context.Service<Directory, string>()("argusiq/test/bridge/Directory") {}
const directory = Layer.effect(
  Directory,
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "argusiq-webhook-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
)

layer(
  Layer.unwrap(Effect.map(Directory, (path) => served({ ARGUSIQ_DATA_DIR: path }))).pipe(Layer.provideMerge(directory)),
  {
    excludeTestServices: true,
    timeout: 60_000
  }
)("an installation without a webhook secret", (it) => {
  it.effect("makes itself one that only its user can read", () =>
    Effect.gen(function* () {
      const file = join(yield* Directory, "webhook-secret")
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      const secret = readFileSync(file, "utf8").trim()
      assert.isAtLeast(secret.length, 40)
      const body = message(shortTopic(a1), "x")
      assert.strictEqual((yield* post("/ingest", body, { "x-webhook-secret": secret })).status, 202)
      refused(yield* post("/ingest", body), 401)
    })
  )
})
