/**
 * The bus as an embedded log, for one process: durable, partitioned and replayable like Kafka, with nothing to install.
 * @module
 */
import { BusUnavailable, UnknownTopic } from "@argusiq/domain/errors.ts"
import { EMBEDDED_PARTITIONS, type Topic, topicTable } from "@argusiq/domain/topics.ts"
import { Clock, Config, Context, Effect, Exit, Layer, Option, Schema, type Scope, Stream } from "effect"
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { Bus, type TopicPartition } from "../Bus.ts"
import { ConsumerGroups } from "./ConsumerGroups.ts"
import { lockDirectory } from "./DirectoryLock.ts"
import { DiskSpace, MIN_FREE_BYTES, minFreeBytes } from "./DiskSpace.ts"
import { follow } from "./Follower.ts"
import { openLmdb } from "./LmdbStorage.ts"
import { Log, type Partition } from "./Log.ts"
import { LogNotOpened } from "./LogNotOpened.ts"
import type { LogStorage } from "./LogStorage.ts"
import { LogWriter } from "./LogWriter.ts"
import { Retention, type RetentionReport } from "./Retention.ts"
import { subscribe } from "./Subscription.ts"

/** Retention of the embedded log, which runs by itself, on demand. */
export class LogRetention extends Context.Service<
  LogRetention,
  { readonly run: Effect.Effect<RetentionReport, BusUnavailable> }
>()("argusiq/layers/bus/local/LogRetention") {}

const CONCURRENCY = 4

export interface LogOptions {
  /** The topics to create; {@link topicTable} when absent. */
  readonly topics?: Iterable<Topic>
  /** Of every topic in a log that begins; one that exists keeps its own. Default {@link EMBEDDED_PARTITIONS}. */
  readonly partitions?: number
  /**
   * Batches of one subscription handled at the same time. Default 4: enough to work on some while others wait for the disk or
   * for PostgreSQL. With more, each takes longer on the one thread, and what it has made outlives its collection.
   */
  readonly concurrency?: number
  /** Groups that no longer exist: their offsets are dropped, so that they hold nothing back. */
  readonly forgetGroups?: ReadonlyArray<string>
  /** How often retention runs. Default 60,000. */
  readonly retentionMillis?: number
  /** How long a group's commit may wait to be written. Default 100. */
  readonly commitMillis?: number
}

export interface LocalBusOptions extends LogOptions {
  /** Holds the log and nothing else; made when absent. */
  readonly directory: string
  /** Of disk space, below which nothing is accepted. Default {@link MIN_FREE_BYTES}. */
  readonly minFreeBytes?: number
}

const PAGE_RECORDS = 500
const PAGE_BYTES = 4_194_304

const every = <A, E>(millis: number, effect: Effect.Effect<A, E>) =>
  effect.pipe(Effect.ignore({ log: true }), Effect.delay(millis), Effect.forever, Effect.forkScoped)

