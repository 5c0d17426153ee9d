/**
 * What an organization's webhooks are signed with: made when it is first needed.
 * @module
 */
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { randomBytes } from "node:crypto"

type Sql = SqlClient.SqlClient

/** How long both are used after a change. */
export const OVERLAP = "24 hours"

export const newSecret = (): string => `whsec_${randomBytes(32).toString("base64url")}`

export interface SecretRow {
  readonly secret: string
  readonly previous: string | null
  readonly previous_until: Date | null
}

/** The present secret, and the one before it as long as it is used. */
export const secretOf = Effect.fnUntraced(function* (sql: Sql, tenantId: string) {
  const read = sql<SecretRow>`
    select secret, case when previous_until > now() then previous end as previous,
      case when previous_until > now() then previous_until end as previous_until
    from webhook_secrets where tenant_id = ${tenantId}::uuid`
  const [present] = yield* read
  if (present !== undefined) return present
  yield* sql`insert into webhook_secrets (tenant_id, secret) values (${tenantId}::uuid, ${newSecret()})
    on conflict do nothing`
  const [made] = yield* read
  return made ?? (yield* Effect.die(new Error(`Organization ${tenantId} has no webhook secret although one was made`)))
})
