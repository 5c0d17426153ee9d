/**
 * The change sequence of the profiles: what PostgreSQL pushes (LISTEN) and, because a push can be missed, the number that
 * is read every 500 ms. A number that moved without pushes having covered it means that anything may have changed. One feed
 * serves all caches of a process.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type PgClient } from "@effect/sql-pg"
import { Clock, Context, Deferred, Effect, Layer, Option, Queue, Schema, type Scope } from "effect"
import { type Forgotten } from "../cache/SharedCache.ts"
import { PipelineSql } from "../database/Sql.ts"
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

/** What the id of a change names: of `links` a device, of `rules` and `groups` an organization. */
const Changed = Schema.Literals([
  "device",
  "device-type",
  "asset",
  "asset-type",
  "asset-profile",
  "links",
  "rules",
  "groups"
])
export type Changed = typeof Changed.Type

const Push = Schema.fromJsonString(
  Schema.Union([
    Schema.Struct({ type: Changed, id: Schema.String, sequence: Schema.Int }),
    // asked for by hand
    Schema.Struct({ type: Schema.Literals(["device", "device-type"]), id: Schema.String }),
    Schema.Struct({ type: Schema.Literal("all") })
  ])
)
const decodePush = Schema.decodeUnknownOption(Push)

/** Tells all processes by hand. */
export const pushByHand = (sql: PgClient.PgClient, what: Forgotten) =>
  Effect.asVoid(sql`select pg_notify(${CHANNEL}, ${JSON.stringify(what)})`)

/** A cache that hears of changes. */
export interface ChangeSubscriber {
  readonly changed: (type: Changed, id: string, sequence: number) => void
  /** Anything may have changed up to this number, or the database is an older one than before. Told first. */
  readonly changedAll: (sequence: number) => void
  /** Everything that changed up to this number has been told. */
  readonly complete?: (sequence: number) => void
  /** Somebody has asked for it, whatever its number. */
  readonly forget: (what: Forgotten) => Effect.Effect<void>
  /** After each regular check. */
  readonly checked?: Effect.Effect<void>
}

export class ChangeFeed extends Context.Service<
  ChangeFeed,
  {
    /** Tells the subscriber of what changes from now on, until the scope closes. What it holds by then must be nothing. */
    subscribe(subscriber: ChangeSubscriber): Effect.Effect<void, never, Scope.Scope>
    /** Succeeds when what is cached reflects every change committed until at most 1.5 s ago; checks at once when the last check
     * is older than that. */
    readonly trusted: Effect.Effect<void, DatabaseUnavailable>
  }
>()("argusiq/layers/profiles/ChangeFeed") {}

const make = Effect.gen(function* () {
  const sql = yield* PipelineSql
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
  const subscribers = new Set<ChangeSubscriber>()
  const changedAll = (sequence: number) => {
    for (const subscriber of subscribers) subscriber.changedAll(sequence)
  }
  const forEachSubscriber = (effect: (subscriber: ChangeSubscriber) => Effect.Effect<void> | undefined) =>
    Effect.suspend(() => Effect.forEach([...subscribers], (one) => effect(one) ?? Effect.void, { discard: true }))

  const changeSequence = Effect.map(
    sql<{ number: number }>`select number::float8 as number from change_sequence where scope = 'profiles'`,
    (rows) => rows[0]?.number ?? 0
  )

  const isTrusted = () => {
    const age = now() - checkedAt
    return age >= 0 && age < TRUSTED_MILLIS // a clock set back vouches for nothing
  }

  const receive = (payload: string) => {
    const push = Option.getOrUndefined(decodePush(payload))
    if (push === undefined) {
      if (covered !== undefined) changedAll(covered)
      return Effect.void
    }
    if (!("sequence" in push))
      return Effect.forkIn(
        forEachSubscriber(({ forget }) => forget(push)),
        scope
      )
    receiveChange(push.type, push.id, push.sequence)
    return Effect.void
  }
  const receiveChange = (type: Changed, id: string, sequence: number) => {
    pushedAt = now()
    for (const subscriber of subscribers) subscriber.changed(type, id, sequence)
    if (covered === undefined || sequence < covered) return
    pushesOfCovered = sequence === covered ? pushesOfCovered + 1 : 1
    if (sequence > covered + 1 || pushesOfCovered > MOST_PUSHES) changedAll(sequence)
    covered = sequence
  }

  const check = Effect.gen(function* () {
    const startedAt = now()
    const before = covered
    const number = yield* changeSequence
    for (let waited = 0; waited < PUSH_GRACE_MILLIS && before !== undefined && number > (covered ?? 0); waited += 10) {
      yield* Effect.sleep(10)
    }
    // Lower than what was known before the question: another database, or an older state of this one, was put in place.
    if (before === undefined || number < before || number > (covered ?? 0)) {
      changedAll(number)
      covered = number
      pushesOfCovered = 0
      complete = number
    }
    const mayLackPushes = pushesOfCovered > 0 && startedAt - pushedAt < PUSHES_APART_MILLIS
    complete = Math.max(complete, (covered ?? 0) - (mayLackPushes ? 1 : 0))
    for (const subscriber of subscribers) subscriber.complete?.(complete)
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
    const pushes = yield* sql.listen(CHANNEL)
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
    Effect.andThen(forEachSubscriber(({ checked }) => checked)),
    Effect.andThen(Effect.sleep(CHECK_EVERY)),
    Effect.forever
  )
  yield* Effect.forkScoped(listening)
  yield* Effect.forkScoped(checking)
  const subscribe = (subscriber: ChangeSubscriber) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        subscribers.add(subscriber)
        if (covered === undefined) return
        subscriber.changedAll(covered)
        subscriber.complete?.(complete)
      }),
      () => Effect.sync(() => subscribers.delete(subscriber))
    ).pipe(Effect.asVoid)
  return ChangeFeed.of({ subscribe, trusted })
})

/** The same for all that are built with it. */
export const layer: Layer.Layer<ChangeFeed, never, PipelineSql> = Layer.effect(ChangeFeed, make)
