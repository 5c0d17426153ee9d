import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import { OwnerSql } from "../../../layers/database/Sql.ts"
import { removeExpiredSessions } from "../../../services/jobs/expiredSessions.ts"
import { testDatabase } from "../../support/postgres.ts"

layer(testDatabase, { excludeTestServices: true })("sessions", (it) => {
  it.effect("are removed with their refresh tokens when they have expired, ended ones too, and not before", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const [organization, user] = [randomUUID(), randomUUID()]
      yield* sql`insert into organizations (id, name, slug) values (${organization}, 'o', 'o')`
      yield* sql`insert into users (id, email, name, password_hash) values (${user}, 'a@b', 'a', 'x')`
      const session = Effect.fnUntraced(function* (expiresIn: string, ended: boolean) {
        const id = randomUUID()
        yield* sql`insert into sessions (id, user_id, tenant_id, expires_at, ended_at)
          values (${id}, ${user}, ${organization}, now() + ${expiresIn}::interval, ${ended ? new Date() : null})`
        for (const age of ["-1 day", "1 day"]) {
          yield* sql`insert into refresh_tokens (id, user_id, tenant_id, family, token_hash, expires_at)
            values (${randomUUID()}, ${user}, ${organization}, ${id}, ${randomBytes(32)}, now() + ${age}::interval)`
        }
        return id
      })
      const kept = [yield* session("1 minute", false), yield* session("1 minute", true)]
      yield* session("-1 second", false)
      yield* session("-1 second", true)
      assert.strictEqual(yield* removeExpiredSessions(sql), 2)
      const left = yield* sql<{ id: string; tokens: number }>`
        select sessions.id, count(*)::int as tokens from sessions join refresh_tokens on family = sessions.id group by 1`
      assert.sameDeepMembers(
        [...left],
        kept.map((id) => ({ id, tokens: 2 }))
      )
      assert.strictEqual(yield* removeExpiredSessions(sql), 0)
    })
  )
})
