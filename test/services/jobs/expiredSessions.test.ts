import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import { OwnerSql } from "../../../layers/database/Sql.ts"
import { removeExpiredSessions } from "../../../services/jobs/expiredSessions.ts"
import { testDatabase } from "../../support/postgres.ts"

layer(testDatabase, { excludeTestServices: true })("refresh tokens", (it) => {
  it.effect("are removed when they have expired, revoked ones when their whole session has", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const [organization, user] = [randomUUID(), randomUUID()]
      yield* sql`insert into organizations (id, name, slug) values (${organization}, 'o', 'o')`
      yield* sql`insert into users (id, email, name, password_hash) values (${user}, 'a@b', 'a', 'x')`
      const token = Effect.fnUntraced(function* (family: string, expiresIn: string, revoked: boolean) {
        const id = randomUUID()
        yield* sql`insert into refresh_tokens (id, user_id, tenant_id, family, token_hash, expires_at, revoked_at)
          values (${id}, ${user}, ${organization}, ${family}, ${randomBytes(32)}, now() + ${expiresIn}::interval,
            ${revoked ? new Date() : null})`
        return id
      })
      const [living, revoked, over] = [randomUUID(), randomUUID(), randomUUID()]
      yield* token(living, "-1 second", false)
      const kept = [
        yield* token(living, "1 day", false),
        yield* token(revoked, "-1 second", true),
        yield* token(revoked, "1 minute", false)
      ]
      yield* token(over, "-2 days", true)
      yield* token(over, "-1 day", true)
      assert.strictEqual(yield* removeExpiredSessions(sql), 3)
      const left = yield* sql<{ id: string }>`select id from refresh_tokens`
      assert.sameMembers(
        left.map(({ id }) => id),
        kept
      )
      assert.strictEqual(yield* removeExpiredSessions(sql), 0)
    })
  )
})
