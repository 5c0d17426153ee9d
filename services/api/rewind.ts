/**
 * Moves a consumer group to other records of the log, while it runs.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type Rewinding } from "@argusiq/domain/http/operations.ts"
import { pipeline } from "@argusiq/domain/pipeline.ts"
import { Bus, type Position, type TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import { rewind } from "@argusiq/layers/bus/consumer/Offsets.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"

/** Within it whoever runs the group has seen that its partitions are not its own any more. */
const NOTICED = "2500 millis"

type Asked = typeof Rewinding.Type

/** The partitions that are asked for; none: there is no such group, topic or partition. */
const partitionsOf = ({ group, partition, topic }: Asked, count: number): ReadonlyArray<TopicPartition> =>
  pipeline
    .filter((stage) => stage.group === group)
    .flatMap(({ reads }) => reads)
    .filter((read) => topic === undefined || read === topic)
    .flatMap((read) => Array.from({ length: count }, (_, number) => ({ topic: read, partition: number })))
    .filter((at) => partition === undefined || at.partition === partition)

export const makeRewind = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* PipelineSql

  const positionAt = Effect.fnUntraced(function* (at: TopicPartition, { offset, time }: Asked) {
    const { end, start } = yield* bus.range(at)
    const asked = offset !== undefined ? BigInt(offset) : yield* bus.offsetAt(at, time ?? 0)
    return { ...at, offset: asked < start ? start : asked > end ? end : asked } satisfies Position
  })

  /** Where the group's partitions go on; empty: none is so named. */
  return Effect.fn("rewind")(function* (asked: Asked) {
    const positions = yield* Effect.forEach(partitionsOf(asked, bus.partitions), (at) => positionAt(at, asked))
    // Where offsets are kept beside rows these are the truth: whoever runs the group lets go of it, and begins again there.
    const stored = yield* rewind(sql, asked.group, positions, bus.logId).pipe(
      Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
    )
    if (stored > 0) yield* Effect.sleep(NOTICED)
    yield* bus.seek(asked.group, positions)
    return positions.map(({ offset, partition, topic }) => ({ topic, partition, next: String(offset) }))
  })
})
