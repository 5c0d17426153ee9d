import { problemBoundary } from "@argusiq/api/problemBoundary.ts"
import { securityLog } from "@argusiq/api/securityLog.ts"
import { routes } from "@argusiq/bridge/routes.ts"
import { formatTraceparent } from "@argusiq/domain/traceparent.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as MemoryRateLimit from "@argusiq/layers/rate-limit/MemoryRateLimit.ts"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { randomBytes } from "node:crypto"
import { createServer } from "node:http"
import * as Support from "./support.ts"
import { a1, client, holding, marker, orgA, publish, raw, shortTopic } from "./support.ts"

const settings = ConfigProvider.layer(ConfigProvider.fromUnknown({ WEBHOOK_SECRET: "w".repeat(16) }))

/** As a process serves it that runs the bridge and not the API. */
const served = HttpRouter.serve(Layer.mergeAll(routes, problemBoundary, securityLog), {
  disableLogger: true,
  disableListenLog: true
}).pipe(
  Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
  Layer.provide(MemoryRateLimit.layer()),
  Layer.provide(settings),
  Layer.provideMerge(Support.bridge())
)

const send = Effect.fnUntraced(function* (body: unknown, headers: Readonly<Record<string, string>>) {
  const { address } = yield* HttpServer.HttpServer
  assert(address._tag !== "UnixPathAddress")
  const { port } = address
  return yield* Effect.promise(() =>
    fetch(`http://127.0.0.1:${port}/api/v1/telemetry`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body)
    })
  )
})

const traceparent = () =>
  formatTraceparent({ traceId: randomBytes(16).toString("hex"), spanId: randomBytes(8).toString("hex"), sampled: true })

const refusals = Effect.gen(function* () {
  yield* Effect.sleep("1 second")
  const sql = yield* OwnerSql
  return yield* sql`select tenant_id, actor_kind, entity_id, address, request_id, count from audit_log
    where action = 'device_sign_in_refused' order by occurred_at`
})

layer(served, { excludeTestServices: true })("the bridge", (it) => {
  it.effect("hands on the traceparent of an HTTP header and of an MQTT 5 user property, and not what is none", () =>
    Effect.gen(function* () {
      const [byHttp, byMqtt] = [traceparent(), traceparent()]
      const [one, two, three] = [marker("http"), marker("mqtt"), marker("none")]
      yield* send({ metrics: { m: one } }, { authorization: `Bearer ${a1.key}`, traceparent: byHttp })
      const device = yield* client(a1, { protocolVersion: 5 })
      const userProperties = { other: "00", traceparent: byMqtt, tracestate: "x=y" }
      yield* publish(device, shortTopic(a1), two, { qos: 1, properties: { userProperties } })
      const wrong = { userProperties: { traceparent: "' or 1=1; --\u0001" } }
      yield* publish(device, shortTopic(a1), three, { qos: 1, properties: wrong })
      const records = yield* raw
      const headerOf = (part: string) => holding(records, part)[0]?.headers["traceparent"]
      assert.strictEqual(headerOf(one), byHttp)
      assert.strictEqual(headerOf(two), byMqtt)
      assert.isUndefined(headerOf(three))
      assert.strictEqual(holding(records, three).length, 1)
    })
  )

  it.effect("answers with a request id, also where it refuses, and tells the audit log of wrong keys", () =>
    Effect.gen(function* () {
      const taken = yield* send({ metrics: { m: 1 } }, { authorization: `Bearer ${a1.key}`, "x-request-id": "dev-1" })
      assert.strictEqual(taken.headers.get("x-request-id"), "dev-1")
      const refused = yield* send({ metrics: { m: 1 } }, { authorization: "Bearer wrong" })
      assert.strictEqual(refused.status, 401)
      const requestId = refused.headers.get("x-request-id")
      assert.match(String(requestId), /^[0-9a-f-]{36}$/)
      assert.deepInclude(yield* Effect.promise(() => refused.json()), { requestId })
      yield* Effect.flip(client({ ...a1, key: "wrong" }))
      const row = { actor_kind: "system", address: "127.0.0.1", count: 1 }
      assert.sameDeepMembers(
        [...(yield* refusals)],
        [
          { ...row, tenant_id: null, entity_id: null, request_id: requestId },
          { ...row, tenant_id: orgA, entity_id: a1.id, request_id: null }
        ]
      )
    })
  )
})
