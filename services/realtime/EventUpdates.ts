/**
 * Events that have become others: what people did to them, and the ends of their alarms. They are read again and told as they
 * are; while the database is away they wait.
 * @module
 */
import { roomsOf } from "@argusiq/domain/realtime/telling.ts"
import { followMarks, type Mark } from "@argusiq/layers/alarms/MarkFeed.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { makeOutage } from "@argusiq/layers/outage.ts"
import { eventStates } from "@argusiq/layers/realtime/eventStates.ts"
import { Effect } from "effect"
import type { Audience } from "./Audience.ts"

/** Changes that come together are read together. */
const PAUSE = "100 millis"
const RETRY_AFTER = "1 second"
const READ_AT_ONCE = 500
/** More do not wait: everybody reads events again instead. */
const MOST_WAITING = 50_000

export class EventUpdates {
  readonly #audience: Audience
  readonly #alarms = new Set<string>()
  readonly #events = new Set<string>()
  #isListening = false

  constructor(audience: Audience) {
    this.#audience = audience
  }

  ofAlarm(alarmId: string): void {
    this.#alarms.add(alarmId)
    if (this.#alarms.size + this.#events.size > MOST_WAITING) this.#missed()
  }

  readonly #marked = ({ id, tenantId, what }: Mark): void => {
    if (!this.#audience.has(tenantId)) return
    if (what === "alarm") this.ofAlarm(id)
    else this.#events.add(id)
  }

  #missed(): void {
    this.#alarms.clear()
    this.#events.clear()
    this.#audience.tellAll({ name: "refetch", payload: { reason: "missed" } })
  }

  /** Never ends. */
  readonly run = (): Effect.Effect<never, never, PipelineSql> => Effect.raceFirst(this.#listen(), this.#tell())

  readonly #listen = Effect.fnUntraced(function* (this: EventUpdates) {
    const sql = yield* PipelineSql
    const outage = makeOutage("What people do to alarms is not told live; browsers read it again when it is over")
    const listening = Effect.suspend(() => {
      if (this.#isListening) this.#missed()
      this.#isListening = true
      return outage.ended
    })
    return yield* followMarks(sql, listening, this.#marked).pipe(
      Effect.catchCause(outage.began),
      Effect.andThen(Effect.sleep(RETRY_AFTER)),
      Effect.forever
    )
  })

  readonly #tell = Effect.fnUntraced(function* (this: EventUpdates) {
    const sql = yield* PipelineSql
    const outage = makeOutage("Events that have changed cannot be read; they are told when it is over")
    while (true) {
      yield* Effect.sleep(PAUSE)
      const events = first(this.#events, READ_AT_ONCE)
      const alarms = first(this.#alarms, READ_AT_ONCE)
      if (events.length + alarms.length === 0) continue
      // What changes while they are read is read once more.
      for (const id of events) this.#events.delete(id)
      for (const id of alarms) this.#alarms.delete(id)
      yield* eventStates(sql, events, alarms).pipe(
        Effect.matchCauseEffect({
          onSuccess: (states) => {
            for (const { tenantId, told } of states) {
              const rooms = roomsOf(tenantId, told.entityType, told.entityId)
              this.#audience.tell(rooms, { name: "event:updated", payload: told })
            }
            return outage.ended
          },
          onFailure: (cause) => {
            for (const id of events) this.#events.add(id)
            for (const id of alarms) this.#alarms.add(id)
            return Effect.andThen(outage.began(cause), Effect.sleep(RETRY_AFTER))
          }
        })
      )
    }
  })
}

const first = (ids: ReadonlySet<string>, most: number): ReadonlyArray<string> => [...ids.values().take(most)]
