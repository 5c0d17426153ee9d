/**
 * Telling Kafka how far a subscription has come.
 * @module
 */
import { Effect, Exit, Latch, Semaphore } from "effect"
import type { Subscription } from "../Bus.ts"
import type { Assigned } from "./Assigned.ts"
import type { Membership, Offset } from "./Membership.ts"

/** Between two commits, where each success of a batch is to be committed: what a crash takes back is handled again. */
const PAUSE = "100 millis"
const PAUSE_AFTER_REFUSAL = "250 millis"

/** Of a partition, in the epoch in which it was handled. */
interface Handled {
  readonly assigned: Assigned
  readonly epoch: number
  readonly offset: number
}

export class Commits {
  readonly #membership: Membership
  readonly #assigned: ReadonlyMap<string, Assigned>
  readonly #beforeCommit: Subscription["beforeCommit"]
  /** One commit or seek after the other. */
  readonly #turn = Semaphore.makeUnsafe(1)
  readonly #dirty = Latch.makeUnsafe(false)

  constructor(
    membership: Membership,
    assigned: ReadonlyMap<string, Assigned>,
    beforeCommit: Subscription["beforeCommit"]
  ) {
    this.#membership = membership
    this.#assigned = assigned
    this.#beforeCommit = beforeCommit
  }

  /** Something has been handled. */
  wake(): void {
    this.#dirty.openUnsafe()
  }

  /** Never ends. */
  run(): Effect.Effect<never> {
    return this.#beforeCommit === undefined
      ? this.#whenHandled()
      : this.all().pipe(Effect.ignore({ log: "Debug" }), Effect.delay("1 second"), Effect.forever)
  }

  readonly #whenHandled = Effect.fnUntraced(function* (this: Commits) {
    while (true) {
      yield* this.#dirty.await
      this.#dirty.closeUnsafe()
      const exit = yield* Effect.exit(this.all())
      if (Exit.isFailure(exit)) {
        // Kept, and tried again: in the group's next generation where it was refused in this one.
        yield* Effect.sleep(PAUSE_AFTER_REFUSAL)
        this.#dirty.openUnsafe()
      } else yield* Effect.sleep(PAUSE)
    }
  })

  /** What has been handled until now, after what is to come before. */
  readonly all = Effect.fnUntraced(function* (this: Commits) {
    const handled = [...this.#assigned.values()].flatMap((assigned): ReadonlyArray<Handled> =>
      assigned.handled === undefined ? [] : [{ assigned, epoch: assigned.epoch, offset: assigned.handled }]
    )
    if (handled.length === 0) return
    if (this.#beforeCommit !== undefined) yield* this.#beforeCommit
    yield* this.alone(Effect.suspend(() => this.#commit(handled)))
  })

  /** While no commit is under way. */
  alone<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return this.#turn.withPermit(effect)
  }

  /** Unless a seek came in between. */
  #commit(collected: ReadonlyArray<Handled>): Effect.Effect<void, unknown> {
    const handled = collected.filter(
      ({ assigned, epoch }) => assigned.epoch === epoch && assigned.handled !== undefined
    )
    if (handled.length === 0) return Effect.void
    const offsets = handled.map(({ assigned: { kafkaTopic, partition }, offset }): Offset => ({
      topic: kafkaTopic,
      partition,
      offset
    }))
    return Effect.map(this.#membership.commit(offsets), () => {
      for (const { assigned, epoch, offset } of handled) {
        if (assigned.epoch === epoch && assigned.handled === offset) assigned.handled = undefined
      }
    })
  }
}
