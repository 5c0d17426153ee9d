import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { adminEmail, adminPassword, Api, apiServer, DataDirectory, withoutRequestId } from "./apiServer.ts"
import { readFileSync } from "node:fs"
import { join } from "node:path"

const login = (body: unknown) => Effect.flatMap(Api, (api) => api.call("POST", "/api/v1/auth/login", { body }))
const refresh = (refreshToken: string) =>
  Effect.flatMap(Api, (api) => api.call("POST", "/api/v1/auth/refresh", { body: { refreshToken } }))
const timedLogin = (body: unknown) =>
  Effect.gen(function* () {
    const startedAt = performance.now()
    const answer = yield* login(body)
    return { answer, millis: performance.now() - startedAt }
  })

layer(apiServer, { excludeTestServices: true })("signing in", (it) => {
  it.effect("the first administrator signs in, in any case of the e-mail, and is told who it is", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const answer = yield* login({ email: "ADMIN@localhost", password: adminPassword })
      assert.strictEqual(answer.status, 200, answer.text)
      assert.strictEqual(answer.body.expiresIn, 900)
      const me = yield* api.call("GET", "/api/v1/auth/me", { token: answer.body.accessToken })
      assert.strictEqual(me.status, 200, me.text)
      assert.strictEqual(me.body.email, adminEmail)
      assert.isTrue(me.body.isPlatformAdmin)
      assert.strictEqual(me.body.organizationId, api.firstDevice.organizationId)
      assert.include(me.body.permissions, "platform:operate")
    })
  )

  it.effect("a wrong password and an unknown user get the same answer after comparable work", () =>
    Effect.gen(function* () {
      const wrong = yield* timedLogin({ email: adminEmail, password: "not the password" })
      const unknown = yield* timedLogin({ email: "nobody@example.com", password: "not the password" })
      assert.strictEqual(wrong.answer.status, 401)
      assert.strictEqual(unknown.answer.status, 401)
      assert.deepStrictEqual(withoutRequestId(wrong.answer.body), withoutRequestId(unknown.answer.body))
      assert.match(wrong.answer.headers.get("content-type") ?? "", /^application\/problem\+json/)
      // A missing derivation would be faster by tens of milliseconds.
      assert.isAbove(unknown.millis, wrong.millis / 5)
    })
  )

  it.effect("an organization that the user does not belong to is no way in", () =>
    Effect.gen(function* () {
      const organizationId = "01890a5d-ac96-774b-bcce-b302099a8057"
      const answer = yield* login({ email: adminEmail, password: adminPassword, organizationId })
      assert.strictEqual(answer.status, 401)
    })
  )

  it.effect("the eleventh failed attempt on an account within 15 minutes is refused, and others still get in", () =>
    Effect.gen(function* () {
      const body = { email: "target@example.com", password: "not the password" }
      const answers = yield* Effect.forEach(Array.from({ length: 12 }), () => login(body), { concurrency: "unbounded" })
      assert.strictEqual(answers.filter(({ status }) => status === 401).length, 10)
      const refused = answers.find(({ status }) => status === 429)
      assert.isAbove(Number(refused?.headers.get("retry-after")), 0)
      assert.strictEqual((yield* login({ email: adminEmail, password: adminPassword })).status, 200)
    })
  )

  it.effect("a refresh token works once, and its second use ends the session that was made from it", () =>
    Effect.gen(function* () {
      const first = (yield* login({ email: adminEmail, password: adminPassword })).body
      const second = yield* refresh(first.refreshToken)
      assert.strictEqual(second.status, 200, second.text)
      assert.notStrictEqual(second.body.refreshToken, first.refreshToken)
      const third = yield* refresh(second.body.refreshToken)
      assert.strictEqual(third.status, 200)
      assert.strictEqual((yield* refresh(first.refreshToken)).status, 401)
      assert.strictEqual((yield* refresh(third.body.refreshToken)).status, 401)
    })
  )

  it.effect("of two simultaneous uses of a refresh token at most one gives a session, and none goes on", () =>
    Effect.gen(function* () {
      const { refreshToken } = (yield* login({ email: adminEmail, password: adminPassword })).body
      const answers = yield* Effect.all([refresh(refreshToken), refresh(refreshToken)], { concurrency: 2 })
      const given = answers.filter(({ status }) => status === 200)
      assert.isAtMost(given.length, 1)
      for (const { body } of given) assert.strictEqual((yield* refresh(body.refreshToken)).status, 401)
    })
  )

  it.effect("after signing out the refresh token is worth nothing", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const { refreshToken } = (yield* login({ email: adminEmail, password: adminPassword })).body
      assert.strictEqual((yield* api.call("POST", "/api/v1/auth/logout", { body: { refreshToken } })).status, 204)
      assert.strictEqual((yield* refresh(refreshToken)).status, 401)
    })
  )

  it.effect("the command line's token acts in the first organization, without a session", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const path = join(yield* DataDirectory, "cli-token")
      const token = readFileSync(path, "utf8").trim()
      const me = yield* api.call("GET", "/api/v1/auth/me", { token })
      assert.strictEqual(me.status, 200, me.text)
      assert.isNull(me.body.userId)
      assert.strictEqual(me.body.organizationId, api.firstDevice.organizationId)
      const forged = yield* api.call("GET", "/api/v1/auth/me", { token: token.slice(0, -1) })
      assert.strictEqual(forged.status, 401)
    })
  )

  it.effect("without a token the answer says how to get one", () =>
    Effect.gen(function* () {
      const answer = yield* (yield* Api).call("GET", "/api/v1/devices")
      assert.strictEqual(answer.status, 401)
      assert.strictEqual(answer.headers.get("www-authenticate"), "Bearer")
      assert.include(answer.body.detail, "/api/v1/auth/login")
    })
  )
})
