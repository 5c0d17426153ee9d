import * as ArgusIq from "@argusiq/client/ArgusIq.ts"
import { fixedToken, signIn } from "@argusiq/client/Bearer.ts"
import { everyItem } from "@argusiq/client/pages.ts"
import { wordsOf } from "@argusiq/client/words.ts"
import { DeviceTypeId } from "@argusiq/domain/ids.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { adminEmail, adminPassword, Api, apiServer } from "../services/api/apiServer.ts"

const credentials = (baseUrl: string) => ({ baseUrl, email: adminEmail, password: Redacted.make(adminPassword) })

/** The requests that leave, as `POST /path`, with what they carry as authorization. */
const watched = Effect.map(HttpClient.HttpClient, (client) => {
  const sent: Array<{ readonly what: string; readonly token: string | undefined }> = []
  const watching = HttpClient.mapRequest(client, (request) => {
    sent.push({ what: `${request.method} ${request.url}`, token: request.headers["authorization"] })
    return request
  })
  return { sent, watching }
})

layer(apiServer, { excludeTestServices: true })("the typed client", (it) => {
  const signedIn = Effect.gen(function* () {
    const api = yield* Api
    const bearer = yield* signIn(credentials(api.url))
    return { api, bearer, client: yield* ArgusIq.make({ baseUrl: api.url, bearer }) }
  }).pipe(Effect.provide(FetchHttpClient.layer))

  it.effect("signs in, and each operation is a function with its types", () =>
    Effect.gen(function* () {
      const { api, client } = yield* signedIn
      const device = yield* client.devices.get({ params: { id: api.firstDevice.deviceId } })
      assert.strictEqual(device.id, api.firstDevice.deviceId)
      const made = yield* client.devices.create({ payload: { name: "typed", deviceTypeId: device.deviceTypeId } })
      const changed = yield* client.devices.change({
        params: { id: made.id },
        headers: { "if-match": String(made.version) },
        payload: { name: "typed twice" }
      })
      assert.deepInclude(changed, { name: "typed twice", version: 2 })
      yield* client.devices.remove({ params: { id: made.id }, headers: { "if-match": "2" } })
    })
  )

  it.effect("what the platform refuses are errors with a type, a detail and the faults by path", () =>
    Effect.gen(function* () {
      const { api, client } = yield* signedIn
      const { deviceTypeId } = yield* client.devices.get({ params: { id: api.firstDevice.deviceId } })
      const missing = yield* Effect.flip(client.devices.get({ params: { id: "01890a5d-ac96-774b-bcce-b302099a8057" } }))
      assert.strictEqual(missing._tag, "NotFound")
      const made = yield* client.devices.create({ payload: { name: "typed errors", deviceTypeId } })
      const stale = yield* Effect.flip(client.devices.remove({ params: { id: made.id }, headers: { "if-match": "7" } }))
      assert.strictEqual(stale._tag, "PreconditionFailed")
      const unknown = DeviceTypeId.make("01890a5d-ac96-774b-bcce-b302099a8057")
      const refused = yield* Effect.flip(client.devices.create({ payload: { name: "x", deviceTypeId: unknown } }))
      assert.strictEqual(refused._tag, "Unprocessable")
      if (refused._tag === "Unprocessable") assert.strictEqual(refused.errors?.[0]?.path, "deviceTypeId")
      assert.include(wordsOf(refused), "deviceTypeId: does not exist in this organization")
      const wrong = yield* Effect.flip(
        signIn({ ...credentials(api.url), password: Redacted.make("wrong") }).pipe(
          Effect.provide(FetchHttpClient.layer)
        )
      )
      assert.strictEqual(wrong._tag, "Unauthenticated")
    })
  )

  it.effect("a list is a stream of all its items, page by page, and no page more than is taken", () =>
    Effect.gen(function* () {
      const { sent, watching } = yield* watched
      const { api, bearer } = yield* signedIn
      const client = yield* ArgusIq.make({ baseUrl: api.url, bearer }).pipe(
        Effect.provideService(HttpClient.HttpClient, watching)
      )
      const { deviceTypeId } = yield* client.devices.get({ params: { id: api.firstDevice.deviceId } })
      const devices = Array.from({ length: 25 }, (_, index) => ({ name: `streamed ${index}`, deviceTypeId }))
      const { created } = yield* client.deviceImport.bulk({ query: {}, payload: { devices } })
      assert.strictEqual(created, 25)
      sent.length = 0
      const all = yield* Stream.runCollect(everyItem(client.devices.list, { query: { q: "streamed", limit: 10 } }))
      assert.strictEqual(new Set(all.map(({ id }) => id)).size, 25)
      assert.strictEqual(sent.length, 3)
      sent.length = 0
      yield* everyItem(client.devices.list, { query: { q: "streamed", limit: 10 } }).pipe(
        Stream.take(5),
        Stream.runDrain
      )
      assert.strictEqual(sent.length, 1)
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.effect("a token that was refused is renewed once for all who need it, and their requests are repeated", () =>
    Effect.gen(function* () {
      const { sent, watching } = yield* watched
      const { url } = yield* Api
      // The first token that is used is spoilt on its way, as if it had ended.
      let spoilt: string | undefined
      const spoiling = HttpClient.mapRequest(watching, (request) => {
        const authorization = request.headers["authorization"]
        spoilt ??= authorization
        return authorization !== undefined && authorization === spoilt
          ? HttpClientRequest.setHeader(request, "authorization", "Bearer x.y.z")
          : request
      })
      const use = Effect.provideService(HttpClient.HttpClient, spoiling)
      const bearer = yield* signIn(credentials(url)).pipe(use)
      const client = yield* ArgusIq.make({ baseUrl: url, bearer }).pipe(use)
      yield* Effect.sleep("1100 millis") // tokens of the same second are the same
      const answers = yield* Effect.all(
        Array.from({ length: 5 }, () => client.auth.me()),
        { concurrency: 5 }
      )
      assert.lengthOf(answers, 5)
      assert.lengthOf(
        sent.filter(({ what }) => what.endsWith("/auth/refresh")),
        1
      )
      assert.lengthOf(
        sent.filter(({ what }) => what.endsWith("/auth/me")),
        10
      )
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.effect("a token that cannot be renewed is the platform's refusal", () =>
    Effect.gen(function* () {
      const { url } = yield* Api
      const client = yield* ArgusIq.make({ baseUrl: url, bearer: fixedToken("x.y.z") })
      assert.strictEqual((yield* Effect.flip(client.auth.me()))._tag, "Unauthenticated")
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )
})
