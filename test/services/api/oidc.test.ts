import { createHmac, generateKeyPairSync, randomUUID, sign } from "node:crypto"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { isProviderUrl } from "@argusiq/layers/identity/ExternalTokens.ts"
import { assert, describe, it as test, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { exportJWK, exportSPKI } from "jose"
import { addOrganization, adminPassword, Api, apiServerWith } from "./apiServer.ts"
import { TestProvider } from "./provider.ts"

const server = Layer.unwrap(
  Effect.map(TestProvider, ({ issuer }) =>
    apiServerWith({
      OIDC_ISSUER: issuer,
      OIDC_AUDIENCE: "argusiq",
      OIDC_ROLE_CLAIM: "realm_access.roles",
      OIDC_ORGANIZATION_CLAIM: "organization"
    })
  )
).pipe(Layer.provideMerge(TestProvider.layer))

const get = (token: string, path = "auth/me") =>
  Effect.flatMap(Api, (api) => api.call("GET", `/api/v1/${path}`, { token }))
const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url")

/** An organization, and the claims of somebody who belongs to it. */
const world = Effect.gen(function* () {
  const organization = yield* addOrganization(`o-${randomUUID()}`)
  const provider = yield* TestProvider
  const claims = {
    sub: randomUUID(),
    email: `${randomUUID()}@example.com`,
    email_verified: true,
    name: "Pia Provided",
    realm_access: { roles: ["offline_access", "engineer"] },
    organization: organization.organizationId
  }
  return { ...organization, provider, claims }
})

layer(server, { excludeTestServices: true })("users of an identity provider", (it) => {
  it.effect("come in with its token, are made once, and have the role that it names", () =>
    Effect.gen(function* () {
      const { claims, organizationId, provider } = yield* world
      const me = yield* get(yield* provider.token(claims))
      assert.strictEqual(me.status, 200, me.text)
      assert.deepInclude(me.body, {
        email: claims.email,
        organizationId,
        role: "engineer",
        isPlatformAdmin: false,
        organizations: [{ organizationId, role: "engineer", isDefault: true }]
      })
      const again = yield* get(yield* provider.token({ ...claims, realm_access: { roles: ["viewer"] } }))
      assert.strictEqual(again.body.userId, me.body.userId)
      assert.strictEqual(again.body.role, "viewer")
      const bySlug = yield* world
      const moved = yield* get(yield* provider.token({ ...claims, organization: bySlug.email.split("@")[0] }))
      assert.strictEqual(moved.body.organizationId, bySlug.organizationId)
      const users = yield* (yield* OwnerSql)`select is_external, role from memberships
        where user_id = ${me.body.userId} and tenant_id = ${organizationId}`
      assert.deepStrictEqual(users, [{ is_external: true, role: "viewer" }])
    })
  )

  it.effect("without a role that exists, an organization or a vouched address are refused with what is missing", () =>
    Effect.gen(function* () {
      const { claims, provider } = yield* world
      const { organization: _, ...homeless } = claims
      const refused = [
        [{ ...claims, realm_access: { roles: ["owner"] } }, 'says "owner"'],
        [{ ...claims, realm_access: {} }, "realm_access.roles of your token is missing"],
        [{ ...claims, realm_access: { roles: ["platform_admin"] } }, "must name one of the roles"],
        [homeless, "names no organization"],
        [{ ...claims, organization: randomUUID() }, "does not exist here"],
        [{ ...claims, email_verified: false }, "does not vouch"],
        [{ ...claims, email: undefined }, "does not vouch"]
      ] as const
      for (const [payload, detail] of refused) {
        const answer = yield* get(yield* provider.token({ ...payload, sub: randomUUID() }))
        assert.strictEqual(answer.status, 403, answer.text)
        assert.include(answer.body.detail, detail)
      }
    })
  )

  it.effect("forged, foreign, expired and early tokens are 401", () =>
    Effect.gen(function* () {
      const { claims, provider } = yield* world
      const now = Math.floor(Date.now() / 1_000)
      const good = yield* provider.token(claims)
      assert.strictEqual((yield* get(good)).status, 200)
      const [head = "", body = "", signature = ""] = good.split(".")
      const header = JSON.parse(Buffer.from(head, "base64url").toString())
      const own = generateKeyPairSync("rsa", { modulusLength: 2_048 })
      const jwk = own.publicKey.export({ format: "jwk" })
      const signedByOwn = (extra: object) => {
        const input = `${encode({ ...header, ...extra })}.${body}`
        return `${input}.${sign("sha256", Buffer.from(input), own.privateKey).toString("base64url")}`
      }
      const withPublicKey = (secret: string) => {
        const input = `${encode({ ...header, alg: "HS256" })}.${body}`
        return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`
      }
      const publicKey = provider.publicKey()
      const forgeries = {
        none: `${encode({ ...header, alg: "none" })}.${body}.`,
        "none with a signature": `${encode({ ...header, alg: "none" })}.${body}.${signature}`,
        "HS256 with the public key": withPublicKey(yield* Effect.promise(() => exportSPKI(publicKey))),
        "HS256 with the public JWK": withPublicKey(JSON.stringify(yield* Effect.promise(() => exportJWK(publicKey)))),
        "another key": signedByOwn({}),
        "its own jwk": signedByOwn({ jwk }),
        "its own jku": signedByOwn({ jku: "http://127.0.0.1:1/keys" }),
        "its own x5u": signedByOwn({ x5u: "http://127.0.0.1:1/cert" }),
        "an unknown kid": signedByOwn({ kid: "mine" }),
        "another issuer": yield* provider.token({ ...claims, iss: "https://example.com" }),
        "our issuer": yield* provider.token({ ...claims, iss: "argusiq" }),
        "another audience": yield* provider.token({ ...claims, aud: "somebody else" }),
        expired: yield* provider.token({ ...claims, exp: now - 60 }),
        "not yet valid": yield* provider.token({ ...claims, nbf: now + 60 }),
        "without an end": yield* provider.token({ ...claims, exp: undefined } as never),
        "without a subject": yield* provider.token({ ...claims, sub: undefined } as never),
        "changed claims": `${head}.${encode({ ...claims, realm_access: { roles: ["admin"] } })}.${signature}`
      }
      for (const [name, token] of Object.entries(forgeries)) {
        assert.strictEqual((yield* get(token)).status, 401, name)
      }
    })
  )

  it.effect("disabled, or of a suspended organization, are out within two seconds, with a token in force", () =>
    Effect.gen(function* () {
      const { claims, organizationId, provider } = yield* world
      const sql = yield* OwnerSql
      const token = yield* provider.token(claims)
      const { body: me } = yield* get(token)
      const refusedWithin = (millis: number) =>
        Effect.gen(function* () {
          const since = performance.now()
          while ((yield* get(token)).status === 200 && performance.now() - since < 5_000) yield* Effect.sleep(20)
          assert.isBelow(performance.now() - since, millis)
          assert.strictEqual((yield* get(token)).status, 403)
        })
      yield* sql`update memberships set status = 'disabled' where user_id = ${me.userId}`
      yield* refusedWithin(2_000)
      yield* sql`update memberships set status = 'active' where user_id = ${me.userId}`
      assert.strictEqual((yield* get(token)).status, 200)
      yield* sql`update organizations set status = 'suspended' where id = ${organizationId}`
      yield* refusedWithin(2_000)
    })
  )

  it.effect("have no session, no password and no way into an organization that knows the same address", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const { claims, organizationId, provider } = yield* world
      const victim = yield* addOrganization(`v-${randomUUID()}`)
      const token = yield* provider.token({ ...claims, email: victim.email.toUpperCase() })
      const { body: me } = yield* get(token)
      assert.strictEqual(me.userId, victim.userId, "the account of a vouched address")
      assert.deepStrictEqual(
        me.organizations.map(({ organizationId: id }: Record<string, string>) => id),
        [organizationId]
      )
      const call = (method: string, path: string, body?: unknown) =>
        api.call(method, `/api/v1/auth/${path}`, { token, body })
      assert.strictEqual((yield* call("POST", "switch", { organizationId: victim.organizationId })).status, 404)
      const change = { currentPassword: adminPassword, newPassword: "four words that nobody guesses" }
      assert.strictEqual((yield* call("PUT", "password", change)).status, 409)
      assert.deepStrictEqual((yield* call("GET", "sessions")).body.items, [])
      // Nor does the account's password open the organization that the provider let it into.
      const login = yield* api.call("POST", "/api/v1/auth/login", {
        body: { email: victim.email, password: adminPassword, organizationId }
      })
      assert.strictEqual(login.status, 401)
      const own = yield* api.login(victim.email)
      const switched = yield* api.call("POST", "/api/v1/auth/switch", { token: own, body: { organizationId } })
      assert.strictEqual(switched.status, 404)
      assert.strictEqual((yield* get(own)).body.organizations.length, 1)
    })
  )

  it.effect("keep their role, which the organization cannot change, and get no password from it", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const { claims, email, provider } = yield* world
      const { body: me } = yield* get(yield* provider.token(claims))
      const admin = yield* api.login(email)
      const path = `/api/v1/users/${me.userId}`
      const shown = yield* api.call("GET", path, { token: admin })
      assert.deepInclude(shown.body, { isExternal: true, role: "engineer", status: "active" })
      assert.strictEqual((yield* api.call("PATCH", path, { token: admin, body: { role: "admin" } })).status, 409)
      assert.strictEqual((yield* api.call("PUT", `${path}/password`, { token: admin })).status, 409)
      assert.strictEqual((yield* api.call("PATCH", path, { token: admin, body: { status: "disabled" } })).status, 200)
    })
  )
})

layer(server, { excludeTestServices: true })("an identity provider", (it) => {
  it.effect("that is away, or is not the one it should be, is 503 and never a way in; then it is asked again", () =>
    Effect.gen(function* () {
      const { claims, provider } = yield* world
      const token = yield* provider.token(claims)
      for (const how of ["fails", "another issuer", "foreign keys"] as const) {
        provider.answer(how)
        const answer = yield* get(token)
        assert.strictEqual(answer.status, 503, `${how}: ${answer.text}`)
        assert.notInclude(answer.text, "127.0.0.1")
        assert.strictEqual((yield* get("not.a.token")).status, 401)
        yield* Effect.sleep(2_100)
      }
      assert.strictEqual(provider.asked(), 0)
      provider.answer("right")
      assert.strictEqual((yield* get(token)).status, 200)
    })
  )

  it.effect("is asked for its keys once; tokens that are known outlive its outage", () =>
    Effect.gen(function* () {
      const { claims, provider } = yield* world
      const before = provider.asked()
      const token = yield* provider.token(claims)
      for (let call = 0; call < 20; call++) assert.strictEqual((yield* get(token)).status, 200)
      assert.isAtMost(provider.asked() - before, 1)
      provider.answer("fails")
      assert.strictEqual((yield* get(token)).status, 200)
      provider.answer("right")
    })
  )

  it.effect(
    "may rotate its keys: a token of the next one is taken after ten seconds at most, one of the last is not",
    () =>
      Effect.gen(function* () {
        const { claims, provider } = yield* world
        assert.strictEqual((yield* get(yield* provider.token(claims))).status, 200)
        const old = yield* provider.token({ ...claims, jti: "unseen" })
        yield* provider.rotate
        const token = yield* provider.token(claims)
        const since = performance.now()
        while ((yield* get(token)).status !== 200 && performance.now() - since < 20_000) yield* Effect.sleep(200)
        assert.isBelow(performance.now() - since, 11_500)
        assert.strictEqual((yield* get(old)).status, 401)
      }),
    30_000
  )
})

describe("the address of an identity provider", () => {
  test("is https, or http on this machine", () => {
    for (const url of [
      "https://login.example.com/tenant/v2.0",
      "http://127.0.0.1:8080/realm",
      "http://[::1]:1",
      "http://localhost"
    ]) {
      assert.isTrue(isProviderUrl(url), url)
    }
    for (const url of [
      "http://login.example.com",
      "http://127.0.0.1.example.com",
      "http://localhost.example.com",
      "https://user:password@example.com",
      "https://example.com?a=b",
      "file:///etc/passwd",
      "example.com",
      ""
    ]) {
      assert.isFalse(isProviderUrl(url), url)
    }
  })
})
