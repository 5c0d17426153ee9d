/**
 * The bus on Kafka or what speaks its protocol, for any number of processes.
 * @module
 */
import { BusUnavailable, UnknownTopic } from "@argusiq/domain/errors.ts"
import { KAFKA_PARTITIONS, type Topic, topicTable } from "@argusiq/domain/topics.ts"
import { Clock, Effect, Layer, Option, Schedule, Stream } from "effect"
import { Bus, type TopicPartition } from "../Bus.ts"
import { Backlog } from "./Backlog.ts"
import { Connection } from "./Connection.ts"
import { follow } from "./Follower.ts"
import { KafkaNotReady } from "./KafkaNotReady.ts"
import { type ClientSettings, makeClient } from "./kafkajs.ts"
import { EARLIEST, LATEST, LogReader, type Page } from "./LogReader.ts"
import { keyOf, type Offset } from "./Membership.ts"
import { Producer } from "./Producer.ts"
import { clientSettings, layerSettings } from "./settings.ts"
import { type Running, subscribe, type SubscriberOptions } from "./Subscription.ts"
import { prepareTopics } from "./topics.ts"

export interface KafkaBusOptions extends ClientSettings {
  /** The topics to create; {@link topicTable} when absent. */
  readonly topics?: Iterable<Topic>
  /** Of every topic; where they exist they must have so many. Default {@link KAFKA_PARTITIONS}. */
  readonly partitions?: number
  /** Before the names of topics and groups in Kafka: several installations on one cluster do not meet. Default none. */
  readonly prefix?: string
  /** Batches of one subscription handled at the same time. Default 12. */
  readonly concurrency?: number
  /** Without a sign of life for so long a member of a group has left. Default 30,000. */
  readonly sessionMillis?: number
  /** How long a published record may wait for its acknowledgement. Default 30,000. */
  readonly deliveryMillis?: number
  /** How long Kafka may take to answer at the start. Default 60,000. */
  readonly startMillis?: number
  /** How often it is looked whether what the log holds is also read. Default 5,000. */
  readonly watchMillis?: number
  /** How often it is measured how much of a topic's retention the slowest group needs. Default 30,000. */
  readonly backlogMillis?: number
  /** Groups that no longer exist: nobody waits for them. */
  readonly forgetGroups?: ReadonlyArray<string>
}

const unavailable = (cause: unknown) => new BusUnavailable({ cause })

const ask = <A>(request: () => Promise<A>): Effect.Effect<A, BusUnavailable> =>
  Effect.tryPromise({ try: request, catch: unavailable })

/** Topics are created, and a cluster that cannot serve is refused, before the layer is there. */
const connect = (
  options: KafkaBusOptions,
  topics: ReadonlyArray<Topic>,
  partitions: number,
  nameOf: (name: string) => string
) =>
  Effect.tryPromise({
    try: async () => {
      const admin = makeClient(options).admin()
      try {
        await admin.connect()
        const { clusterId } = await admin.describeCluster()
        return { clusterId, replicas: await prepareTopics(admin, topics, partitions, nameOf) }
      } finally {
        await admin.disconnect().catch(() => undefined)
      }
    },
    catch: (cause) => new KafkaNotReady({ brokers: options.brokers.join(","), cause })
  })

