/**
 * Running a consumer: its subscription, its pulse, and coming back after another member has taken a partition over.
 * @module
 */
import { DatabaseUnavailable, Fenced, type UnknownTopic } from "@argusiq/domain/errors.ts"
import { Deferred, Effect, Fiber, Latch, type Scope } from "effect"
import type { SqlClient } from "effect/sql"
import { PipelineSql } from "../../database/Sql.ts"
import { Safeguards } from "../../Safeguards.ts"
import { CurrentMessageTracing } from "../../tracing/MessageTracing.ts"
import { type Batch, Bus, type Subscription } from "../Bus.ts"
import type { Consumer } from "../Consumer.ts"
import { Alignment } from "./Alignment.ts"
import { assign } from "./assign.ts"
import * as ConsumerMetrics from "./ConsumerMetrics.ts"
import { ConsumerStatus } from "./ConsumerStatus.ts"
import { GroupCommit } from "./GroupCommit.ts"
import type { Loop } from "./Loop.ts"
import * as Offsets from "./Offsets.ts"
import { Outages } from "./Outages.ts"
import { keyOf } from "./Partition.ts"
import { pulse } from "./pulse.ts"
import { settleBatch } from "./settle.ts"
import { tickIfWanted } from "./tick.ts"

const batches = { maxRecords: 2_000, maxBytes: 16 * 1_048_576, maxWaitMillis: 5 }

/** {@link Consumer} describes what it runs. Interrupted, it lets running batches end; what waits for something gives up. */
export const run = Effect.fnUntraced(function* <R>(consumer: Consumer<R>) {
  const metrics = yield* ConsumerMetrics.make(consumer.service, consumer.group)
  const status = yield* ConsumerStatus
  const sql = yield* PipelineSql
  const loop: Loop<R> = {
    consumer,
    bus: yield* Bus,
    sql,
    commits: yield* GroupCommit.make<R>(sql),
    safeguards: yield* Safeguards,
    metrics,
    status,
    outages: new Outages(consumer.group, status, metrics),
    tracing: yield* CurrentMessageTracing,
    partitions: new Map(),
    rewound: Latch.makeUnsafe(false)
  }
  const fiber = yield* Effect.forkDetach(Effect.scoped(member(loop)), { startImmediately: true })
  const stop = Effect.andThen(Deferred.succeed(loop.outages.stopping, undefined), Fiber.interrupt(fiber))
  return yield* Effect.onInterrupt(Fiber.join(fiber), () => stop)
})

const member = Effect.fnUntraced(function* <R>(loop: Loop<R>): Effect.fn.Return<never, UnknownTopic, R | Scope.Scope> {
  yield* Effect.forkScoped(loop.commits.run)
  yield* Effect.forkScoped(pulse(loop))
  yield* Effect.addFinalizer(() => Effect.sync(() => forget(loop)))
  while (true) {
    loop.rewound.closeUnsafe()
    yield* Effect.raceFirst(Effect.scoped(subscribe(loop)), untilRewound(loop)).pipe(
      Effect.catchTags({
        Fenced: (fenced) =>
          Effect.logWarning(
            `${loop.consumer.group} was refused on ${keyOf(fenced)}: another member has taken it over. ` +
              "The batch was rolled back; it joins its group again."
          ),
        BusUnavailable: ({ cause }) =>
          Effect.logWarning(`${loop.consumer.group} lost its subscription, the bus is unavailable: ${String(cause)}`)
      })
    )
    forget(loop)
    yield* Effect.sleep("1 second")
  }
})

/** Its partitions are nobody's, or another's. */
const forget = <R>({ consumer, partitions, status }: Loop<R>) => {
  for (const { at } of partitions.values()) status.remove(consumer.group, at)
  partitions.clear()
}

/** By then the bus has been sought too, and where that brought records they have ended the subscription already. */
const REWOUND_FOR = "3 seconds"

const untilRewound = <R>({ consumer, rewound }: Loop<R>) =>
  rewound.await.pipe(
    Effect.andThen(Effect.sleep(REWOUND_FOR)),
    Effect.andThen(Effect.logInfo(`${consumer.group} was set to other offsets; it joins its group again.`))
  )

const subscribe = <R>(loop: Loop<R>) => {
  const { bus, consumer, partitions, sql } = loop
  const subscription: Subscription = {
    ...batches,
    ...(consumer.maxWaitMillis !== undefined && { maxWaitMillis: consumer.maxWaitMillis }),
    group: consumer.group,
    topics: consumer.topics,
    ...(consumer.together === true && { together: true }),
    startAt: (assigned) => assign(loop, assigned),
    ...(consumer.offsets === "postgres" ? { beforeCommit: flushRows(consumer.group, sql) } : {})
  }
  const alignment = consumer.maxDriftMicros === undefined ? undefined : new Alignment(consumer.maxDriftMicros)
  const handle = (batch: Batch) =>
    Effect.suspend(() => {
      const partition = partitions.get(keyOf(batch))
      if (partition === undefined) {
        return Effect.fail(new Fenced({ group: consumer.group, topic: batch.topic, partition: batch.partition }))
      }
      return partition.turn.withPermit(
        Effect.andThen(settleBatch(loop, partition, batch), tickIfWanted(loop, partition))
      )
    })
  return bus.subscribe(subscription, alignment === undefined ? handle : (batch) => alignment.handle(batch, handle))
}

/**
 * Retention goes by the offset on the bus, the truth is in rows whose commit is asynchronous: a crash of the machine may
 * take back the last fraction of a second of it. So the bus hears of an offset only after the rows up to it are flushed,
 * about a second later, and what a crash takes back is still in the log.
 */
const flushRows = (group: string, sql: SqlClient.SqlClient) => {
  let told = false
  return Offsets.flushed(sql).pipe(
    Effect.tap(() => Effect.sync(() => (told = false))),
    Effect.mapError((cause) => new DatabaseUnavailable({ cause })),
    Effect.tapError(({ cause }) => {
      if (told) return Effect.void
      told = true
      return Effect.logWarning(
        `${group} cannot learn whether its rows are flushed: ${String(cause)}. Until it can, the log keeps what it has read.`
      )
    })
  )
}
