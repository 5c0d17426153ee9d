import { AccessTokens } from "@argusiq/layers/identity/AccessTokens.ts"
import { AppSql, OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { LiveSessions } from "@argusiq/layers/identity/LiveSessions.ts"
import { Sessions } from "@argusiq/layers/identity/Sessions.ts"
import { Users } from "@argusiq/layers/identity/Users.ts"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { addOrganization, adminPassword, Api, apiServer } from "./apiServer.ts"

interface Tokens {
  readonly accessToken: string
  readonly refreshToken: string
}
const post = (path: string, body: unknown, token?: string) =>
  Effect.flatMap(Api, (api) => api.call("POST", `/api/v1/auth/${path}`, { body, token }))
const signIn = (email: string, password = adminPassword) =>
  Effect.map(post("login", { email, password }), (answer): Tokens => {
    assert.strictEqual(answer.status, 200, answer.text)
    return answer.body
  })
const statusOf = (token: string) =>
  Effect.flatMap(Api, (api) => api.call("GET", "/api/v1/auth/me", { token })).pipe(Effect.map(({ status }) => status))
const somebody = (role?: string) => addOrganization(`s-${randomUUID()}`, role)

/** After so long a process has certainly asked the database again. */
const askedAgain = "600 millis"

/** What another process of the installation has in memory: layers of its own over the same database and key. */
const anotherProcess = Layer.fresh(
  Sessions.layer.pipe(Layer.provideMerge(Layer.mergeAll(AccessTokens.layer, LiveSessions.layer, Users.layer)))
)

layer(apiServer, { excludeTestServices: true })("an access token", (it) => {
  it.effect("is refused from the moment that its session is signed out, and other sessions of the user go on", () =>
    Effect.gen(function* () {
      const { email } = yield* somebody()
      const [ended, other] = [yield* signIn(email), yield* signIn(email)]
      assert.strictEqual(yield* statusOf(ended.accessToken), 200)
      assert.strictEqual((yield* post("logout", { refreshToken: ended.refreshToken })).status, 204)
      assert.strictEqual(yield* statusOf(ended.accessToken), 401)
      assert.strictEqual(yield* statusOf(other.accessToken), 200)
    })
  )

  it.effect("is refused together with its family when a refresh token was used twice", () =>
    Effect.gen(function* () {
      const { email } = yield* somebody()
      const first = yield* signIn(email)
      const second: Tokens = (yield* post("refresh", { refreshToken: first.refreshToken })).body
      assert.strictEqual(yield* statusOf(first.accessToken), 200)
      assert.strictEqual((yield* post("refresh", { refreshToken: first.refreshToken })).status, 401)
      assert.strictEqual(yield* statusOf(first.accessToken), 401)
      assert.strictEqual(yield* statusOf(second.accessToken), 401)
      assert.strictEqual((yield* post("refresh", { refreshToken: second.refreshToken })).status, 401)
    })
  )

  it.effect("is no refresh token, and a refresh token is no access token", () =>
    Effect.gen(function* () {
      const { email } = yield* somebody()
      const { accessToken, refreshToken } = yield* signIn(email)
      assert.strictEqual(yield* statusOf(refreshToken), 401)
      assert.strictEqual((yield* post("refresh", { refreshToken: accessToken })).status, 401)
      assert.strictEqual(yield* statusOf(accessToken), 200)
    })
  )

  it.effect("is refused within a second in another process, and still accepted there until then", () =>
    Effect.gen(function* () {
      const { email } = yield* somebody()
      const { accessToken, refreshToken } = yield* signIn(email)
      yield* Effect.gen(function* () {
        const live = yield* LiveSessions
        const claims = yield* (yield* AccessTokens).verify(accessToken)
        assert.isDefined(claims)
        const isLive = () => live.isLive(claims!.sid, claims!.gen)
        assert.isTrue(isLive())
        const since = performance.now()
        yield* post("logout", { refreshToken })
        while (isLive() && performance.now() - since < 5_000) yield* Effect.sleep(5)
        assert.isFalse(isLive())
        assert.isBelow(performance.now() - since, 1_000)
        // and the other way round
        const second = yield* signIn(email)
        yield* (yield* Sessions).logout(second.refreshToken)
        const endedAt = performance.now()
        while ((yield* statusOf(second.accessToken)) === 200 && performance.now() - endedAt < 5_000) {
          yield* Effect.sleep(5)
        }
        assert.isBelow(performance.now() - endedAt, 1_000)
      }).pipe(Effect.provide(anotherProcess))
    })
  )

  it.effect("of a session that ended before a process started is refused by it from its first request on", () =>
    Effect.gen(function* () {
      const { email } = yield* somebody()
      const { accessToken, refreshToken } = yield* signIn(email)
      yield* post("logout", { refreshToken })
      const { gen, sid } = JSON.parse(Buffer.from(accessToken.split(".")[1] ?? "", "base64url").toString())
      yield* Effect.gen(function* () {
        assert.isFalse((yield* LiveSessions).isLive(sid, gen))
      }).pipe(Effect.provide(Layer.fresh(LiveSessions.layer)))
    })
  )

  const ways: Readonly<
    Record<string, (userId: string, organizationId: string) => Effect.Effect<unknown, unknown, OwnerSql>>
  > = {
    "the user is disabled": (userId) =>
      Effect.flatMap(OwnerSql, (sql) => sql`update users set status = 'disabled' where id = ${userId}`),
    "the membership is disabled": (userId) =>
      Effect.flatMap(OwnerSql, (sql) => sql`update memberships set status = 'disabled' where user_id = ${userId}`),
    "the membership is removed": (userId) =>
      Effect.flatMap(OwnerSql, (sql) => sql`delete from memberships where user_id = ${userId}`),
    "the organization is suspended": (_, organizationId) =>
      Effect.flatMap(OwnerSql, (sql) => sql`update organizations set status = 'suspended' where id = ${organizationId}`)
  }
  for (const [what, change] of Object.entries(ways)) {
    it.effect(`is refused when ${what}, whoever did it, and neither refresh nor sign-in lets the user in again`, () =>
      Effect.gen(function* () {
        const { email, organizationId, userId } = yield* somebody()
        const { accessToken, refreshToken } = yield* signIn(email)
        assert.strictEqual(yield* statusOf(accessToken), 200)
        yield* change(userId, organizationId)
        const since = performance.now()
        while ((yield* statusOf(accessToken)) === 200 && performance.now() - since < 5_000) yield* Effect.sleep(10)
        assert.isBelow(performance.now() - since, 1_000)
        assert.strictEqual((yield* post("refresh", { refreshToken })).status, 401)
        const again = yield* post("login", { email, password: adminPassword })
        const unknown = yield* post("login", { email: `${randomUUID()}@example.com`, password: adminPassword })
        assert.strictEqual(again.status, 401)
        assert.strictEqual(again.body.detail, unknown.body.detail)
      })
    )
  }

  it.effect("of an earlier role is refused, and the refresh token gives one of the present role", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const { email, userId } = yield* somebody("admin")
      const { accessToken, refreshToken } = yield* signIn(email)
      yield* (yield* OwnerSql)`update memberships set role = 'viewer' where user_id = ${userId}`
      yield* Effect.sleep(askedAgain)
      assert.strictEqual(yield* statusOf(accessToken), 401)
      const { body } = yield* post("refresh", { refreshToken })
      const me = yield* api.call("GET", "/api/v1/auth/me", { token: body.accessToken })
      assert.strictEqual(me.body.role, "viewer")
      const write = yield* api.call("POST", "/api/v1/devices", { token: body.accessToken, body: {} })
      assert.strictEqual(write.status, 403)
    })
  )

  it.effect("is listed with its session, which its user can end, and nobody else", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const { email } = yield* somebody()
      const stranger = yield* signIn((yield* somebody()).email)
      const [one, two] = [yield* signIn(email), yield* signIn(email)]
      const list = yield* api.call("GET", "/api/v1/auth/sessions", { token: one.accessToken })
      assert.strictEqual(list.status, 200, list.text)
      assert.strictEqual(list.body.items.length, 2)
      const other = list.body.items.find(({ isCurrent }: { isCurrent: boolean }) => !isCurrent)
      assert.strictEqual(other.address, "127.0.0.1")
      const end = (token: string) => api.call("DELETE", `/api/v1/auth/sessions/${other.id}`, { token })
      assert.strictEqual((yield* end(stranger.accessToken)).status, 404)
      assert.strictEqual(yield* statusOf(two.accessToken), 200)
      assert.strictEqual((yield* end(one.accessToken)).status, 204)
      assert.strictEqual(yield* statusOf(two.accessToken), 401)
      assert.strictEqual((yield* end(one.accessToken)).status, 404)
    })
  )
})

