/**
 * What left an organization by e-mail and webhook, and the secret that signs its webhooks.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type EmailDelivery,
  type EmailDeliveryQuery,
  type WebhookDelivery,
  type WebhookDeliveryQuery,
  type WebhookSecret
} from "@argusiq/domain/http/notifications.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "../registry/Devices.ts"
import { type Page, readPage } from "../registry/paging.ts"
import { type BadCursor, NotRegistered, orUnavailable, WrongState } from "../registry/refusals.ts"
import { newSecret, OVERLAP, secretOf } from "./webhookSecrets.ts"

interface Attempted {
  readonly id: string
  readonly attempts: number
  readonly next_at: Date
  readonly error: string | null
  readonly created_at: Date
  readonly ended_at: Date | null
  readonly sorted: string
}
interface EmailRow extends Attempted {
  readonly event_id: string | null
  readonly activity_id: string | null
  readonly title: string
  readonly body: string
  readonly severity: EmailDelivery["severity"]
  readonly state: EmailDelivery["state"]
  readonly recipients: ReadonlyArray<string>
  readonly delivered_to: ReadonlyArray<string>
  readonly refused: ReadonlyArray<string>
}
interface WebhookRow extends Attempted {
  readonly event_id: string
  readonly event_type: string
  readonly url: string
  readonly state: WebhookDelivery["state"]
  readonly last_status: number | null
}

const attemptsOf = (row: Attempted & { readonly state: string }) => ({
  attempts: row.attempts,
  nextAt: row.state === "pending" ? row.next_at.toISOString() : null,
  error: row.error,
  createdAt: row.created_at.toISOString(),
  endedAt: row.ended_at?.toISOString() ?? null
})
const toEmail = (row: EmailRow): EmailDelivery => ({
  id: row.id,
  eventId: row.event_id,
  activityId: row.activity_id,
  title: row.title,
  body: row.body,
  severity: row.severity,
  state: row.state,
  recipients: row.recipients,
  deliveredTo: row.delivered_to,
  refused: row.refused,
  ...attemptsOf(row)
})
const toWebhook = (row: WebhookRow): WebhookDelivery => ({
  id: row.id,
  eventId: row.event_id,
  eventType: row.event_type,
  url: row.url,
  state: row.state,
  lastStatus: row.last_status,
  ...attemptsOf(row)
})

export class Deliveries extends Context.Service<
  Deliveries,
  {
    /** The newest first, as the other list. */
    emails(actor: Actor, query: EmailDeliveryQuery): Effect.Effect<Page<EmailDelivery>, BadCursor | DatabaseUnavailable>
    webhooks(
      actor: Actor,
      query: WebhookDeliveryQuery
    ): Effect.Effect<Page<WebhookDelivery>, BadCursor | DatabaseUnavailable>
    /** Of one that has failed; its 24 hours begin again. */
    retryWebhook(
      actor: Actor,
      id: string
    ): Effect.Effect<WebhookDelivery, NotRegistered | WrongState | DatabaseUnavailable>
    secret(actor: Actor): Effect.Effect<WebhookSecret, DatabaseUnavailable>
    changeSecret(actor: Actor): Effect.Effect<WebhookSecret, DatabaseUnavailable>
  }
>()("argusiq/layers/notifications/Deliveries") {
  static readonly layer = Layer.effect(
    Deliveries,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const selectEmails = (where: Fragment, rest: Fragment, sorted: Fragment) =>
        sql<EmailRow>`select item.*, ${sorted} as sorted from notifications item where channel = 'email' and ${where} ${rest}`
      const selectWebhooks = (where: Fragment, rest: Fragment, sorted: Fragment) =>
        sql<WebhookRow>`select item.*, ${sorted} as sorted from webhook_deliveries item where ${where} ${rest}`

      const emails = Effect.fn("Deliveries.emails")((actor: Actor, { state, ...query }: EmailDeliveryQuery) => {
        const filters = state === undefined ? [] : [sql`item.state = ${state}`]
        const found = (...clauses: Parameters<typeof selectEmails>) =>
          selectEmails(...clauses).pipe(scoped(actor), orUnavailable)
        return readPage(sql, { ...query, sort: "-createdAt" }, filters, found, toEmail)
      })

      const webhooks = Effect.fn("Deliveries.webhooks")((
        actor: Actor,
        { eventId, state, ...query }: WebhookDeliveryQuery
      ) => {
        const filters = [
          ...(state === undefined ? [] : [sql`item.state = ${state}`]),
          ...(eventId === undefined ? [] : [sql`item.event_id = ${eventId}::uuid`])
        ]
        const found = (...clauses: Parameters<typeof selectWebhooks>) =>
          selectWebhooks(...clauses).pipe(scoped(actor), orUnavailable)
        return readPage(sql, { ...query, sort: "-createdAt" }, filters, found, toWebhook)
      })

      const retryWebhook = Effect.fn("Deliveries.retryWebhook")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          const read = (rest: string) =>
            selectWebhooks(sql`item.id = ${id}::uuid`, sql.literal(rest), sql.literal("''"))
          const [present] = yield* read("for update")
          if (present === undefined) return yield* new NotRegistered({ what: "webhook delivery" })
          if (present.state !== "failed") {
            return yield* new WrongState({
              message: `The webhook is ${present.state}: only a failed one is sent again.`
            })
          }
          yield* sql`update webhook_deliveries set state = 'pending', next_at = now(), first_attempt_at = null,
              ended_at = null where id = ${id}::uuid`
          const [row] = yield* read("")
          return row === undefined ? yield* new NotRegistered({ what: "webhook delivery" }) : toWebhook(row)
        }).pipe(scoped(actor), orUnavailable)
      )

      const shown = (actor: Actor) =>
        Effect.map(secretOf(sql, actor.tenantId), ({ previous_until, secret }): WebhookSecret => ({
          secret,
          previousUntil: previous_until?.toISOString() ?? null
        }))
      const secret = Effect.fn("Deliveries.secret")((actor: Actor) => shown(actor).pipe(scoped(actor), orUnavailable))
      const changeSecret = Effect.fn("Deliveries.changeSecret")((actor: Actor) =>
        Effect.gen(function* () {
          yield* secretOf(sql, actor.tenantId)
          yield* sql`update webhook_secrets set previous = secret, previous_until = now() + ${OVERLAP}::interval,
              secret = ${newSecret()}, updated_at = now()
            where tenant_id = ${actor.tenantId}::uuid`
          return yield* shown(actor)
        }).pipe(scoped(actor), orUnavailable)
      )

      return Deliveries.of({ emails, webhooks, retryWebhook, secret, changeSecret })
    })
  )
}
