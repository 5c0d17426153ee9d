/**
 * Notifications: what the caller is told of in the application; and what leaves by e-mail and webhook.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Severity } from "../system-event.ts"
import { Conflict, InvalidRequest, NotFound } from "./problems.ts"
import { Cursor, idParams, IsoInstant, limit, page } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const told = {
  id: Uuid,
  eventId: Schema.NullOr(Uuid),
  activityId: Schema.NullOr(Uuid),
  title: Schema.String,
  body: Schema.String,
  severity: Severity,
  createdAt: IsoInstant
}
export const Notification = Schema.Struct({ ...told, readAt: Schema.NullOr(IsoInstant) }).annotate({
  identifier: "Notification"
})
export type Notification = typeof Notification.Type

export const UnreadCount = Schema.Struct({ count: Schema.Int }).annotate({ identifier: "UnreadCount" })

const pages = { limit: Schema.optionalKey(limit(500)), cursor: Schema.optionalKey(Cursor) } // newest first
export const NotificationQuery = Schema.Struct({
  ...pages,
  unread: Schema.optionalKey(Schema.Literals(["true", "false"]))
})
export type NotificationQuery = typeof NotificationQuery.Type

const attempts = {
  attempts: Schema.Int,
  nextAt: Schema.NullOr(IsoInstant), // null: it has ended
  error: Schema.NullOr(Schema.String), // of the last attempt
  createdAt: IsoInstant,
  endedAt: Schema.NullOr(IsoInstant)
}
export const EmailDelivery = Schema.Struct({
  ...told,
  state: Schema.Literals(["pending", "delivered", "failed", "off"]), // off: the platform has no mail server
  recipients: Schema.Array(Schema.String), // ids of users, addresses and roles
  deliveredTo: Schema.Array(Schema.String),
  refused: Schema.Array(Schema.String), // addresses that the mail server does not take
  ...attempts
}).annotate({ identifier: "EmailDelivery" })
export type EmailDelivery = typeof EmailDelivery.Type
export const EmailDeliveryQuery = Schema.Struct({ ...pages, state: Schema.optionalKey(EmailDelivery.fields.state) })
export type EmailDeliveryQuery = typeof EmailDeliveryQuery.Type

export const WebhookDelivery = Schema.Struct({
  id: Uuid, // the idempotency key that the receiver saw
  eventId: Uuid,
  eventType: Schema.String,
  url: Schema.String,
  state: Schema.Literals(["pending", "delivered", "failed"]),
  lastStatus: Schema.NullOr(Schema.Int), // of HTTP
  ...attempts
}).annotate({ identifier: "WebhookDelivery" })
export type WebhookDelivery = typeof WebhookDelivery.Type
export const WebhookDeliveryQuery = Schema.Struct({
  ...pages,
  state: Schema.optionalKey(WebhookDelivery.fields.state),
  eventId: Schema.optionalKey(Uuid)
})
export type WebhookDeliveryQuery = typeof WebhookDeliveryQuery.Type

export const WebhookSecret = Schema.Struct({
  secret: Schema.String,
  previousUntil: Schema.NullOr(IsoInstant) // until then requests are signed with the one before, too
}).annotate({ identifier: "WebhookSigningSecret" })
export type WebhookSecret = typeof WebhookSecret.Type

export class NotificationsApi extends HttpApiGroup.make("notifications")
  .add(
    HttpApiEndpoint.get("list", "/notifications", {
      query: NotificationQuery.fields,
      success: page(Notification, "NotificationPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "none")
      .annotate(OpenApi.Summary, "What the caller was told, page by page, the newest first"),
    HttpApiEndpoint.get("unreadCount", "/notifications/unread-count", { success: UnreadCount })
      .annotate(RequiredPermission, "none")
      .annotate(OpenApi.Summary, "How many of them the caller has not read"),
    HttpApiEndpoint.post("readAll", "/notifications/read", { success: UnreadCount })
      .annotate(RequiredPermission, "none")
      .annotate(OpenApi.Summary, "Mark all of them read; answers how many are unread then"),
    HttpApiEndpoint.post("read", "/notifications/:id/read", {
      params: idParams,
      success: Notification,
      error: NotFound
    })
      .annotate(RequiredPermission, "none")
      .annotate(OpenApi.Summary, "Mark one read"),
    HttpApiEndpoint.get("emails", "/email-deliveries", {
      query: EmailDeliveryQuery.fields,
      success: page(EmailDelivery, "EmailDeliveryPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "webhooks:read")
      .annotate(OpenApi.Summary, "Letters and what became of them, the newest first"),
    HttpApiEndpoint.get("webhooks", "/webhook-deliveries", {
      query: WebhookDeliveryQuery.fields,
      success: page(WebhookDelivery, "WebhookDeliveryPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "webhooks:read")
      .annotate(OpenApi.Summary, "Webhooks and what became of them, the newest first"),
    HttpApiEndpoint.post("retryWebhook", "/webhook-deliveries/:id/retry", {
      params: idParams,
      success: WebhookDelivery.pipe(HttpApiSchema.status(202)),
      error: [NotFound, Conflict]
    })
      .annotate(RequiredPermission, "webhooks:write")
      .annotate(OpenApi.Summary, "Send a failed webhook again, under its key and for another 24 hours"),
    HttpApiEndpoint.get("secret", "/webhook-secret", { success: WebhookSecret })
      .annotate(RequiredPermission, "webhooks:write")
      .annotate(OpenApi.Summary, "What the organisation's webhooks are signed with"),
    HttpApiEndpoint.post("changeSecret", "/webhook-secret", { success: WebhookSecret })
      .annotate(RequiredPermission, "webhooks:write")
      .annotate(OpenApi.Summary, "Make a new secret; for 24 hours requests are signed with both")
  )
  .prefix("/api/v1")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
