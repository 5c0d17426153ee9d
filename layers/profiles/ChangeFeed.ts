/**
 * The change sequence of the profiles: what PostgreSQL pushes (LISTEN) and, because a push can be missed, the number that
 * is read every 500 ms. A number that moved without pushes having covered it means that anything may have changed.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type PgClient } from "@effect/sql-pg"
import { Cause, Clock, Deferred, Effect, Option, Queue, Schema, type Scope } from "effect"
import { type SqlError } from "effect/sql/SqlError"

const CHANNEL = "cache_invalidate"
const CHECK_EVERY = "500 millis"
const CHECK_TIMEOUT = "1 second"
const RECONNECT_AFTER = "250 millis"
/** What pushes that are under way may still take when the number has moved. */
const PUSH_GRACE_MILLIS = 100
/** A statement that changed more rows than this pushes only its first ones. */
const MOST_PUSHES = 100
/**
 * How long a completed check vouches for the cache: the 2 s after which a published version takes effect, less half a
 * second for a commit that comes late and for clocks that differ.
 */
const TRUSTED_MILLIS = 1_500

const Push = Schema.fromJsonString(
  Schema.Struct({
    type: Schema.Literals(["device", "device-type"]),
    id: Schema.String,
    sequence: Schema.Int
  })
)
const decodePush = Schema.decodeUnknownOption(Push)

export interface ChangeFeed {
  /** Succeeds when what is cached reflects every change committed until at most 1.5 s ago; checks at once when the last check is
   * older than that. */
  readonly trusted: Effect.Effect<void, DatabaseUnavailable>
  /** Whether `trusted` would succeed without asking PostgreSQL. */
  readonly isTrusted: () => boolean
}

export interface ChangeFeedOptions {
  readonly sql: PgClient.PgClient
  readonly changeSequence: Effect.Effect<number, SqlError>
  readonly changed: (type: "device" | "device-type", id: string, sequence: number) => void
  readonly changedAll: () => void
  /** After each regular check. */
  readonly checked: Effect.Effect<void>
}

/** Logs an outage when it begins and when it is over, not at each attempt in between. */
const makeOutage = (message: string) => {
  let lasts = false
  return {
    began: (cause: Cause.Cause<unknown>) =>
      Effect.suspend(() => {
        if (lasts || Cause.hasInterruptsOnly(cause)) return Effect.void
        lasts = true
        return Effect.logWarning(message, Cause.squash(cause))
      }),
    ended: Effect.suspend(() => {
      if (!lasts) return Effect.void
      lasts = false
      return Effect.logInfo(`Over: ${message}`)
    })
  }
}

export const makeChangeFeed = Effect.fnUntraced(function* (
  options: ChangeFeedOptions
): Effect.fn.Return<ChangeFeed, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  /** Every change up to this number has been acted upon; undefined before the first check. */
  let covered: number | undefined
  let pushesOfCovered = 0
  let checkedAt = Number.NEGATIVE_INFINITY

  const isTrusted = () => {
    const age = now() - checkedAt
    return age >= 0 && age < TRUSTED_MILLIS // a clock set back vouches for nothing
  }

  const receive = (payload: string) => {
    const push = Option.getOrUndefined(decodePush(payload))
    if (push === undefined) return options.changedAll()
    const { type, id, sequence } = push
    options.changed(type, id, sequence)
    if (covered === undefined || sequence < covered) return
    pushesOfCovered = sequence === covered ? pushesOfCovered + 1 : 1
    if (sequence > covered + 1 || pushesOfCovered > MOST_PUSHES) options.changedAll()
    covered = sequence
  }

  const check = Effect.gen(function* () {
    const startedAt = now()
    const before = covered
    const number = yield* options.changeSequence
    for (let waited = 0; waited < PUSH_GRACE_MILLIS && before !== undefined && number > (covered ?? 0); waited += 10) {
      yield* Effect.sleep(10)
    }
    // Lower than what was known before the question: another database, or an older state of this one, was put in place.
    if (before === undefined || number < before || number > (covered ?? 0)) {
      options.changedAll()
      covered = number
      pushesOfCovered = 0
    }
    checkedAt = startedAt
  }).pipe(
    Effect.timeout(CHECK_TIMEOUT),
    Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
  )

  const scope = yield* Effect.scope
  let running: Deferred.Deferred<void, DatabaseUnavailable> | undefined
  /** One check for all who come while it runs. */
  const sharedCheck = Effect.suspend(() => {
    if (running !== undefined) return Deferred.await(running)
    const answer = Deferred.makeUnsafe<void, DatabaseUnavailable>()
    running = answer
    return check.pipe(
      Effect.onExit((exit) => {
        running = undefined
        return Deferred.done(answer, exit)
      }),
      Effect.ignoreCause,
      Effect.forkIn(scope),
      Effect.andThen(Deferred.await(answer))
    )
  })
  const trusted = Effect.suspend(() => (isTrusted() ? Effect.void : sharedCheck))

  const pushesOutage = makeOutage("Pushes of changed profiles are interrupted; the change sequence is checked instead")
  const checkOutage = makeOutage(
    "The change sequence of the profiles cannot be read; consumers wait, the bridge goes on"
  )

  const listening = Effect.gen(function* () {
    const pushes = yield* options.sql.listen(CHANNEL)
    yield* pushesOutage.ended
    // What was pushed before the registration is found by a check that begins after it: not by one that is running.
    if (running !== undefined) yield* Effect.exit(sharedCheck)
    yield* sharedCheck
    while (true) receive((yield* Queue.take(pushes)).payload)
  }).pipe(
    Effect.scoped,
    Effect.catchCause(pushesOutage.began),
    Effect.andThen(Effect.sleep(RECONNECT_AFTER)),
    Effect.forever
  )
  const checking = sharedCheck.pipe(
    Effect.andThen(checkOutage.ended),
    Effect.catchCause(checkOutage.began),
    Effect.andThen(options.checked),
    Effect.andThen(Effect.sleep(CHECK_EVERY)),
    Effect.forever
  )
  yield* Effect.forkScoped(listening)
  yield* Effect.forkScoped(checking)
  return { trusted, isTrusted }
})
