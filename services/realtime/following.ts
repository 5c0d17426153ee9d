/**
 * How a process reads what it tells: each for itself, from the ends of the topics on.
 * @module
 */
import { Topics } from "@argusiq/domain/topics.ts"
import { type Batch, Bus, type Following } from "@argusiq/layers/bus/Bus.ts"
import { Clock, Deferred, Effect } from "effect"
import type { Audience } from "./Audience.ts"
import type { Counts } from "./metrics.ts"
import type { News } from "./News.ts"
import type { Telemetry } from "./Telemetry.ts"
import type { Watched } from "./Watched.ts"

/** Telemetry that has been in the log for longer is left out. */
const STALE_AFTER_MILLIS = 10_000
const MAX_RECORDS = 2_000
const MAX_BYTES = 16_777_216

export interface Listeners {
  readonly audience: Audience
  readonly watched: Watched
  readonly telemetry: Telemetry
  readonly news: News
  readonly counts: Counts
}

/** Completes when it reads; goes on until the scope closes. */
const follow = Effect.fnUntraced(function* (
  following: Pick<Following, "maxWaitMillis" | "name" | "skipAfterMillis" | "skipped" | "topics">,
  { audience, counts }: Listeners,
  handle: (batch: Batch) => Effect.Effect<void>
) {
  const bus = yield* Bus
  const clock = yield* Clock.Clock
  const started = yield* Deferred.make<void>()
  const handled = (batch: Batch) =>
    Effect.suspend(() => {
      const last = batch.records.at(-1)
      const now = clock.currentTimeMillisUnsafe()
      if (last !== undefined) counts.late(batch.topic, Math.max(0, now / 1_000 - last.appendedAt / 1_000_000))
      return handle(batch)
    })
  yield* bus
    .follow(
      {
        ...following,
        maxRecords: MAX_RECORDS,
        maxBytes: MAX_BYTES,
        started: Effect.asVoid(Deferred.succeed(started, undefined))
      },
      handled
    )
    .pipe(
      Effect.catchCause((cause) =>
        Effect.logError(`${following.name} cannot read; live connections are told nothing`, cause)
      ),
      Effect.andThen(Effect.sleep("1 second")),
      // What came in between is not told any more.
      Effect.andThen(Effect.sync(() => audience.tellAll({ name: "refetch", payload: { reason: "missed" } }))),
      Effect.forever,
      Effect.forkScoped
    )
  yield* Deferred.await(started)
})

/** Tells the listeners of everything that is published from the time on when this completes, until the scope closes. */
export const followTopics = Effect.fnUntraced(function* (listeners: Listeners) {
  const { audience, news, telemetry, watched } = listeners
  let isBehind = false
  yield* follow(
    {
      name: "argusiq.realtime.telemetry",
      topics: [Topics.normalized, Topics.asset],
      maxWaitMillis: 100,
      skipAfterMillis: STALE_AFTER_MILLIS,
      skipped: () => {
        isBehind = true
      }
    },
    listeners,
    (batch) => Effect.sync(() => telemetry.take(batch, performance.now()))
  )
  yield* follow(
    {
      name: "argusiq.realtime.news",
      topics: [Topics.events, Topics.activities],
      maxWaitMillis: 20,
      skipped: () => audience.tellAll({ name: "refetch", payload: { reason: "missed" } })
    },
    listeners,
    (batch) => news.take(batch)
  )
  const tellOfBehind = Effect.sync(() => {
    if (!isBehind) return
    isBehind = false
    for (const { entityType, id, room } of watched.all()) {
      audience.tell([room], { name: "refetch", payload: { reason: "behind", entityType, entityId: id } })
    }
  })
  yield* Effect.forkScoped(Effect.forever(Effect.delay(tellOfBehind, "1 second")))
})
