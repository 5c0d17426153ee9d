/**
 * The handling of one subscription's batches, as every adapter does it: of a partition one at a time, of the subscription
 * some, the partition with the oldest record first.
 * @module
 */
import { type Cause, Effect, Exit, Fiber, Latch } from "effect"
import type { Batch, Subscription } from "./Bus.ts"

/** After so long a batch no longer takes up one of the places: it waits for something that other partitions may not need. */
export const PATIENCE_MILLIS = 1_000

/** A partition that a subscription has, as far as the handling of its batches goes. */
export class OwnedPartition {
  /** Raised by a seek, so that what was handed out before it no longer counts. */
  epoch = 0
  /** When its last batch was handed out, in milliseconds of `performance.now`. */
  handedOutAt = -Infinity
  handling = false
  fiber: Fiber.Fiber<void, unknown> | undefined
  revoked = false
  /** Its position is not in the log; it waits for a seek or a new start. */
  stopped = false
  /** Handled up to here, and not yet committed. */
  handled: number | undefined

  /** What was handled before no longer counts. */
  forget(): void {
    this.epoch++
    this.stopped = false
    this.handled = undefined
  }
}

/** What a partition has to hand out. */
export interface Ready {
  /** Records. */
  readonly waiting: number
  /** Of the first of them. */
  readonly appendedAt: () => number
}

export interface HandlingOptions<P extends OwnedPartition, E, R> {
  readonly subscription: Pick<Subscription, "maxRecords" | "maxWaitMillis">
  readonly handle: (batch: Batch) => Effect.Effect<void, E, R>
  /** Batches handled at the same time, not counting those that have taken longer than {@link PATIENCE_MILLIS}. */
  readonly concurrency: number
  /** A batch has succeeded, and no seek came in between. */
  readonly succeeded: (partition: P, next: number) => void
}

export class Handling<P extends OwnedPartition, E, R> {
  readonly #options: HandlingOptions<P, E, R>
  readonly #latch = Latch.makeUnsafe(false)
  /** The batches that run, each by when it began, the oldest first. */
  readonly #running = new Set<{ readonly since: number }>()
  #failure: Cause.Cause<E> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: HandlingOptions<P, E, R>) {
    this.#options = options
  }

  /** To be called when there may be something to hand out. */
  readonly wake = (): void => {
    this.#latch.openUnsafe()
  }

  /** Takes a turn now and after each {@link wake}, until a batch fails. */
  readonly run = Effect.fnUntraced(function* <E2, R2>(this: Handling<P, E, R>, turn: Effect.Effect<void, E2, R2>) {
    while (true) {
      this.#latch.closeUnsafe()
      if (this.#failure !== undefined) return yield* Effect.failCause(this.#failure)
      yield* turn
      yield* this.#latch.await
    }
  })

  /** The partition to hand out of next; undefined: none for now, and it wakes when that is over by itself. */
  next(partitions: Iterable<P>, readyOf: (partition: P) => Ready | undefined): P | undefined {
    clearTimeout(this.#timer)
    const { maxRecords, maxWaitMillis } = this.#options.subscription
    const now = performance.now()
    const full = this.#fullFor(now)
    if (full > 0) return this.#wakeIn(full)
    let oldest: P | undefined
    let oldestAt = Infinity
    let wait = Infinity
    for (const partition of partitions) {
      if (partition.handling || partition.stopped || partition.revoked) continue
      const ready = readyOf(partition)
      if (ready === undefined) continue
      // A partition that delivered a moment ago is likely to have more coming; one that was idle delivers at once.
      const remaining = partition.handedOutAt + maxWaitMillis - now
      if (ready.waiting < maxRecords && remaining > 0) {
        wait = Math.min(wait, remaining)
        continue
      }
      const appendedAt = ready.appendedAt()
      if (appendedAt >= oldestAt) continue
      oldestAt = appendedAt
      oldest = partition
    }
    return oldest === undefined && wait < Infinity ? this.#wakeIn(wait) : oldest
  }

  /** Milliseconds until one of those that run stops to count, 0 where there is room for another. */
  #fullFor(now: number): number {
    let fresh = 0
    let first = now
    for (const { since } of this.#running) {
      if (now - since >= PATIENCE_MILLIS) continue
      if (fresh++ === 0) first = since
    }
    return fresh < this.#options.concurrency ? 0 : first + PATIENCE_MILLIS - now
  }

  #wakeIn(millis: number): undefined {
    this.#timer = setTimeout(this.wake, Math.ceil(millis))
  }

  readonly start = Effect.fnUntraced(function* (this: Handling<P, E, R>, partition: P, batch: Batch) {
    const { epoch } = partition
    const run = { since: performance.now() }
    partition.handedOutAt = run.since
    partition.handling = true
    this.#running.add(run)
    const ended = (exit: Exit.Exit<void, E>) => {
      partition.handling = false
      partition.fiber = undefined
      this.#running.delete(run)
      if (Exit.isFailure(exit)) {
        if (!partition.revoked) this.#failure ??= exit.cause
      } else if (partition.epoch === epoch) this.#options.succeeded(partition, Number(batch.next))
      this.wake()
    }
    const fiber = yield* Effect.suspend(() => this.#options.handle(batch)).pipe(
      Effect.onExit((exit) => Effect.sync(() => ended(exit))),
      Effect.forkDetach
    )
    if (partition.handling) partition.fiber = fiber
  })

  /** Hands out no more of these; completes when what is handled of them has been interrupted. */
  readonly revoke = (partitions: ReadonlyArray<P>): Effect.Effect<void> =>
    Effect.suspend(() => {
      for (const partition of partitions) partition.revoked = true
      return Effect.forEach(partitions, ({ fiber }) => (fiber === undefined ? Effect.void : Fiber.interrupt(fiber)), {
        concurrency: "unbounded",
        discard: true
      })
    })

  /** Lets the running batches end. */
  readonly finish = Effect.fnUntraced(function* (this: Handling<P, E, R>) {
    clearTimeout(this.#timer)
    while (this.#running.size > 0) {
      this.#latch.closeUnsafe()
      yield* this.#latch.await
    }
  })
}
