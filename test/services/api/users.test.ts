import { assert, layer } from "@effect/vitest"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Deferred, Effect } from "effect"
import { randomUUID } from "node:crypto"
import { addOrganization, adminPassword, Api, apiServer, withoutRequestId } from "./apiServer.ts"

const own = "a password of my own"

/** An organization with its administrator and what it can be asked. */
const world = Effect.gen(function* () {
  const api = yield* Api
  const organization = yield* addOrganization(`u-${randomUUID()}`)
  const token = yield* api.login(organization.email)
  const call = (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
    api.call(method, `/api/v1/${path}`, { token, body, ...(headers && { headers }) })
  const add = (email: string, role = "viewer", rest: object = {}) =>
    Effect.map(call("POST", "users", { email, name: "Somebody", role, ...rest }), (answer) => {
      assert.strictEqual(answer.status, 201, answer.text)
      return answer.body
    })
  const login = (email: string, password: string, organizationId?: string) =>
    api.call("POST", "/api/v1/auth/login", { body: { email, password, ...(organizationId && { organizationId }) } })
  const as = (token: string) => (method: string, path: string, body?: unknown) =>
    api.call(method, `/api/v1/${path}`, { token, body })
  return { ...organization, api, call, add, login, as, token }
})
const address = () => `${randomUUID()}@example.com`

layer(apiServer, { excludeTestServices: true })("users of an organization", (it) => {
  it.effect("somebody new signs in with the temporary password, and may do nothing but change it", () =>
    Effect.gen(function* () {
      const { add, as, login } = yield* world
      const email = address()
      const user = yield* add(email.toUpperCase(), "engineer")
      assert.deepInclude(user, { email, role: "engineer", status: "invited", lastLoginAt: null, version: 1 })
      const { body: session, status } = yield* login(email, user.temporaryPassword)
      assert.strictEqual(status, 200)
      const call = as(session.accessToken)
      assert.isTrue((yield* call("GET", "auth/me")).body.mustChangePassword)
      const refused = yield* call("GET", "devices")
      assert.strictEqual(refused.status, 403)
      assert.include(refused.body.detail, "/api/v1/auth/password")
      const change = (currentPassword: string, newPassword: string) =>
        call("PUT", "auth/password", { currentPassword, newPassword })
      assert.strictEqual((yield* change("not the present one", own)).status, 422)
      assert.strictEqual((yield* change(user.temporaryPassword, "short")).status, 422)
      assert.strictEqual((yield* change(user.temporaryPassword, user.temporaryPassword)).status, 422)
      const changed = yield* change(user.temporaryPassword, own)
      assert.strictEqual(changed.status, 200, changed.text)
      assert.strictEqual((yield* call("GET", "auth/me")).status, 401, "the session before has ended")
      assert.strictEqual((yield* as(changed.body.accessToken)("GET", "devices")).status, 200)
      assert.strictEqual((yield* login(email, user.temporaryPassword)).status, 401)
      assert.strictEqual((yield* login(email, own)).status, 200)
    })
  )

  it.effect("are listed, searched, changed by version and removed, and another organization's are not there", () =>
    Effect.gen(function* () {
      const { add, call } = yield* world
      const stranger = yield* world
      const email = address()
      const { temporaryPassword: _, ...user } = yield* add(email)
      yield* add(address(), "manager", { name: "Max Manager" })
      const page = yield* call("GET", "users?limit=1&sort=createdAt")
      assert.strictEqual(page.body.items.length, 1)
      const rest = yield* call("GET", `users?sort=createdAt&cursor=${page.body.nextCursor}`)
      assert.strictEqual(rest.body.items.length, 2)
      assert.deepStrictEqual((yield* call("GET", `users?q=${email.slice(0, 20)}`)).body.items, [user])
      assert.strictEqual((yield* call("GET", "users?role=manager")).body.items[0].name, "Max Manager")
      const shown = yield* call("GET", `users/${user.id}`)
      assert.strictEqual(shown.headers.get("etag"), '"1"')
      const changed = yield* call(
        "PATCH",
        `users/${user.id}`,
        { name: "Vera", role: "technician" },
        { "if-match": '"1"' }
      )
      assert.deepInclude(changed.body, { name: "Vera", role: "technician", version: 2 })
      assert.strictEqual((yield* call("PATCH", `users/${user.id}`, { name: "x" }, { "if-match": '"1"' })).status, 412)
      for (const [method, path, body] of [
        ["GET", ""],
        ["PATCH", "", { name: "mine" }],
        ["PUT", "", { name: "mine" }],
        ["DELETE", ""],
        ["PUT", "/password"]
      ] as const) {
        const there = yield* stranger.call(method, `users/${user.id}${path}`, body)
        const missing = yield* stranger.call(method, `users/${randomUUID()}${path}`, body)
        assert.strictEqual(there.status, 404, `${method} ${path}`)
        assert.deepStrictEqual(withoutRequestId(there.body), withoutRequestId(missing.body))
      }
      assert.strictEqual((yield* stranger.call("GET", "users")).body.items.length, 1)
      assert.strictEqual((yield* call("DELETE", `users/${user.id}`)).status, 204)
      assert.strictEqual((yield* call("GET", `users/${user.id}`)).status, 404)
    })
  )

  it.effect("adding an address that has an account elsewhere is answered like a new one, and opens it nothing", () =>
    Effect.gen(function* () {
      const { add, call, login, organizationId } = yield* world
      const elsewhere = yield* world
      const fresh = yield* add(address())
      const member = yield* add(elsewhere.email)
      const shape = (user: object) =>
        Object.entries(user).map(([key, value]) => `${key} ${value === null ? null : typeof value}`)
      assert.deepStrictEqual(shape(member), shape(fresh))
      assert.deepInclude(member, { status: "invited", lastLoginAt: null, version: 1, name: "Somebody" })
      assert.strictEqual(
        (yield* call("POST", "users", { email: elsewhere.email, name: "x", role: "viewer" })).status,
        409
      )
      // Neither the password given here nor the account's own opens this organization.
      assert.strictEqual((yield* login(elsewhere.email, member.temporaryPassword)).status, 401)
      assert.strictEqual((yield* login(elsewhere.email, adminPassword, organizationId)).status, 401)
      assert.strictEqual((yield* elsewhere.call("POST", "auth/switch", { organizationId })).status, 404)
      assert.deepStrictEqual((yield* elsewhere.call("GET", "auth/me")).body.invitations, [organizationId])
      const join = (password: string) => elsewhere.call("POST", "auth/join", { organizationId, password })
      assert.strictEqual((yield* join("not the one")).status, 404)
      const joined = yield* join(member.temporaryPassword)
      assert.strictEqual(joined.status, 200, joined.text)
      assert.strictEqual((yield* join(member.temporaryPassword)).status, 404)
      const me = yield* elsewhere.as(joined.body.accessToken)("GET", "auth/me")
      assert.deepInclude(me.body, { organizationId, role: "viewer", mustChangePassword: false, invitations: [] })
      assert.strictEqual((yield* login(elsewhere.email, adminPassword, organizationId)).status, 200)
      assert.strictEqual((yield* call("GET", `users/${member.id}`)).body.status, "active")
    })
  )

  it.effect("who belongs to two organizations gets no password from either, only from the platform", () =>
    Effect.gen(function* () {
      const here = yield* world
      const elsewhere = yield* world
      const person = yield* elsewhere.add(address(), "viewer", { password: "a temporary password" })
      const member = yield* here.add(person.email)
      const { body: session } = yield* here.login(person.email, "a temporary password")
      const join = { organizationId: here.organizationId, password: member.temporaryPassword }
      assert.strictEqual((yield* here.as(session.accessToken)("POST", "auth/join", join)).status, 200)
      const path = `users/${person.id}/password`
      assert.strictEqual((yield* here.call("PUT", path)).status, 403)
      assert.strictEqual((yield* elsewhere.call("PUT", path)).status, 403)
      yield* (yield* OwnerSql)`update users set is_platform_admin = true where id = ${here.userId}`
      const platform = here.as(yield* here.api.login(here.email))
      assert.strictEqual((yield* platform("PUT", path)).status, 200)
    })
  )

  it.effect(
    "a temporary password ends the sessions; one of the platform's administrator is not for others to set",
    () =>
      Effect.gen(function* () {
        const { add, as, call, email, login, userId } = yield* world
        const user = yield* add(address(), "viewer", { password: "a temporary password" })
        assert.isNull(user.temporaryPassword)
        const { body: session } = yield* login(user.email, "a temporary password")
        const set = yield* call("PUT", `users/${user.id}/password`, { password: "another temporary one" })
        assert.strictEqual(set.status, 200, set.text)
        assert.strictEqual((yield* as(session.accessToken)("GET", "auth/me")).status, 401)
        assert.strictEqual((yield* login(user.email, "another temporary one")).status, 200)
        assert.strictEqual((yield* call("PUT", `users/${user.id}/password`, { password: "password1234" })).status, 422)
        yield* (yield* OwnerSql)`update users set is_platform_admin = true where id = ${user.id}`
        assert.strictEqual((yield* call("PUT", `users/${user.id}/password`)).status, 403)
        assert.notStrictEqual(user.id, userId, email)
      })
  )

  it.effect("the last administrator is neither removed nor demoted nor disabled, also by two at the same time", () =>
    Effect.gen(function* () {
      const { add, as, call, login, userId } = yield* world
      for (const [method, body] of [
        ["DELETE", undefined],
        ["PATCH", { role: "viewer" }],
        ["PATCH", { status: "disabled" }]
      ] as const) {
        const answer = yield* call(method, `users/${userId}`, body)
        assert.strictEqual(answer.status, 409, answer.text)
        assert.include(answer.body.detail, "last administrator")
      }
      const second = yield* add(address(), "admin", { password: "a temporary password" })
      const { body: session } = yield* login(second.email, "a temporary password")
      const changed = yield* as(session.accessToken)("PUT", "auth/password", {
        currentPassword: "a temporary password",
        newPassword: own
      })
      const other = as(changed.body.accessToken)
      // Both are held up until both are under way.
      const sql = yield* OwnerSql
      const isHeld = yield* Deferred.make<void>()
      const demotion = { role: "viewer" }
      const [, ...answers] = yield* Effect.all(
        [
          sql`select from memberships where tenant_id = ${second.organizationId} for update`.pipe(
            Effect.andThen(Deferred.succeed(isHeld, undefined)),
            Effect.andThen(Effect.sleep(500)),
            sql.withTransaction
          ),
          Effect.andThen(Deferred.await(isHeld), call("PATCH", `users/${second.id}`, demotion)),
          Effect.andThen(Deferred.await(isHeld), other("PATCH", `users/${userId}`, demotion))
        ],
        { concurrency: 3 }
      )
      assert.isTrue(answers.some(({ status }) => status !== 200))
      const admins = yield* sql`select from memberships
        where tenant_id = ${second.organizationId} and role = 'admin'`
      assert.strictEqual(admins.length, 1)
    })
  )

  it.effect("a demoted administrator loses what the role allowed at once", () =>
    Effect.gen(function* () {
      const { add, as, call, login } = yield* world
      const user = yield* add(address(), "admin", { password: "a temporary password" })
      const { body: first } = yield* login(user.email, "a temporary password")
      const { body: session } = yield* as(first.accessToken)("PUT", "auth/password", {
        currentPassword: "a temporary password",
        newPassword: own
      })
      assert.strictEqual((yield* as(session.accessToken)("GET", "users")).status, 200)
      yield* call("PATCH", `users/${user.id}`, { role: "viewer" })
      assert.strictEqual((yield* as(session.accessToken)("GET", "users")).status, 401)
      const { body: refreshed } = yield* call("POST", "auth/refresh", { refreshToken: session.refreshToken })
      assert.strictEqual((yield* as(refreshed.accessToken)("GET", "users")).status, 403)
      assert.strictEqual((yield* as(refreshed.accessToken)("GET", "devices")).status, 200)
    })
  )

  it.effect("what a body names beside its schema is ignored: nobody makes himself more, or somebody else's", () =>
    Effect.gen(function* () {
      const { add, call, organizationId, userId } = yield* world
      const other = yield* world
      const extra = {
        isPlatformAdmin: true,
        is_platform_admin: true,
        tenantId: other.organizationId,
        organizationId: other.organizationId,
        tenant_id: other.organizationId,
        isExternal: true,
        id: randomUUID(),
        version: 99
      }
      const user = yield* add(address(), "viewer", extra)
      assert.deepInclude(user, { organizationId, isExternal: false, version: 1 })
      assert.notStrictEqual(user.id, extra.id)
      for (const id of [user.id, userId]) {
        const changed = yield* call("PATCH", `users/${id}`, { name: "Same", ...extra })
        assert.strictEqual(changed.status, 200)
        assert.strictEqual(changed.body.organizationId, organizationId)
      }
      yield* call("PATCH", "organization", { name: "Same", status: "suspended", slug: "mine", ...extra })
      const sql = yield* OwnerSql
      const admins = yield* sql`select from users where is_platform_admin and id = any(${[user.id, userId]}::uuid[])`
      assert.strictEqual(admins.length, 0)
      const shown = yield* call("GET", "organization")
      assert.deepInclude(shown.body, { id: organizationId, name: "Same", status: "active" })
      assert.notStrictEqual(shown.body.slug, "mine")
    })
  )

  it.effect("who belongs nowhere any more is added like somebody new", () =>
    Effect.gen(function* () {
      const { add, call, login } = yield* world
      const other = yield* world
      const email = address()
      const first = yield* add(email)
      yield* call("DELETE", `users/${first.id}`)
      assert.strictEqual((yield* login(email, first.temporaryPassword)).status, 401)
      const second = yield* other.add(email)
      assert.strictEqual((yield* login(email, first.temporaryPassword)).status, 401)
      assert.strictEqual((yield* login(email, second.temporaryPassword)).status, 200)
    })
  )
})

layer(apiServer, { excludeTestServices: true })("organizations", (it) => {
  it.effect("are added by the platform with their first administrator, suspended, and let in again", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const call = (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
        api.call(method, `/api/v1/organizations${path}`, { token, body, ...(headers && { headers }) })
      const email = address()
      const created = yield* call("POST", "", { name: "Zürich Süd", admin: { email, name: "Ada" } })
      assert.strictEqual(created.status, 201, created.text)
      const { admin, ...organization } = created.body
      assert.match(organization.slug, /^zurich-sud-[0-9a-f]{6}$/)
      assert.deepInclude(admin, { email, role: "admin", organizationId: organization.id })
      const again = yield* call("POST", "", {
        name: "x",
        slug: organization.slug,
        admin: { email: address(), name: "A" }
      })
      assert.strictEqual(again.status, 409)
      assert.strictEqual(again.body.errors[0].path, "slug")
      assert.deepStrictEqual((yield* call("GET", `?q=${organization.slug}`)).body.items, [organization])
      assert.deepStrictEqual((yield* call("GET", `/${organization.id}`)).body, organization)
      assert.strictEqual((yield* call("GET", `/${randomUUID()}`)).status, 404)

      const login = api.call("POST", "/api/v1/auth/login", { body: { email, password: admin.temporaryPassword } })
      const session = yield* login
      assert.strictEqual(session.status, 200)
      const suspended = yield* call("PATCH", `/${organization.id}`, { status: "suspended" }, { "if-match": '"1"' })
      assert.strictEqual(suspended.body.status, "suspended")
      const me = yield* api.call("GET", "/api/v1/auth/me", { token: session.body.accessToken })
      assert.strictEqual(me.status, 401)
      assert.strictEqual((yield* login).status, 401)
      yield* call("PATCH", `/${organization.id}`, { status: "active" })
      assert.strictEqual((yield* login).status, 200)
      const refresh = yield* api.call("POST", "/api/v1/auth/refresh", {
        body: { refreshToken: session.body.refreshToken }
      })
      assert.strictEqual(refresh.status, 401, "an ended session does not come back")
    })
  )

  it.effect("are not for the administrators of one, and the one that somebody acts in is not suspended", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const { call, organizationId } = yield* world
      assert.strictEqual((yield* call("GET", "organizations")).status, 403)
      assert.strictEqual((yield* call("PATCH", `organizations/${organizationId}`, { status: "suspended" })).status, 403)
      const token = yield* api.login()
      const path = `/api/v1/organizations/${api.firstDevice.organizationId}`
      assert.strictEqual((yield* api.call("PATCH", path, { token, body: { status: "suspended" } })).status, 409)
    })
  )

  it.effect("are changed by their administrators in name and settings, on the version that they have seen", () =>
    Effect.gen(function* () {
      const { add, as, call, login } = yield* world
      const settings = { locale: "de-CH", theme: { dark: true } }
      const changed = yield* call("PATCH", "organization", { name: "Acme", settings }, { "if-match": '"1"' })
      assert.strictEqual(changed.status, 200, changed.text)
      assert.deepInclude(changed.body, { name: "Acme", settings, version: 2 })
      assert.strictEqual((yield* call("PATCH", "organization", { name: "x" }, { "if-match": '"1"' })).status, 412)
      const user = yield* add(address(), "engineer", { password: "a temporary password" })
      const { body } = yield* login(user.email, "a temporary password")
      assert.strictEqual((yield* as(body.accessToken)("PATCH", "organization", { name: "x" })).status, 403)
    })
  )
})
