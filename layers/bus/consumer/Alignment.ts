/**
 * Partitions of one consumer kept close to each other in received-at while they have lag, as Flink aligns watermarks: where what
 * comes of several partitions meets, one that is far ahead makes the others' records late, and lateness is paid for by folding
 * again. Only those of this process know of each other.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import type { Batch, StoredRecord } from "../Bus.ts"
import { keyOf } from "./Partition.ts"
import { receivedAtOf } from "./PartitionTime.ts"

/** A partition that has not moved for so long is not waited for until it does. */
const PATIENCE_MILLIS = 2_000

const tellsTime = (record: StoredRecord) => receivedAtOf(record) !== undefined

interface Place {
  readonly time: Instant
  /** Of `performance.now`. */
  readonly since: number
}

export class Alignment {
  readonly #maxDriftMicros: number
  /** Of the partitions that have lag: when what they are at was received. */
  readonly #places = new Map<string, Place>()
  readonly #waiting = new Set<() => void>()

  constructor(maxDriftMicros: number) {
    this.#maxDriftMicros = maxDriftMicros
  }

  /** Handles the batch in parts of which none goes further ahead of the slowest other partition than the drift that is allowed. */
  handle<E, R>(batch: Batch, handle: (part: Batch) => Effect.Effect<void, E, R>): Effect.Effect<void, E, R> {
    const key = keyOf(batch)
    return Effect.gen({ self: this }, function* () {
      const begin = batch.records.find(tellsTime)
      if (begin !== undefined) this.#put(key, receivedAtOf(begin)!)
      // Those that are handed out at the same time are known to each other before any of them goes on.
      yield* Effect.yieldNow
      for (let rest: Batch | undefined = batch; rest !== undefined;) {
        const records: Batch["records"] = rest.records
        const first = records.find(tellsTime)
        if (first !== undefined) {
          const time = receivedAtOf(first)!
          this.#put(key, time)
          yield* this.#untilClose(key, time)
        }
        const until = this.#slowestBut(key) + this.#maxDriftMicros
        const isBeyond = (record: StoredRecord, index: number) =>
          index > 0 && (receivedAtOf(record) ?? -Infinity) > until
        const cut = until === Infinity ? -1 : records.findIndex(isBeyond)
        const next: bigint | undefined = records[cut]?.offset
        yield* handle(next === undefined ? rest : { ...rest, records: records.slice(0, cut), next })
        rest = next === undefined ? undefined : { ...rest, records: records.slice(cut) }
      }
      // What lies beyond is not received before this.
      const last = batch.records.findLast(tellsTime)
      if (batch.next >= batch.end || last === undefined) this.#remove(key)
      else this.#put(key, receivedAtOf(last)!)
    }).pipe(Effect.onError(() => Effect.sync(() => this.#remove(key))))
  }

  #put(key: string, time: Instant): void {
    if (this.#places.get(key)?.time === time) return
    this.#places.set(key, { time, since: performance.now() })
    this.#wake()
  }

  #remove(key: string): void {
    if (this.#places.delete(key)) this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }

  /** Infinity: there is none that has lag and moves. */
  #slowestBut(key: string): Instant {
    const patience = performance.now() - PATIENCE_MILLIS
    let slowest = Infinity
    for (const [other, { since, time }] of this.#places)
      if (other !== key && since >= patience && time < slowest) slowest = time
    return slowest
  }

  #untilClose(key: string, time: Instant): Effect.Effect<void> {
    const isClose = () => time <= this.#slowestBut(key) + this.#maxDriftMicros
    return Effect.suspend(() =>
      isClose()
        ? Effect.void
        : Effect.callback<void>((resume) => {
            const look = () => {
              if (!isClose()) return
              end()
              resume(Effect.void)
            }
            const timer = setInterval(look, PATIENCE_MILLIS / 4)
            const end = () => {
              clearInterval(timer)
              this.#waiting.delete(look)
            }
            this.#waiting.add(look)
            return Effect.sync(end)
          })
    )
  }
}
