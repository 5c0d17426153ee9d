import { routes } from "@argusiq/bridge/routes.ts"
import { CertificateAuthority } from "@argusiq/layers/certificates/CertificateAuthority.ts"
import { Certificates } from "@argusiq/layers/certificates/Certificates.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as MemoryRateLimit from "@argusiq/layers/rate-limit/MemoryRateLimit.ts"
import { Devices } from "@argusiq/layers/registry/Devices.ts"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { X509Certificate } from "node:crypto"
import { createServer } from "node:http"
import { certify, forge, freshDevice, revoke, strangeAuthority, withSecrets } from "./certified.ts"
import { a1, a2, b1, closedBridge, decommissioned, Faults, quiet, type TestDevice } from "./support.ts"

const SECRET = "a-shared-secret-of-ours"
const settings = { WEBHOOK_SECRET: SECRET, ...withSecrets() }
const configured = ConfigProvider.layer(ConfigProvider.fromUnknown(settings))

const served = Certificates.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(CertificateAuthority.layer, Devices.layer)),
  Layer.provideMerge(
    HttpRouter.serve(routes, { disableLogger: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
      Layer.provide(MemoryRateLimit.layer()),
      Layer.provide(quiet)
    )
  ),
  Layer.provideMerge(closedBridge(settings)),
  Layer.provide(configured),
  Layer.orDie
)

