/**
 * Waiting for what is away: each partition by itself with growing pauses, the outage told once for the group.
 * @module
 */
import type { Fenced, Poison } from "@argusiq/domain/errors.ts"
import { Cause, Clock, Data, Deferred, Effect, Exit, Random } from "effect"
import type { TopicPartition } from "../Bus.ts"
import type { ConsumerMetrics } from "./ConsumerMetrics.ts"
import type { StatusRegistry } from "./ConsumerStatus.ts"
import { type Meaning, meaningOf } from "./failure.ts"
import { keyOf } from "./Partition.ts"

/** The input is refused for good: one of its records is to blame. */
export class Refused extends Data.TaggedError("Refused")<{ readonly error: Poison }> {}
/** Code of ours threw on this input. */
export class Broken extends Data.TaggedError("Broken")<{ readonly detail: string }> {}

const shortestMillis = 100
const longestMillis = 5_000

/** Doubles from 100 ms to 5 s; `random` in [0, 1) takes up to half of it away, so that waiters do not come back together. */
export const pauseMillis = (attempt: number, random: number): number =>
  Math.min(longestMillis, shortestMillis * 2 ** Math.min(attempt, 10)) * (1 - random / 2)

type Wait = Extract<Meaning, { readonly _tag: "Wait" }>

interface Outage {
  readonly since: number
  /** Who waits, and since when. */
  readonly waiting: Map<string, number>
  attempts: number
}

export class Outages {
  readonly #group: string
  readonly #status: StatusRegistry
  readonly #metrics: ConsumerMetrics
  /** Ends every pause: what waits gives up, so that the loop can stop. */
  readonly stopping = Deferred.makeUnsafe<void>()
  readonly #outages = new Map<string, Outage>()

  constructor(group: string, status: StatusRegistry, metrics: ConsumerMetrics) {
    this.#group = group
    this.#status = status
    this.#metrics = metrics
  }

  /** Runs until it succeeds or fails for a reason that time does not cure. `at`: the partition that waits meanwhile. */
  readonly persist = <A, E, R>(at: TopicPartition | undefined, effect: Effect.Effect<A, E, R>) =>
    Effect.matchCauseEffect(effect, {
      onSuccess: (value): Effect.Effect<A, Refused | Broken | Fenced, R> => Effect.succeed(value),
      onFailure: (cause) => this.#persistAfter(at, effect, cause)
    })

  readonly #persistAfter = Effect.fnUntraced(function* <A, E, R>(
    this: Outages,
    at: TopicPartition | undefined,
    effect: Effect.Effect<A, E, R>,
    first: Cause.Cause<E>
  ): Effect.fn.Return<A, Refused | Broken | Fenced, R> {
    let cause = first
    for (let attempt = 0; ; attempt++) {
      const meaning = meaningOf(cause)
      switch (meaning._tag) {
        case "Fenced":
          return yield* meaning.error
        case "Refused":
          return yield* new Refused({ error: meaning.error })
        case "Broken":
          return yield* new Broken({ detail: `${meaning.message}\n${Cause.pretty(cause)}` })
      }
      const repeated = Effect.andThen(this.#pause(attempt), Effect.exit(effect))
      const exit = yield* this.#waiting(at, meaning, repeated)
      if (Exit.isSuccess(exit)) return exit.value
      cause = exit.cause
    }
  })

  /** Gives up where the loop is to stop. */
  readonly #pause = Effect.fnUntraced(function* (this: Outages, attempt: number) {
    this.#metrics.retried()
    const stopped = yield* Effect.raceFirst(
      Effect.as(Effect.sleep(pauseMillis(attempt, yield* Random.next)), false),
      Effect.as(Deferred.await(this.stopping), true)
    )
    if (stopped) return yield* Effect.interrupt
  })

  /** Tells of the outage when its first waiter comes and when its last one is through. */
  readonly #waiting = Effect.fnUntraced(function* <A, E, R>(
    this: Outages,
    at: TopicPartition | undefined,
    meaning: Wait,
    repeated: Effect.Effect<Exit.Exit<A, E>, never, R>
  ) {
    const { kind } = meaning
    const place = at === undefined ? "the start" : keyOf(at)
    const now = yield* Clock.currentTimeMillis
    const known = this.#outages.get(kind)
    const outage = known ?? { since: now, waiting: new Map<string, number>(), attempts: 0 }
    const since = outage.waiting.get(place) ?? now
    this.#outages.set(kind, outage)
    outage.waiting.set(place, since)
    outage.attempts++
    if (known === undefined) yield* this.#tellStart(meaning)
    if (at !== undefined) {
      const reason = `${kind}: ${meaning.message}`
      this.#status.set(this.#group, at, { _tag: "Waiting", reason, since: since * 1_000 })
    }
    const leave = () => {
      outage.waiting.delete(place)
      if (outage.waiting.size === 0 && this.#outages.get(kind) === outage) this.#outages.delete(kind)
    }
    const exit = yield* Effect.onInterrupt(repeated, () => Effect.sync(leave))
    if (Exit.isFailure(exit)) {
      const next = meaningOf(exit.cause)
      if (next._tag === "Wait" && next.kind === kind) return exit
    }
    leave()
    if (at !== undefined) this.#status.set(this.#group, at, { _tag: "Running" })
    if (outage.waiting.size === 0) yield* this.#tellEnd(kind, outage)
    return exit
  })

  #tellStart({ kind, message, fault }: Wait) {
    const text = `${this.#group} waits (${kind}: ${message}). It tries again by itself, at least every 5 s; nothing is lost.`
    return fault
      ? Effect.logError(`${text} This does not pass by itself: see that what it names exists and is permitted.`)
      : Effect.logWarning(text)
  }

  #tellEnd(kind: string, { since, attempts }: Outage) {
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.logInfo(
        `${this.#group} goes on after ${((now - since) / 1_000).toFixed(1)} s (${kind}, ${attempts} attempts).`
      )
    )
  }
}
