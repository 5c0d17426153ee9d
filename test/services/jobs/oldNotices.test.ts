import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { OwnerSql } from "../../../layers/database/Sql.ts"
import { removeOldNotices } from "../../../services/jobs/oldNotices.ts"
import { insertOrganization } from "../../layers/profiles/registry.ts"
import { testDatabase } from "../../support/postgres.ts"

const DAY = 86_400_000

layer(testDatabase, { excludeTestServices: true })("notifications and webhook deliveries", (it) => {
  it.effect("are removed when they are over and older than is kept", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const tenantId = yield* insertOrganization()
      const notify = Effect.fnUntraced(function* (state: string, age: string) {
        const id = randomUUID()
        yield* sql`insert into notifications (id, tenant_id, source_id, channel, recipients, title, body, severity, state, created_at)
          values (${id}, ${tenantId}, ${randomUUID()}, 'in_app', '{}', 't', 'b', 'info', ${state}, now() - ${age}::interval)`
        return id
      })
      const deliver = Effect.fnUntraced(function* (state: string, age: string) {
        const id = randomUUID()
        yield* sql`insert into webhook_deliveries (id, tenant_id, event_id, event_type, url, body, state, created_at)
          values (${id}, ${tenantId}, ${randomUUID()}, 'e', 'https://example.com', '{}', ${state}, now() - ${age}::interval)`
        return id
      })
      const kept = [
        yield* notify("delivered", "89 days"),
        yield* notify("pending", "91 days"),
        yield* deliver("failed", "89 days"),
        yield* deliver("pending", "91 days")
      ]
      yield* notify("delivered", "91 days")
      yield* notify("off", "91 days")
      yield* deliver("delivered", "91 days")
      assert.strictEqual(yield* removeOldNotices(sql, 90 * DAY), 3)
      const left = yield* sql<{ id: string }>`select id from notifications union all select id from webhook_deliveries`
      assert.sameMembers(
        left.map(({ id }) => id),
        kept
      )
    })
  )
})
