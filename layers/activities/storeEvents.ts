/**
 * What events come to, as rows: activities, notifications and webhook deliveries.
 * @module
 */
import { decide, type Decision } from "@argusiq/domain/activity/decide.ts"
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { noticesFor } from "@argusiq/domain/notification/notification.ts"
import { type SystemEvent } from "@argusiq/domain/system-event.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { insertDeliveries, insertNotifications } from "../notifications/noticeStatements.ts"
import { uuids } from "../telemetry/columns.ts"
import { insertActivities, insertActivityEvents } from "./activityStatements.ts"
import { readWorld } from "./eventWorld.ts"

type Sql = SqlClient.SqlClient

const cancelRetracted = (sql: Sql, cancelled: Decision["cancel"]) =>
  sql`
    update activities set state = 'cancelled', ended_at = now(), updated_at = now(), version = version + 1,
      note = 'The alarm that it was made for was retracted by a measurement that came late.'
    where id = any(${uuids(cancelled)}) and state = 'pending'`

const noteRetracted = (sql: Sql, alarmIds: Decision["retracted"]) =>
  sql`update activity_events set retracted = true where alarm_id = any(${uuids(alarmIds)}) and not retracted`

/**
 * In the transaction that the fiber is in. Events that were stored before change nothing.
 * @returns how many activities were made, joined and cancelled
 */
export const storeEvents = (sql: Sql, events: ReadonlyArray<SystemEvent>) =>
  Effect.gen(function* () {
    const { cancel, create, join, retracted } = decide(events, yield* readWorld(sql, events))
    const made = yield* insertActivities(sql, create)
    if (join.length > 0) yield* insertActivityEvents(sql, join)
    if (retracted.length > 0) yield* noteRetracted(sql, retracted)
    if (cancel.length > 0) yield* cancelRetracted(sql, cancel)
    const activities = Map.groupBy(
      create.filter(({ id }) => made.has(id)),
      ({ eventId }) => eventId
    )
    const notices = events.map((event) => noticesFor(event, activities.get(event.id) ?? []))
    const notifications = notices.flatMap((notice) => notice.notifications)
    const deliveries = notices.flatMap((notice) => notice.deliveries)
    if (notifications.length > 0) yield* insertNotifications(sql, notifications)
    if (deliveries.length > 0) yield* insertDeliveries(sql, deliveries)
    return { made: made.size, joined: join.length - create.length, cancelled: cancel.length }
  }).pipe(Effect.catchTag("SqlError", (cause) => Effect.fail(new DatabaseUnavailable({ cause }))))
