/**
 * Whose turn it is among bridges that must not read at the same time: the one that holds an advisory lock in PostgreSQL.
 * @module
 */
import { tryAdvisoryLock } from "@argusiq/layers/database/advisoryLock.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Effect, Latch } from "effect"
import { type SqlError } from "effect/sql/SqlError"

const ASK_EVERY = "1 second"

export interface Turn {
  /** Completes when it is our turn. It may pass to another when the lock's connection breaks. */
  readonly ours: Effect.Effect<void>
  isOurs(): boolean
}

export const always: Turn = { ours: Effect.void, isOurs: () => true }

/** Competes for the turn until the scope closes. */
export const takeTurns = Effect.fn("Turn.takeTurns")(function* (name: string) {
  const sql = yield* PipelineSql
  const ours = Latch.makeUnsafe()
  const whileOurs = Effect.scoped(
    Effect.gen(function* () {
      const lock = yield* tryAdvisoryLock(sql, `argusiq/mqtt/${name}`)
      if (lock === undefined) return
      yield* Effect.addFinalizer(() => Effect.sync(() => ours.closeUnsafe()))
      ours.openUnsafe()
      while (true) {
        yield* Effect.sleep(ASK_EVERY)
        yield* lock.check
      }
    })
  )
  yield* whileOurs.pipe(
    Effect.catch((error: SqlError) => Effect.logDebug("Whose turn it is to read the broker cannot be asked", error)),
    Effect.andThen(Effect.sleep(ASK_EVERY)),
    Effect.forever,
    Effect.forkScoped
  )
  return { ours: ours.await, isOurs: () => ours.isOpen() } satisfies Turn
})
