/**
 * The change sequence of the profiles: what PostgreSQL pushes (LISTEN) and, because a push can be missed, the number that
 * is read every 500 ms. A number that moved without pushes having covered it means that anything may have changed.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type PgClient } from "@effect/sql-pg"
import { Clock, Deferred, Effect, Option, Queue, Schema, type Scope } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import { type Forgotten } from "../cache/SharedCache.ts"
import { makeOutage } from "../outage.ts"

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

/** How long pushes of one change may lie apart. */
const PUSHES_APART_MILLIS = 250

/** Without a sequence: asked for by hand. */
const Push = Schema.fromJsonString(
  Schema.Union([
    Schema.Struct({
      type: Schema.Literals(["device", "device-type"]),
      id: Schema.String,
      sequence: Schema.optionalKey(Schema.Int)
    }),
    Schema.Struct({ type: Schema.Literal("all") })
  ])
)
const decodePush = Schema.decodeUnknownOption(Push)

/** Tells all processes by hand. */
export const pushByHand = (sql: PgClient.PgClient, what: Forgotten) =>
  Effect.asVoid(sql`select pg_notify(${CHANNEL}, ${JSON.stringify(what)})`)

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
  /** Anything may have changed up to this number, or the database is an older one than before. */
  readonly changedAll: (sequence: number) => void
  /** Everything that changed up to this number has been told. */
  readonly complete: (sequence: number) => void
  /** Somebody has asked for it, whatever its number. */
  readonly forget: (what: Forgotten) => Effect.Effect<void>
  /** After each regular check. */
  readonly checked: Effect.Effect<void>
}

export const makeChangeFeed = Effect.fnUntraced(function* (
  options: ChangeFeedOptions
): Effect.fn.Return<ChangeFeed, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const now = () => clock.currentTimeMillisUnsafe()
  /** Every change up to this number has been acted upon; undefined before the first check. */
  let covered: number | undefined
  let pushesOfCovered = 0
  /** All pushes of the changes up to this number have come; `covered` may be one ahead of it. */
  let complete = 0
  let pushedAt = Number.NEGATIVE_INFINITY
  let checkedAt = Number.NEGATIVE_INFINITY

  const isTrusted = () => {
    const age = now() - checkedAt
    return age >= 0 && age < TRUSTED_MILLIS // a clock set back vouches for nothing
  }

  const receive = (payload: string) => {
    const push = Option.getOrUndefined(decodePush(payload))
    if (push === undefined) {
      if (covered !== undefined) options.changedAll(covered)
      return Effect.void
    }
    if (push.type === "all" || push.sequence === undefined) return Effect.forkIn(options.forget(push), scope)
    receiveChange(push.type, push.id, push.sequence)
    return Effect.void
  }
  const receiveChange = (type: "device" | "device-type", id: string, sequence: number) => {
    pushedAt = now()
    options.changed(type, id, sequence)
    if (covered === undefined || sequence < covered) return
    pushesOfCovered = sequence === covered ? pushesOfCovered + 1 : 1
    if (sequence > covered + 1 || pushesOfCovered > MOST_PUSHES) options.changedAll(sequence)
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
      options.changedAll(number)
      covered = number
      pushesOfCovered = 0
      complete = number
    }
    const mayLackPushes = pushesOfCovered > 0 && startedAt - pushedAt < PUSHES_APART_MILLIS
    complete = Math.max(complete, (covered ?? 0) - (mayLackPushes ? 1 : 0))
    options.complete(complete)
    checkedAt = startedAt
  }).pipe(
    Effect.timeout(CHECK_TIMEOUT),
    Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
  )

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
    while (true) yield* receive((yield* Queue.take(pushes)).payload)
  }).pipe(
    Effect.scoped,
    Effect.catchCause((cause) => {
      // Of the last change some pushes may be lost: the next check finds a higher number then.
      if (covered !== undefined) covered = Math.min(covered, complete)
      return pushesOutage.began(cause)
    }),
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
