/**
 * What is no change of the configuration and yet belongs into the audit log: who signed in, who was refused, what an operator
 * did. The first of its kind is written at once, what repeats within a minute as one entry with its count, so that somebody
 * who guesses passwords cannot fill the disk.
 * @module
 */
import { Clock, Context, Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { CurrentActor, type AuditActor } from "../database/CurrentActor.ts"

const WINDOW_MILLIS = 60_000
/** Of one action in one window; beyond them its occurrences are only counted, together. */
const MAX_DISTINCT = 100
const MAX_WAITING = 10_000

export interface SecurityEvent {
  /** sign_in_refused, for example; created, changed and removed are the database's own. */
  readonly action: string
  /** Of what it was about: an account (the e-mail address), a device, a consumer group. */
  readonly entityType: string
  readonly entityId?: string | undefined
  /** Whose it is. Absent: of an account its default organization, of a device its own, else nobody's. */
  readonly tenantId?: string | undefined
  /** Whoever the request is of, unless told. */
  readonly actor?: AuditActor | undefined
  readonly detail?: Readonly<Record<string, unknown>> | undefined
}

interface Row {
  readonly occurredAt: string
  readonly tenantId: string | undefined
  readonly actorKind: AuditActor["kind"]
  readonly actorId: string | undefined
  readonly action: string
  readonly entityType: string
  readonly entityId: string | undefined
  readonly detail: SecurityEvent["detail"]
  readonly requestId: string | undefined
  readonly address: string | undefined
  readonly count: number
}

interface Counted {
  readonly endsAt: number
  /** Of the last one; `count` of those after the first. */
  row: Row
  repeated: number
}

/** Collects what happens and says when which rows are due. Bounded in memory and in rows per window. */
export class Coalescing {
  readonly #counted = new Map<string, Counted>()
  readonly #distinct = new Map<string, number>()
  #due: Array<Row> = []

  add(event: SecurityEvent, actor: AuditActor | undefined, nowMillis: number): void {
    const who = event.actor ?? actor
    const row = {
      occurredAt: new Date(nowMillis).toISOString(),
      tenantId: event.tenantId,
      actorKind: who?.kind ?? "system",
      actorId: who?.id,
      action: event.action,
      entityType: event.entityType,
      entityId: event.entityId?.slice(0, 200).replaceAll("\0", "\ufffd").toWellFormed(),
      detail: event.detail,
      requestId: actor?.requestId,
      address: actor?.address,
      count: 1
    } satisfies Row
    const key = JSON.stringify([row.action, row.entityType, row.entityId, row.tenantId, row.actorId, row.address])
    if (this.#repeats(key, row)) return
    const distinct = this.#distinct.get(row.action) ?? 0
    if (distinct < MAX_DISTINCT) {
      this.#distinct.set(row.action, distinct + 1)
      this.#counted.set(key, { endsAt: nowMillis + WINDOW_MILLIS, row, repeated: 0 })
      this.#due.push(row)
      return
    }
    // So many at once are one attack: it is told how large, not of whom.
    const { action, actorKind, entityType, occurredAt } = row
    const others = { ...nobody, occurredAt, actorKind, action, entityType, detail: { others: true } }
    if (this.#repeats(action, others)) return
    this.#counted.set(action, { endsAt: nowMillis + WINDOW_MILLIS, row: others, repeated: 1 })
  }

  #repeats(key: string, row: Row): boolean {
    const counted = this.#counted.get(key)
    if (counted === undefined) return false
    counted.row = row
    counted.repeated++
    return true
  }

  /** What is to be written; `Infinity`: all, because no time comes after. */
  take(nowMillis: number): ReadonlyArray<Row> {
    const due = this.#due
    this.#due = []
    for (const [key, { endsAt, repeated, row }] of this.#counted) {
      if (endsAt > nowMillis) continue
      this.#counted.delete(key)
      const distinct = (this.#distinct.get(row.action) ?? 0) - 1
      if (distinct > 0) this.#distinct.set(row.action, distinct)
      else this.#distinct.delete(row.action)
      if (repeated > 0) due.push({ ...row, count: repeated })
    }
    return due
  }

  /** What could not be written waits; of very much the newest goes. */
  putBack(rows: ReadonlyArray<Row>): void {
    this.#due = [...rows, ...this.#due].slice(0, MAX_WAITING)
  }
}

const nobody = {
  tenantId: undefined,
  actorId: undefined,
  entityId: undefined,
  requestId: undefined,
  address: undefined,
  count: 1
}

export interface SecurityLogger {
  /** Never waits and never fails. `actor`: who asked, with the request's id and address. */
  readonly add: (event: SecurityEvent, actor: AuditActor | undefined) => void
}

/** Writes with the pool of the application or of the pipeline, until its scope closes; then what is left. */
export const make = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  const events = new Coalescing()
  const write = (nowMillis: number) =>
    Effect.suspend(() => {
      const rows = events.take(nowMillis)
      if (rows.length === 0) return Effect.void
      return sql`select audit_note(${JSON.stringify(rows)}::text::jsonb)`.pipe(
        Effect.catchCause((cause) =>
          Effect.andThen(
            Effect.sync(() => events.putBack(rows)),
            Effect.logWarning("The audit log cannot be written; security events wait", cause)
          )
        )
      )
    })
  yield* Effect.addFinalizer(() => Effect.timeoutOption(write(Infinity), "2 seconds"))
  yield* Clock.currentTimeMillis.pipe(
    Effect.flatMap(write),
    Effect.andThen(Effect.sleep("500 millis")),
    Effect.forever,
    Effect.forkScoped
  )
  const add: SecurityLogger["add"] = (event, actor) => events.add(event, actor, Date.now())
  return { add } satisfies SecurityLogger
})

/** What requests are noted with; without one nothing is noted. */
export const CurrentSecurityLog = Context.Reference<SecurityLogger | undefined>(
  "argusiq/layers/audit/CurrentSecurityLog",
  { defaultValue: () => undefined }
)

/** Writes down what a request came to, with who asked and from where. Never waits and never fails. */
export const noteSecurity = (event: SecurityEvent): Effect.Effect<void> =>
  Effect.flatMap(CurrentSecurityLog, (log) =>
    log === undefined ? Effect.void : Effect.map(CurrentActor, (actor) => log.add(event, actor))
  )
