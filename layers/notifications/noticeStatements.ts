/**
 * Notifications and webhook deliveries as rows. What is there already stays as it is.
 * @module
 */
import { type NewDelivery, type NewNotification } from "@argusiq/domain/notification/notification.ts"
import { type SqlClient } from "effect/sql"

type Sql = SqlClient.SqlClient

const notificationsStatement = `
insert into notifications (id, tenant_id, source_id, channel, event_id, activity_id, recipients, title, body, severity, state,
  ended_at)
select id, tenant_id, source_id, channel, event_id, activity_id, array(select jsonb_array_elements_text(recipients)), title,
  body, severity, case channel when 'in_app' then 'delivered' else 'pending' end,
  case channel when 'in_app' then now() end
from jsonb_to_recordset($1::jsonb) as given (id uuid, tenant_id uuid, source_id uuid, channel text, event_id uuid,
  activity_id uuid, recipients jsonb, title text, body text, severity text)
on conflict do nothing`

const deliveriesStatement = `
insert into webhook_deliveries (id, tenant_id, event_id, event_type, url, body)
select id, tenant_id, event_id, event_type, url, body
from jsonb_to_recordset($1::jsonb) as given (id uuid, tenant_id uuid, event_id uuid, event_type text, url text, body text)
on conflict do nothing`

/** In the transaction that the fiber is in. What is shown in the application is delivered with its row. */
export const insertNotifications = (sql: Sql, notifications: ReadonlyArray<NewNotification>) =>
  sql.unsafe(notificationsStatement, [
    JSON.stringify(
      notifications.map((notification) => ({
        id: notification.id,
        tenant_id: notification.tenantId,
        source_id: notification.sourceId,
        channel: notification.channel,
        event_id: notification.eventId,
        activity_id: notification.activityId,
        recipients: notification.recipients,
        title: notification.title,
        body: notification.body,
        severity: notification.severity
      }))
    )
  ])

export const insertDeliveries = (sql: Sql, deliveries: ReadonlyArray<NewDelivery>) =>
  sql.unsafe(deliveriesStatement, [
    JSON.stringify(
      deliveries.map(({ body, eventId, eventType, id, tenantId, url }) => ({
        id,
        tenant_id: tenantId,
        event_id: eventId,
        event_type: eventType,
        url,
        body
      }))
    )
  ])
