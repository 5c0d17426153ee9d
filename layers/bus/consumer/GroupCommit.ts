/**
 * Group commit: what several partitions of a group have ready at the same time is stored in one transaction. While one is under
 * way the next gathers, so under load few large ones take the place of many small ones, and nobody waits for company.
 * @module
 */
import { Deferred, Effect, Exit, Fiber, Queue } from "effect"
import type { PipelineClient } from "../../database/Sql.ts"
import type { Rows } from "../Consumer.ts"
import * as OffsetMoves from "./OffsetMoves.ts"

/** Rows of one transaction; the last partition's may go beyond. */
const ROWS_AT_ONCE = 2_000
/** A transaction that takes longer no longer holds up the next one: something of its own keeps it. */
const PATIENCE = "250 millis"

interface Waiting<R> {
  readonly move: OffsetMoves.Move
  readonly rows: Rows<R> | undefined
  readonly done: Deferred.Deferred<"stored" | "alone">
}

export class GroupCommit<R> {
  readonly #sql: PipelineClient
  readonly #queue: Queue.Queue<Waiting<R>>

  constructor(sql: PipelineClient, queue: Queue.Queue<Waiting<R>>) {
    this.#sql = sql
    this.#queue = queue
  }

  static readonly make = <R>(sql: PipelineClient) =>
    Effect.map(Queue.unbounded<Waiting<R>>(), (queue) => new GroupCommit<R>(sql, queue))

  /** Stores the rows and moves the offset, with others'. "alone": that came to nothing, for whoever's sake; each has to try by itself. */
  submit(move: OffsetMoves.Move, rows: Rows<R> | undefined): Effect.Effect<"stored" | "alone"> {
    return Effect.suspend(() => {
      const done = Deferred.makeUnsafe<"stored" | "alone">()
      Queue.offerUnsafe(this.#queue, { move, rows, done })
      return Deferred.await(done)
    })
  }

  /** Has to run for {@link submit} to complete. */
  readonly run: Effect.Effect<never, never, R> = Effect.gen({ self: this }, function* () {
    while (true) {
      const waiting = yield* Queue.takeAll(this.#queue)
      for (const part of partsOf(waiting)) {
        const fiber = yield* Effect.forkChild(this.#commit(part), { startImmediately: true })
        yield* Effect.raceFirst(Fiber.await(fiber), Effect.sleep(PATIENCE))
      }
    }
  })

  #commit(part: ReadonlyArray<Waiting<R>>) {
    return Effect.onExit(this.#store(part), (exit) => {
      const answer = Exit.isSuccess(exit) ? "stored" : "alone"
      return Effect.sync(() => part.forEach(({ done }) => Deferred.doneUnsafe(done, Exit.succeed(answer))))
    })
  }

  #store(part: ReadonlyArray<Waiting<R>>): Effect.Effect<unknown, unknown, R> {
    const guard = OffsetMoves.moveAllOrFail(
      this.#sql,
      part.map(({ move }) => move)
    )
    const given = part.flatMap(({ rows }) => (rows === undefined ? [] : [rows]))
    const first = given[0]
    if (first === undefined) return guard
    // A consumer has one way to store.
    return this.#sql.withGuard(guard, first.store(given.flatMap(({ values }) => values)))
  }
}

const partsOf = <R>(waiting: ReadonlyArray<Waiting<R>>): ReadonlyArray<ReadonlyArray<Waiting<R>>> => {
  const parts: Array<Array<Waiting<R>>> = [[]]
  let rows = 0
  for (const one of waiting) {
    if (rows >= ROWS_AT_ONCE) {
      parts.push([])
      rows = 0
    }
    parts.at(-1)!.push(one)
    rows += one.rows?.values.length ?? 0
  }
  return parts
}
