/**
 * Whose turn it is among bridges that must not read at the same time: the one that holds an advisory lock in PostgreSQL.
 * @module
 */
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
  const lock = [`argusiq/mqtt/${name}`]
  const whileOurs = Effect.scoped(
    Effect.gen(function* () {
      const connection = yield* sql.reserve
      const ask = (question: string, parameters: ReadonlyArray<string>) =>
        connection.executeUnprepared(question, parameters, undefined)
      const [answer] = yield* ask("select pg_try_advisory_lock(hashtext($1)) as ours", lock)
      if ((answer as { readonly ours: boolean } | undefined)?.ours !== true) return
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          Effect.sync(() => ours.closeUnsafe()),
          Effect.ignore(ask("select pg_advisory_unlock(hashtext($1))", lock))
        )
      )
      ours.openUnsafe()
      while (true) {
        yield* Effect.sleep(ASK_EVERY)
        yield* ask("select 1", [])
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