layer(apiServer, { excludeTestServices: true })("standing and session", (it) => {
  it.effect("a sign-in while a role is being taken away waits, and gets what is left", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const sql = yield* OwnerSql
      const { email, userId } = yield* somebody("admin")
      const isUnderWay = yield* Deferred.make<void>()
      const [, tokens] = yield* Effect.all(
        [
          sql`update memberships set role = 'viewer' where user_id = ${userId}`.pipe(
            Effect.andThen(Deferred.succeed(isUnderWay, undefined)),
            Effect.andThen(Effect.sleep(700)), // a sign-in takes a tenth of that
            sql.withTransaction
          ),
          Effect.andThen(Deferred.await(isUnderWay), signIn(email))
        ],
        { concurrency: 2 }
      )
      yield* Effect.sleep(askedAgain)
      const me = yield* api.call("GET", "/api/v1/auth/me", { token: tokens.accessToken })
      assert.isTrue(me.status === 401 || me.body.role === "viewer", me.text)
    })
  )

  it.effect("a session is seen by its user alone", () =>
    Effect.gen(function* () {
      const { email } = yield* somebody()
      yield* signIn(email)
      const sql = yield* AppSql
      assert.deepStrictEqual(yield* sql`select id from sessions`, [])
      assert.deepStrictEqual(yield* sql`update sessions set ended_at = now() returning id`, [])
    })
  )
})