const make = Effect.fn("KafkaBus.make")(function* (options: KafkaBusOptions) {
  const topics = new Map(Array.from(options.topics ?? topicTable.values(), (topic) => [topic.name, topic]))
  const partitions = options.partitions ?? KAFKA_PARTITIONS
  const prefix = options.prefix ?? ""
  const nameOf = (name: string) => `${prefix}${name}`
  const kafkaTopics = [...topics.keys()].map(nameOf)
  const { clusterId: logId, replicas } = yield* connect(options, [...topics.values()], partitions, nameOf).pipe(
    Effect.tapError((error) =>
      error.isRetryable ? Effect.logInfo(`${error.message} It is tried again.`) : Effect.void
    ),
    Effect.retry({
      while: (error) => error.isRetryable,
      schedule: Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: options.startMillis ?? 60_000 }))
    })
  )
  if (replicas < 2) {
    yield* Effect.logWarning(
      "Kafka keeps one replica of a topic. It acknowledges before it writes to its disk and is durable by its replicas: with three " +
        "brokers nothing is lost when one crashes; with one, set log.flush.interval.messages=1 there if a crash of its machine " +
        "must lose nothing."
    )
  }
  const readerConnection = new Connection(options, kafkaTopics)
  const reader = new LogReader(readerConnection)
  const backlog = new Backlog(reader, { topics, partitions, nameOf, forgetGroups: options.forgetGroups ?? [], prefix })
  const producerConnection = new Connection(options, kafkaTopics)
  const producer = new Producer(producerConnection, {
    topics,
    partitions,
    nameOf,
    refusal: (topic) => backlog.refusal(topic),
    deliveryMillis: options.deliveryMillis ?? 30_000
  })
  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      await producer.close()
      producerConnection.close()
      readerConnection.close()
    })
  )
  const everywhere = kafkaTopics.flatMap((topic) =>
    Array.from({ length: partitions }, (_, partition) => ({ topic, partition }))
  )
  // A topic made a moment ago may not be known yet to the broker that leads it. What cannot be reached now is tried again when
  // it is needed.
  const reachable = ask(() => Promise.all([producerConnection.cluster(), reader.offsets(everywhere, LATEST)]))
  yield* Effect.ignore(Effect.retry(reachable, { times: 3 }))
  yield* Effect.forkScoped(backlog.measureEvery(options.backlogMillis ?? 30_000))

  const running = new Set<Running>()
  const subscriber: SubscriberOptions = {
    settings: options,
    reader,
    logId,
    partitions,
    nameOf,
    concurrency: options.concurrency ?? 12,
    sessionMillis: options.sessionMillis ?? 30_000,
    watchMillis: options.watchMillis ?? 5_000
  }
  const known = ({ topic, partition }: TopicPartition): Effect.Effect<TopicPartition, UnknownTopic> =>
    topics.has(topic) && partition < partitions
      ? Effect.succeed({ topic: nameOf(topic), partition })
      : Effect.fail(new UnknownTopic({ topic }))
  const offsetOf = (at: TopicPartition, millis: number) =>
    Effect.flatMap(known(at), (found) =>
      Effect.map(
        ask(() => reader.offsets([found], millis)),
        (offsets) => offsets.get(keyOf(found.topic, found.partition)) ?? -1
      )
    )
  /** Of the first record from there on, in microseconds; undefined: there is none. */
  const appendedAt = async (at: TopicPartition, offset: number): Promise<number | undefined> => {
    for (const one of running) {
      const found = one.appendedAt(keyOf(at.topic, at.partition), offset)
      if (found !== undefined) return found
    }
    return reader.appendedAt(at, offset)
  }

  return Bus.of({
    logId,
    partitions,
    publish: (records) =>
      records.length === 0 ? Effect.void : Effect.callback((resume) => producer.publish(records, resume)),
    subscribe: (subscription, handle) => {
      const unknown = subscription.topics.find((topic) => !topics.has(topic))
      return unknown === undefined
        ? subscribe(subscriber, running, subscription, handle)
        : Effect.fail(new UnknownTopic({ topic: unknown }))
    },
    follow: (following, handle) => {
      const unknown = following.topics.find((topic) => !topics.has(topic))
      return unknown === undefined
        ? follow(subscriber, following, handle)
        : Effect.fail(new UnknownTopic({ topic: unknown }))
    },
    read: (at, from, to) =>
      Stream.unwrap(
        Effect.map(known(at), (found) =>
          Stream.paginate(Number(from), (offset) =>
            Effect.map(
              offset >= Number(to)
                ? Effect.succeed<Page>({ records: [], next: offset, end: offset })
                : ask(() => reader.page(found, Math.max(0, offset))),
              ({ records, next, end }) => {
                const wanted = records
                  .filter((record) => record.offset < to)
                  .map((record) => ({ ...record, topic: at.topic }))
                return [wanted, next >= end || next >= Number(to) ? Option.none() : Option.some(next)] as const
              }
            )
          )
        )
      ),
    range: (at) =>
      Effect.map(Effect.all([offsetOf(at, EARLIEST), offsetOf(at, LATEST)], { concurrency: 2 }), ([start, end]) => ({
        start: BigInt(start),
        end: BigInt(end)
      })),
    offsetAt: (at, time) =>
      Effect.flatMap(offsetOf(at, Math.max(0, Math.ceil(time / 1_000))), (offset) =>
        offset >= 0 ? Effect.succeed(BigInt(offset)) : Effect.map(offsetOf(at, LATEST), BigInt)
      ),
    lag: (group) =>
      Effect.gen(function* () {
        const all = yield* ask(() => reader.committed(nameOf(group)))
        const committed = all.filter(({ topic, partition }) => kafkaTopics.includes(topic) && partition < partitions)
        if (committed.length === 0) return []
        const ends = yield* ask(() => reader.offsets(committed, LATEST))
        const now = (yield* Clock.currentTimeMillis) * 1_000
        return yield* Effect.forEach(
          committed,
          Effect.fnUntraced(function* ({ topic, partition, offset }) {
            const records = Math.max(0, (ends.get(keyOf(topic, partition)) ?? 0) - offset)
            const first = records === 0 ? undefined : yield* ask(() => appendedAt({ topic, partition }, offset))
            return {
              topic: topic.slice(prefix.length),
              partition,
              offset: BigInt(offset),
              records: BigInt(records),
              seconds: first === undefined ? 0 : Math.max(0, now - first) / 1_000_000
            }
          }),
          { concurrency: 4 }
        )
      }),
    seek: Effect.fn("Bus.seek")(function* (group, to) {
      const offsets: Array<Offset> = []
      for (const position of to) {
        const { topic, partition } = yield* Effect.mapError(known(position), unavailable)
        offsets.push({ topic, partition, offset: Number(position.offset) })
      }
      const members = [...running].filter((one) => one.group === group)
      if (members.length === 0) {
        return yield* Effect.asVoid(ask(() => reader.commit(nameOf(group), offsets)))
      }
      for (const offset of offsets) {
        const key = keyOf(offset.topic, offset.partition)
        const owner = members.find((member) => member.has(key))
        if (owner === undefined) {
          return yield* unavailable(
            new Error(`${key} is read by another process of ${group}: seek there, or stop it first`)
          )
        }
        yield* Effect.mapError(owner.seek([offset]), unavailable)
      }
    })
  })
})

/** Kafka as the options say. */
export const layer = (options: KafkaBusOptions): Layer.Layer<Bus, KafkaNotReady> => Layer.effect(Bus, make(options))

/** As {@link layerSettings} of the environment say. */
export const layerConfig = Layer.unwrap(
  Effect.map(layerSettings, (settings) => layer({ ...settings, ...clientSettings(settings) }))
)
