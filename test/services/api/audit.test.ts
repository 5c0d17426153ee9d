import { assert, layer } from "@effect/vitest"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { addOrganization, adminEmail, Api, apiServer } from "./apiServer.ts"

const path = "/api/v1/audit-log"
interface Item {
  readonly id: string
  readonly action: string
  readonly count: number
  readonly [member: string]: unknown
}

const query = (of: Readonly<Record<string, string>>) => `${path}?${new URLSearchParams(of)}`

const untilFound = Effect.fnUntraced(function* (token: string, of: Readonly<Record<string, string>>) {
  const api = yield* Api
  for (let tried = 0; tried < 50; tried++) {
    const { body } = yield* api.call("GET", query(of), { token })
    if (body.items.length > 0) return body.items as ReadonlyArray<Item>
    yield* Effect.sleep("100 millis")
  }
  throw new Error(`nothing in the audit log for ${JSON.stringify(of)}`)
})

layer(apiServer, { excludeTestServices: true })("GET /audit-log", (it) => {
  it.effect("tells of a change by whom, for which request, from where, and what it changed", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const { body: me } = yield* api.call("GET", "/api/v1/auth/me", { token })
      const { deviceId, organizationId } = api.firstDevice
      const headers = { "x-request-id": `test:${randomUUID()}` }
      const body = { name: "Boiler 7" }
      const changed = yield* api.call("PATCH", `/api/v1/devices/${deviceId}`, { token, body, headers })
      assert.strictEqual(changed.status, 200)
      assert.strictEqual(changed.headers.get("x-request-id"), headers["x-request-id"])
      const found = yield* api.call("GET", query({ requestId: headers["x-request-id"] }), { token })
      const [{ before, id, occurredAt, ...entry }] = found.body.items
      assert.isString(id)
      assert.isAtMost(Math.abs(Date.parse(occurredAt) - Date.now()), 60_000)
      assert.hasAllKeys(before, ["name"])
      assert.deepStrictEqual(entry, {
        organizationId,
        actor: { kind: "user", id: me.userId },
        action: "changed",
        entityType: "device",
        entityId: deviceId,
        after: { name: "Boiler 7" },
        requestId: headers["x-request-id"],
        address: "127.0.0.1",
        count: 1
      })
    })
  )

  it.effect(
    "finds entries by actor, entity, action and time, page by page, and says what is wrong with a question",
    () =>
      Effect.gen(function* () {
        const api = yield* Api
        const token = yield* api.login()
        const { body: me } = yield* api.call("GET", "/api/v1/auth/me", { token })
        const spaces: Array<string> = []
        for (let index = 0; index < 7; index++) {
          const body = { name: `Hall ${index}`, kind: "site" }
          spaces.push((yield* api.call("POST", "/api/v1/spaces", { token, body })).body.id)
        }
        yield* api.call("DELETE", `/api/v1/spaces/${spaces[3]}`, { token })
        const paged: Array<Item> = []
        for (let cursor = ""; ;) {
          const { body } = yield* api.call(
            "GET",
            `${query({ entityType: "space", action: "created" })}&limit=3${cursor}`,
            {
              token
            }
          )
          paged.push(...body.items)
          if (body.nextCursor === null) break
          cursor = `&cursor=${body.nextCursor}`
        }
        assert.deepStrictEqual(
          paged.map((item) => item["entityId"]),
          spaces.toReversed()
        )
        const list = (of: Readonly<Record<string, string>>) =>
          Effect.map(api.call("GET", query(of), { token }), ({ body }) => body.items as ReadonlyArray<Item>)
        const ofOne = yield* list({ entityId: spaces[3]!, sort: "occurredAt" })
        assert.deepStrictEqual(
          ofOne.map(({ action }) => action),
          ["created", "removed"]
        )
        assert.strictEqual((yield* list({ actor: me.userId, entityId: spaces[3]! })).length, 2)
        assert.strictEqual((yield* list({ actor: randomUUID() })).length, 0)
        assert.strictEqual((yield* list({ actor: "device" })).length, 0)
        const removedAt = String(ofOne[1]!["occurredAt"])
        assert.strictEqual((yield* list({ entityId: spaces[3]!, from: removedAt })).length, 1)
        assert.strictEqual((yield* list({ entityId: spaces[3]!, to: removedAt })).length, 1)
        for (const wrong of ["limit=0", "from=yesterday", "actor=me", "cursor=7", "sort=name"]) {
          assert.strictEqual((yield* api.call("GET", `${path}?${wrong}`, { token })).status, 400, wrong)
        }
      })
  )

  it.effect("answers with CSV where that is asked for, without a limit, and harmless to a spreadsheet", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const sql = yield* OwnerSql
      const { organizationId } = api.firstDevice
      const run = randomUUID()
      yield* sql`insert into audit_log (tenant_id, actor_kind, action, entity_type, entity_id, after)
        select ${organizationId}::uuid, 'system', ${run}, 'sheet', '=1+' || n, '{"a": "x,y"}' from generate_series(1, 1234) n`
      const { headers, text } = yield* api.call("GET", query({ action: run }), {
        token,
        headers: { accept: "text/csv" }
      })
      assert.include(headers.get("content-type"), "text/csv")
      const [header, ...lines] = text.split("\r\n")
      assert.match(header!, /^occurredAt,organizationId,actorKind,/)
      assert.strictEqual(lines.pop(), "")
      assert.strictEqual(lines.length, 1234)
      assert.match(lines[0]!, /,sheet,'=1\+\d+,,"\{""a"":""x,y""\}",,,1$/)
      const limited = yield* api.call("GET", `${query({ action: run })}&limit=501`, { token })
      assert.strictEqual(limited.status, 400)
      const some = yield* api.call("GET", `${query({ action: run })}&limit=7`, {
        token,
        headers: { accept: "text/csv" }
      })
      assert.strictEqual(some.text.split("\r\n").length, 9)
    })
  )

  it.effect(
    "is for administrators; each sees the own organization, who operates the platform also what belongs to none",
    () =>
      Effect.gen(function* () {
        const api = yield* Api
        const operator = yield* api.login()
        const one = yield* addOrganization("one")
        const engineer = yield* addOrganization("two", "engineer")
        const admin = yield* api.login(one.email)
        const unprivileged = yield* api.login(engineer.email)
        assert.strictEqual((yield* api.call("GET", path, { token: unprivileged })).status, 403)
        const [refused] = yield* untilFound(operator, { action: "sign_in_succeeded", entityId: adminEmail })
        assert.include(refused, { organizationId: api.firstDevice.organizationId })
        const seen = yield* api.call("GET", path, { token: admin })
        assert.deepStrictEqual(
          [...new Set(seen.body.items.map((item: Item) => item["organizationId"]))],
          [one.organizationId]
        )
        yield* api.call("POST", "/api/v1/auth/login", {
          body: { email: "nobody@example.com", password: "wrong password" }
        })
        const [unowned] = yield* untilFound(operator, { action: "sign_in_refused", entityId: "nobody@example.com" })
        assert.include(unowned, { organizationId: null, address: "127.0.0.1", entityType: "account" })
        const hidden = yield* api.call("GET", query({ entityId: "nobody@example.com" }), { token: admin })
        assert.deepStrictEqual(hidden.body.items, [])
      })
  )

  it.effect("guessing leaves one entry at once and one with the count, not one for each guess", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const { email, organizationId } = yield* addOrganization("guessed")
      for (let guess = 0; guess < 12; guess++) {
        yield* api.call("POST", "/api/v1/auth/login", { body: { email, password: `guess number ${guess}` } })
      }
      const sql = yield* OwnerSql
      yield* Effect.sleep("1 second")
      const entries =
        yield* sql`select action, tenant_id, count from audit_log where entity_id = ${email} order by occurred_at`
      assert.deepStrictEqual(entries, [
        { action: "sign_in_refused", tenant_id: organizationId, count: 1 },
        { action: "sign_in_locked", tenant_id: organizationId, count: 1 }
      ])
      assert.isString(token)
    })
  )

  it.effect("tells of sessions that end, of a refresh token used twice, and of permissions that were missing", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const { email, organizationId, userId } = yield* addOrganization("sessions", "viewer")
      const operator = yield* OwnerSql
      const login = { body: { email, password: "correct horse battery" } }
      const first = (yield* api.call("POST", "/api/v1/auth/login", login)).body
      const refresh = { body: { refreshToken: first.refreshToken } }
      yield* api.call("POST", "/api/v1/auth/refresh", refresh)
      yield* api.call("POST", "/api/v1/auth/refresh", refresh)
      const second = (yield* api.call("POST", "/api/v1/auth/login", login)).body
      yield* api.call("GET", path, { token: second.accessToken })
      yield* api.call("POST", "/api/v1/auth/logout", { body: { refreshToken: second.refreshToken } })
      yield* Effect.sleep("1 second")
      const entries = yield* operator`select action, actor_kind, actor_id, entity_type, entity_id from audit_log
        where tenant_id = ${organizationId} and action not in ('created', 'changed') order by occurred_at`
      const user = { actor_kind: "user", actor_id: userId }
      assert.sameDeepMembers(
        [...entries],
        [
          { action: "sign_in_succeeded", ...user, entity_type: "account", entity_id: email },
          {
            action: "refresh_token_reused",
            actor_kind: "system",
            actor_id: null,
            entity_type: "user",
            entity_id: userId
          },
          { action: "signed_out", ...user, entity_type: "user", entity_id: userId },
          { action: "permission_refused", ...user, entity_type: "permission", entity_id: "audit:read" }
        ]
      )
    })
  )
})
