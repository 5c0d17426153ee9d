import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Redacted, Schedule } from "effect"
import { Reactivity } from "effect/reactivity"
import { inject } from "vitest"
import { TestDatabase } from "../../support/postgres.ts"
import { adminEmail, adminPassword, Api, apiServer } from "./apiServer.ts"

/** Shuts the test's database to everybody and ends its connections, or opens it again. */
const setOpen = (isOpen: boolean) =>
  Effect.gen(function* () {
    const { name } = yield* TestDatabase
    const sql = yield* PgClient.makeClient({ url: Redacted.make(`${inject("postgres").superuser}postgres`) })
    yield* sql.unsafe(`alter database ${name} with allow_connections ${isOpen}`)
    if (!isOpen) yield* sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name}`
  }).pipe(Effect.scoped, Effect.provide(Reactivity.layer))

layer(apiServer, { excludeTestServices: true })("while the database is away", (it) => {
  it.effect("ready is 503 and names it, requests are refused as unavailable, and all is well when it is back", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const { body: ended } = yield* api.call("POST", "/api/v1/auth/login", {
        body: { email: adminEmail, password: adminPassword }
      })
      yield* api.call("POST", "/api/v1/auth/logout", { body: { refreshToken: ended.refreshToken } })
      yield* setOpen(false)
      const ready = yield* api.call("GET", "/ready")
      assert.strictEqual(ready.status, 503, ready.text)
      assert.strictEqual(ready.body.status, "not ready")
      const states = Object.fromEntries(
        ready.body.dependencies.map(({ name, state }: Record<string, string>) => [name, state])
      )
      assert.deepStrictEqual(states, { database: "down", bus: "up", consumers: "up" })
      assert.notMatch(ready.text, /postgres|test_|connect/i, "nothing of the inside")
      assert.strictEqual((yield* api.call("GET", "/health")).status, 200)

      const refused = [
        yield* api.call("GET", "/api/v1/devices", { token }),
        yield* api.call("GET", `/api/v1/telemetry/device/${api.firstDevice.deviceId}/latest`, { token }),
        yield* api.call("POST", "/api/v1/device-types", { token, body: { name: "x" } }),
        yield* api.call("POST", "/api/v1/auth/login", { body: { email: "a@b", password: "c" } })
      ]
      for (const answer of refused) {
        assert.strictEqual(answer.status, 503, answer.text)
        assert.strictEqual(answer.body.type, "urn:argusiq:problem:unavailable")
        assert.notMatch(answer.text, /postgres|test_/i)
      }

      // Nothing can end a session meanwhile: those in force go on, those that had ended stay refused.
      assert.strictEqual((yield* api.call("GET", "/api/v1/topics", { token })).status, 200)
      assert.strictEqual((yield* api.call("GET", "/api/v1/topics", { token: ended.accessToken })).status, 401)

      yield* setOpen(true)
      yield* api.call("GET", "/ready").pipe(
        Effect.filterOrFail(({ status }) => status === 200),
        Effect.retry(Schedule.max([Schedule.spaced("50 millis"), Schedule.recurs(100)]))
      )
      assert.strictEqual((yield* api.call("GET", "/api/v1/devices", { token })).status, 200)
    })
  )
})
