/**
 * Attempts on what is not the device's: its own organization is told of them by an event.
 * @module
 */
import { type MqttClient } from "@argusiq/domain/mqtt-permission.ts"
import { type PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import { type Context, Effect, Queue, Schedule } from "effect"

/** A device that keeps trying is told of once in this time. */
const INTERVAL_MICROS = 60_000_000
const MAX_REMEMBERED_DEVICES = 10_000
const MAX_WAITING = 1_000

/** Violation: of another organization's data. Refused: a certificate that lets nobody in, or that another device's name came with. */
type SecurityEventType = "SECURITY_VIOLATION" | "CERTIFICATE_REFUSED"

interface Attempt {
  readonly type: SecurityEventType
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
        ${uuidV5(attempt.deviceId, `${attempt.type}:${attempt.occurredAt}`)}, ${attempt.tenantId}, ${attempt.type}, 'device',
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
  note(
    deviceId: string,
    tenantId: string,
    message: string,
    occurredAt: number,
    type: SecurityEventType = "SECURITY_VIOLATION"
  ) {
    const key = `${type} ${deviceId}`
    const toldAt = this.#toldAt.get(key)
    if (toldAt !== undefined && occurredAt - toldAt < INTERVAL_MICROS) return
    this.#toldAt.delete(key)
    if (this.#toldAt.size >= MAX_REMEMBERED_DEVICES) this.#toldAt.delete(this.#toldAt.keys().next().value!)
    this.#toldAt.set(key, occurredAt)
    Queue.offerUnsafe(this.#queue, { type, deviceId, tenantId, message: message.slice(0, 2_000), occurredAt })
  }

  /** Of a certificate that was refused, or of a name that did not come with its own. `occurredAt` in epoch microseconds. */
  noteCertificate({ deviceId, tenantId }: MqttClient, message: string, occurredAt: number) {
    this.note(deviceId, tenantId, message, occurredAt, "CERTIFICATE_REFUSED")
  }
}