/** The log on any store. The store is closed with the scope, after all that was published is settled. */
export const makeLog = Effect.fn("LocalBus.makeLog")(function* (
  storage: LogStorage,
  refusal: () => string | undefined,
  options: LogOptions
): Effect.fn.Return<Context.Context<Bus | LogRetention>, Error, Scope.Scope> {
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe() * 1_000
  yield* Effect.addFinalizer(() => Effect.promise(() => storage.close()))
  const log = yield* Effect.tryPromise({
    try: () => {
      const topics = [...(options.topics ?? topicTable.values())]
      return Log.open(storage, topics, options.partitions ?? EMBEDDED_PARTITIONS, randomUUID)
    },
    catch: (cause) => (cause instanceof Error ? cause : new Error(String(cause)))
  })
  const groups = new ConsumerGroups(storage.notes(), options.forgetGroups ?? [])
  const writer = new LogWriter(log, { now, refusal })
  const retention = new Retention(log, groups, writer, now)

  const writeGroups = Effect.callback<void, BusUnavailable>((resume) => {
    if (!groups.dirty) return resume(Effect.void)
    let changed: ReturnType<ConsumerGroups["write"]> = []
    writer.change({
      write: (transaction) => {
        changed = groups.write(transaction)
      },
      done: (exit) => {
        groups.written(changed, Exit.isSuccess(exit))
        resume(exit)
      }
    })
  })
  yield* Effect.addFinalizer(() =>
    writeGroups.pipe(Effect.ignore({ log: true }), Effect.andThen(Effect.promise(() => writer.close())))
  )

  const retain = Effect.tryPromise({
    try: () => retention.run(),
    catch: (cause) => (cause instanceof BusUnavailable ? cause : new BusUnavailable({ cause }))
  })
  yield* every(options.commitMillis ?? 100, writeGroups)
  yield* every(
    options.retentionMillis ?? 60_000,
    Effect.flatMap(retain, ({ heldBack }) =>
      Effect.forEach(heldBack, ({ topic, group, bytes }) =>
        Effect.logWarning(
          `${topic} holds ${bytes} bytes, more than its limit, for the group ${group}: ` +
            "start what reads it, or forget the group with ARGUSIQ_BUS_FORGET_GROUPS"
        )
      )
    )
  )

  const partition = ({ topic, partition }: TopicPartition): Effect.Effect<Partition, UnknownTopic> => {
    const found = log.partitionsOf(topic)?.[partition]
    return found === undefined ? Effect.fail(new UnknownTopic({ topic })) : Effect.succeed(found)
  }

  const bus = Bus.of({
    logId: log.logId,
    partitions: log.partitions,
    publish: (records) =>
      records.length === 0 ? Effect.void : Effect.callback((resume) => writer.publish(records, resume)),
    subscribe: (subscription, handle) =>
      subscribe({ log, groups, concurrency: options.concurrency ?? CONCURRENCY }, subscription, handle),
    follow: (following, handle) => follow({ log, concurrency: options.concurrency ?? CONCURRENCY }, following, handle),
    read: (at, from, to) =>
      Stream.unwrap(
        Effect.map(partition(at), (found) =>
          Stream.paginate(Number(from), (offset) =>
            attempt(() => {
              const first = Math.max(offset, found.bounds.start)
              const records = log.read(found, first, Number(to), PAGE_RECORDS, PAGE_BYTES)
              return [records, records.length === 0 ? Option.none() : Option.some(first + records.length)] as const
            })
          )
        )
      ),
    range: (at) =>
      Effect.map(partition(at), ({ bounds }) => ({ start: BigInt(bounds.start), end: BigInt(bounds.end) })),
    offsetAt: (at, time) => Effect.flatMap(partition(at), (found) => attempt(() => BigInt(log.offsetAt(found, time)))),
    lag: (group) =>
      attempt(() =>
        Array.from(groups.get(group)?.offsets ?? [], ([slot, offset]) => {
          const found = log.partitionAt(slot)
          if (found === undefined) return []
          const { start, end } = found.bounds
          const records = Math.max(0, end - Math.max(offset, start))
          const waiting = records === 0 ? 0 : now() - log.appendedAt(found, Math.max(offset, start))
          return [
            {
              topic: found.topic.name,
              partition: found.partition,
              offset: BigInt(offset),
              records: BigInt(records),
              seconds: Math.max(0, waiting) / 1_000_000
            }
          ]
        }).flat()
      ),
    seek: (group, to) =>
      Effect.gen(function* () {
        for (const position of to) {
          const { slot } = yield* Effect.mapError(partition(position), (cause) => new BusUnavailable({ cause }))
          groups.getOrAdd(group).seek(slot, Number(position.offset))
        }
        yield* writeGroups
      })
  })
  return Context.make(Bus, bus).pipe(Context.add(LogRetention, { run: retain }))
})

/** Reading the log throws when its files are damaged. */
const attempt = <A>(read: () => A): Effect.Effect<A, BusUnavailable> =>
  Effect.try({ try: read, catch: (cause) => new BusUnavailable({ cause }) })

/** The embedded log in a directory. */
export const layer = (options: LocalBusOptions): Layer.Layer<Bus | LogRetention, LogNotOpened> => {
  const { directory } = options
  const refused = (cause: unknown) =>
    new LogNotOpened({ directory, message: cause instanceof Error ? cause.message : String(cause) })
  const attemptOpen = <A>(open: () => A) => Effect.try({ try: open, catch: refused })
  return Layer.effectContext(
    Effect.gen(function* () {
      yield* Effect.acquireRelease(
        attemptOpen(() => lockDirectory(directory)),
        (unlock) => Effect.sync(unlock)
      )
      const disk = yield* Effect.acquireRelease(
        attemptOpen(() => new DiskSpace(directory, options.minFreeBytes ?? MIN_FREE_BYTES)),
        (disk) => Effect.sync(() => disk.close())
      )
      const storage = yield* attemptOpen(() => openLmdb(directory))
      return yield* Effect.mapError(makeLog(storage, disk.refusal, options), refused)
    })
  )
}

/** In `bus` of `ARGUSIQ_DATA_DIR` (./data); `ARGUSIQ_BUS_FORGET_GROUPS` lists groups to forget. See also {@link minFreeBytes}. */
export const layerConfig = Layer.unwrap(
  Effect.gen(function* () {
    const dataDirectory = yield* Config.String("ARGUSIQ_DATA_DIR").pipe(Config.withDefault("./data"))
    const forgetGroups = yield* Config.Array(Schema.NonEmptyString, "ARGUSIQ_BUS_FORGET_GROUPS").pipe(
      Config.withDefault([])
    )
    return layer({ directory: join(dataDirectory, "bus"), forgetGroups, minFreeBytes: yield* minFreeBytes })
  })
)
