/**
 * What a consumer does of itself, without a record: once a second, and at once where an outcome asks for it.
 * @module
 */
import { isFedByAll } from "@argusiq/domain/pipeline.ts"
import { Effect } from "effect"
import type { Fenced } from "@argusiq/domain/errors.ts"
import type { Loop } from "./Loop.ts"
import { keyOf, type Partition } from "./Partition.ts"
import { unknown } from "./PartitionTime.ts"
import { publish, store, storeRows } from "./settle.ts"

/** In the partition's turn. A tick that fails comes again with the next pulse. */
export const tick = <R>(loop: Loop<R>, partition: Partition): Effect.Effect<void, Fenced, R> =>
  Effect.catchTags(ticked(loop, partition), {
    Refused: ({ error }) => failed(loop, partition, `${error.reason}: ${error.message}`),
    Broken: ({ detail }) => failed(loop, partition, detail)
  })

/** The tick that an outcome has asked for, in the partition's turn. */
export const tickIfWanted = <R>(loop: Loop<R>, partition: Partition): Effect.Effect<void, Fenced, R> =>
  Effect.suspend(() => (partition.tickWanted ? tick(loop, partition) : Effect.void))

const ticked = Effect.fnUntraced(function* <R>(loop: Loop<R>, partition: Partition) {
  const { consumer, outages } = loop
  const { at, epoch } = partition
  do {
    partition.tickWanted = false
    const { next, time } = partition
    const isTimeless = time === unknown && !isFedByAll(at.topic)
    if (consumer.tick === undefined || isTimeless || loop.partitions.get(keyOf(at)) !== partition) return
    const outcome = yield* outages.persist(
      at,
      Effect.suspend(() => consumer.tick!(at, time, epoch))
    )
    yield* publish(loop, partition, outcome)
    if (outcome.store !== undefined || outcome.rows !== undefined) {
      if (consumer.offsets === "postgres" && next !== undefined) {
        const move = { ...at, group: consumer.group, epoch, from: next, to: next, last: undefined, time }
        yield* outages.persist(at, store(loop, move, outcome))
        partition.keptTime = time
      } else {
        yield* outages.persist(at, storeRows(loop, outcome))
      }
    }
    outcome.stored?.()
    partition.tickWanted = outcome.tickAtOnce === true
  } while (partition.tickWanted)
})

/** A tick has no record to blame; it comes again in a second. */
const failed = <R>({ consumer }: Loop<R>, { at }: Partition, detail: string) =>
  Effect.logError(`A fault of ours: the tick of ${consumer.group} on ${keyOf(at)} failed and comes again.\n${detail}`)