const post = Effect.fnUntraced(function* (path: string, body: unknown, secret = SECRET) {
  const { address } = yield* HttpServer.HttpServer
  assert(address._tag !== "UnixPathAddress")
  return yield* Effect.promise(async () => {
    const response = await fetch(`http://127.0.0.1:${address.port}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-webhook-secret": secret },
      body: JSON.stringify(body)
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  })
})
const login = (body: object) => Effect.map(post("/mqtt/auth", body), ({ body }) => body["result"])
const access = (device: TestDevice, action: string, topic: string) =>
  Effect.map(
    post("/mqtt/acl", { clientid: device.id, username: device.id, action, topic }),
    ({ body }) => body["result"]
  )

layer(served, { excludeTestServices: true, timeout: 60_000 })("an external broker's questions", (it) => {
  it.effect("are answered to whoever knows the secret only, and in one object at a time", () =>
    Effect.gen(function* () {
      const question = { clientid: a1.id, username: a1.id, password: a1.key }
      for (const path of ["/mqtt/auth", "/mqtt/acl"]) {
        assert.strictEqual((yield* post(path, question, "another secret than ours")).status, 401)
        assert.strictEqual((yield* post(path, {})).status, 400)
      }
      assert.strictEqual((yield* post("/mqtt/auth", [question])).status, 400)
    })
  )

  it.effect("a key lets its device in, by id or external id, and nobody else; what is left empty is not there", () =>
    Effect.gen(function* () {
      const empty = { cert_pem: "", cert_common_name: "", peerhost: "127.0.0.1" }
      const { body } = yield* post("/mqtt/auth", { ...empty, clientid: a1.id, username: a1.id, password: a1.key })
      assert.deepStrictEqual(body, {
        result: "allow",
        is_superuser: false,
        client_attrs: { device_id: a1.id, organization_id: a1.org }
      })
      const second = { clientid: `${a1.id}-second`, username: a1.externalId, password: a1.key }
      assert.strictEqual(yield* login(second), "allow")
      for (const wrong of [
        { clientid: a1.id, username: a1.id, password: a2.key },
        { clientid: a1.id, username: a2.id, password: a1.key },
        { clientid: a1.id, username: a1.id, password: "" },
        { clientid: a1.id, username: "", password: a1.key },
        { clientid: a2.id, username: a1.id, password: a1.key },
        { clientid: `${a1.id}x`, username: a1.id, password: a1.key },
        { clientid: "", username: a1.id, password: a1.key }
      ]) {
        assert.strictEqual(yield* login(wrong), "deny", JSON.stringify(wrong))
      }
      assert.strictEqual(yield* login({ clientid: "b", username: "argusiq-bridge", password: "x" }), "ignore")
    })
  )

  it.effect("a certificate lets its device in until it is revoked, as PEM or as DER in base64, or by its name", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const { cert } = yield* certify(device)
      const parsed = new X509Certificate(cert)
      const der = parsed.raw.toString("base64")
      const names = { clientid: device.id, username: device.id, password: "" }
      const { body } = yield* post("/mqtt/auth", { ...names, cert_pem: cert })
      assert.strictEqual(body["result"], "allow")
      assert.strictEqual(body["expire_at"], parsed.validToDate.getTime() / 1000)
      const ways = [{ cert_pem: cert }, { cert_pem: der }, { cert_common_name: device.id }]
      for (const way of ways) assert.strictEqual(yield* login({ ...names, ...way }), "allow")
      for (const way of ways) {
        assert.strictEqual(yield* login({ ...names, ...way, clientid: a1.id }), "deny")
        assert.strictEqual(yield* login({ ...names, ...way, username: a1.id }), "deny")
        assert.strictEqual(yield* login({ ...names, ...way, password: a1.key }), "deny")
      }
      yield* revoke(device)
      yield* Effect.sleep(1_500)
      for (const way of ways) assert.strictEqual(yield* login({ ...names, ...way }), "deny")
      const sql = yield* OwnerSql
      const rows =
        yield* sql`select 1 from system_events where entity_id = ${device.id} and event_type = 'CERTIFICATE_REFUSED'`
      assert.strictEqual(rows.length, 1)
    })
  )

  it.effect("a certificate that was never issued, and one of another authority, let nobody in", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const strange = yield* forge(device, { authority: yield* strangeAuthority })
      for (const pem of [(yield* forge(device)).cert, strange.cert, "nonsense"]) {
        assert.strictEqual(yield* login({ clientid: device.id, cert_pem: pem }), "deny")
      }
      assert.strictEqual(yield* login({ clientid: device.id, cert_common_name: device.id }), "deny")
    })
  )

  it.effect("devices publish to their own telemetry and subscribe to their own commands, and to nothing else", () =>
    Effect.gen(function* () {
      for (const [action, topic] of [
        ["publish", `devices/${a1.id}/telemetry`],
        ["publish", `v1/telemetry/${a1.org}/${a1.id}`],
        ["publish", `v1/telemetry/${a1.org}/${a1.externalId}`],
        ["subscribe", `devices/${a1.id}/commands/#`],
        ["subscribe", `v1/commands/${a1.org}/${a1.id}/+`]
      ] as const) {
        assert.strictEqual(yield* access(a1, action, topic), "allow", topic)
      }
      for (const [action, topic] of [
        ["publish", `devices/${a2.id}/telemetry`],
        ["publish", `v1/telemetry/${b1.org}/${b1.id}`],
        ["publish", `v1/telemetry/${a1.org}/${a2.externalId}`],
        ["publish", `v1/telemetry/${b1.org}/${a1.id}`],
        ["publish", "$SYS/brokers"],
        ["publish", `devices/${a1.id}/commands/x`],
        ["subscribe", "#"],
        ["subscribe", "+/+/telemetry"],
        ["subscribe", "$SYS/#"],
        ["subscribe", `$share/g/devices/${a1.id}/commands/#`],
        ["subscribe", `devices/${a1.id}/telemetry`],
        ["subscribe", `devices/${a2.id}/commands/#`],
        ["subscribe", `devices/${a1.id}/commands/a+`]
      ] as const) {
        assert.strictEqual(yield* access(a1, action, topic), "deny", topic)
      }
      const own = `devices/${decommissioned.id}/telemetry`
      assert.strictEqual(yield* access(decommissioned, "publish", own), "deny")
    })
  )

  it.effect(
    "others than devices are left to others, and what the broker knows of the device counts before its user name",
    () =>
      Effect.gen(function* () {
        const topic = `devices/${a1.id}/telemetry`
        const ask = (more: object) =>
          Effect.map(post("/mqtt/acl", { action: "publish", topic, ...more }), ({ body }) => body)
        assert.deepStrictEqual(yield* ask({ username: "argusiq-bridge" }), { result: "ignore" })
        assert.deepStrictEqual(yield* ask({}), { result: "ignore" })
        assert.deepStrictEqual(yield* ask({ username: a1.externalId, device_id: a1.id }), { result: "allow" })
        assert.deepStrictEqual(yield* ask({ username: a1.id, device_id: a2.id }), { result: "deny" })
      })
  )

  it.effect("are answered with 503 while the database is away and the answer is not in memory", () =>
    Effect.gen(function* () {
      const device = yield* freshDevice
      const faults = yield* Faults
      faults.database = "away"
      const questions = [
        post("/mqtt/auth", { clientid: device.id, username: device.id, password: device.key }),
        post("/mqtt/acl", { username: device.id, action: "subscribe", topic: "x" })
      ]
      const answers = yield* Effect.all(questions)
      faults.database = "none"
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [503, 503]
      )
    })
  )
})
