/**
 * Attempts of a device on another organization's data, as events that its own organization sees.
 * @module
 */
import { type PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import { type Context, Effect, Queue, Schedule } from "effect"

/** A device that keeps trying is told of once in this time. */
const INTERVAL_MICROS = 60_000_000
const MAX_REMEMBERED_DEVICES = 10_000
const MAX_WAITING = 1_000
const TYPE = "SECURITY_VIOLATION"

interface Attempt {
  readonly deviceId: string
  readonly tenantId: string
  readonly message: string
  readonly occurredAt: number
}

export class SecurityEvents {
  readonly #toldAt = new Map<string, number>()
  readonly #queue: Queue.Queue<Attempt>

  private constructor(queue: Queue.Queue<Attempt>) {
    this.#queue = queue
  }

  static make = Effect.fn("SecurityEvents.make")(function* (sql: Context.Service.Shape<typeof PipelineSql>) {
    const queue = yield* Queue.dropping<Attempt>(MAX_WAITING)
    const store = (attempt: Attempt) =>
      sql`
      insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
      values (
        ${uuidV5(attempt.deviceId, `${TYPE}:${attempt.occurredAt}`)}, ${attempt.tenantId}, ${TYPE}, 'device',
        ${attempt.deviceId}, 'high', timestamptz 'epoch' + ${String(attempt.occurredAt)}::bigint * interval '1 microsecond',
        ${JSON.stringify({ message: attempt.message })}::jsonb)
      on conflict do nothing`.pipe(
        Effect.retry({ schedule: Schedule.spaced("1 second"), times: 60 }),
        Effect.catchCause((cause) =>
          Effect.logError(`A security event of device ${attempt.deviceId} is not stored`, cause)
        )
      )
    yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(queue), store)))
    return new SecurityEvents(queue)
  })

  /** Never waits. `occurredAt` in epoch microseconds. */
  note(deviceId: string, tenantId: string, message: string, occurredAt: number) {
    const toldAt = this.#toldAt.get(deviceId)
    if (toldAt !== undefined && occurredAt - toldAt < INTERVAL_MICROS) return
    this.#toldAt.delete(deviceId)
    if (this.#toldAt.size >= MAX_REMEMBERED_DEVICES) this.#toldAt.delete(this.#toldAt.keys().next().value!)
    this.#toldAt.set(deviceId, occurredAt)
    Queue.offerUnsafe(this.#queue, { deviceId, tenantId, message: message.slice(0, 2_000), occurredAt })
  }
}
