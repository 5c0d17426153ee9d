/**
 * Events, statuses and activities for an organisation: each is told to everybody who is there, none is left out.
 * @module
 */
import type { ActivityCreated } from "@argusiq/domain/activity/activity.ts"
import { parseRecord } from "@argusiq/domain/record-json.ts"
import { alarmEndedBy, roomsOf, toldOfActivity, toldOfEvent } from "@argusiq/domain/realtime/telling.ts"
import type { SystemEvent } from "@argusiq/domain/system-event.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { Batch, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { Effect, Result } from "effect"
import type { Audience } from "./Audience.ts"
import type { EventUpdates } from "./EventUpdates.ts"
import { isNews } from "./Telemetry.ts"

/** After so long the connections get time to take what they were told, and others theirs. */
const MOST_MILLIS = 10

const othersFirst = Effect.promise(() => new Promise<void>((resolve) => void setImmediate(resolve)))

export class News {
  readonly #audience: Audience
  readonly #updates: EventUpdates

  constructor(audience: Audience, updates: EventUpdates) {
    this.#audience = audience
    this.#updates = updates
  }

  /** Of `events.v1` or `activities.created.v1`. */
  readonly take = Effect.fnUntraced(function* (this: News, { records, topic }: Batch) {
    const tellOne = topic === Topics.events ? this.#tellEvent : this.#tellActivity
    let began = performance.now()
    for (const record of records) {
      if (!this.#audience.has(record.headers["tenant-id"]) || !isNews(record)) continue
      tellOne(record)
      if (performance.now() - began < MOST_MILLIS) continue
      yield* othersFirst
      began = performance.now()
    }
  })

  readonly #tellEvent = (record: StoredRecord): void => {
    const read = parseRecord<SystemEvent>(record, "an event")
    if (Result.isFailure(read)) return
    const event = read.success
    const rooms = roomsOf(event.tenantId, event.entityType, event.entityId)
    for (const told of toldOfEvent(event)) this.#audience.tell(rooms, told)
    const alarmId = alarmEndedBy(event)
    if (alarmId !== undefined) this.#updates.ofAlarm(alarmId)
  }

  readonly #tellActivity = (record: StoredRecord): void => {
    const read = parseRecord<ActivityCreated>(record, "an activity")
    if (Result.isFailure(read)) return
    const { targetId, targetType, tenantId } = read.success
    this.#audience.tell(roomsOf(tenantId, targetType, targetId), toldOfActivity(read.success))
  }
}
