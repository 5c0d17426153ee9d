/**
 * A replay job: messages of a span of time, from the audit copy or from what the log still holds, published once more.
 * @module
 */
import { type Instant } from "@argusiq/domain/ids.ts"
import {
  isReplayable,
  replayCopy,
  type ReplayedRecord,
  ReplayParameters,
  replayRecord
} from "@argusiq/domain/replay.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { step, type TakenJob } from "@argusiq/layers/jobs/JobQueue.ts"
import {
  oldestRaw,
  positionBefore,
  type RawPosition,
  RawReader,
  type Senders
} from "@argusiq/layers/jobs/RawMessages.ts"
import { Effect, Option, Schema, Stream } from "effect"
import { type Throttle } from "./throttle.ts"

/** Few enough that live messages behind them hardly wait. */
const AT_ONCE = { messages: 500, bytes: 1_048_576 }
/** A record may have been appended so much later than it was received: a clock set back, a log copied. */
const appendedLate = 86_400_000_000

const decodeParameters = Schema.decodeUnknownEffect(ReplayParameters)
const CopyCheckpoint = Schema.Struct({ receivedAt: Schema.Int, messageId: Schema.String })
const decodeCopyCheckpoint = Schema.decodeUnknownSync(Schema.NullOr(CopyCheckpoint))
/** `ends` were the ends of the log's partitions when the job began; offsets as decimal text. */
const TopicCheckpoint = Schema.Struct({
  partition: Schema.Int,
  offset: Schema.String,
  ends: Schema.Array(Schema.String)
})
const decodeTopicCheckpoint = Schema.decodeUnknownSync(Schema.NullOr(TopicCheckpoint))

const sendersOf = ({ deviceId, deviceTypeId }: ReplayParameters): Senders =>
  deviceId !== undefined
    ? { _tag: "Device", id: deviceId }
    : deviceTypeId !== undefined
      ? { _tag: "OfType", id: deviceTypeId }
      : { _tag: "All" }

export const replay = Effect.fn("replay")(function* (job: TakenJob, throttle: Throttle) {
  const parameters = yield* decodeParameters(job.parameters)
  return parameters.source === "raw"
    ? yield* fromCopy(job, parameters, throttle)
    : yield* fromTopic(job, parameters, throttle)
})

const publish = Effect.fnUntraced(function* (records: ReadonlyArray<ReplayedRecord>, throttle: Throttle) {
  const bus = yield* Bus
  yield* throttle.take(records.length)
  yield* bus.publish(records)
})

const fromCopy = Effect.fnUntraced(function* (job: TakenJob, parameters: ReplayParameters, throttle: Throttle) {
  const sql = yield* PipelineSql
  const { from, to } = parameters
  const reader = new RawReader(sql, job.tenantId, sendersOf(parameters))
  const begun = decodeCopyCheckpoint(job.checkpoint) ?? positionBefore((yield* oldestRaw(sql, from)) ?? to)
  let progress = job.progress
  const pageAfter = (position: RawPosition) =>
    Effect.map(reader.page(position, to, AT_ONCE), (page) => {
      const following = page.next.receivedAt < to ? Option.some(page.next) : Option.none()
      return [page.messages.length === 0 ? [] : [page], following] as const
    })
  if (begun.receivedAt >= to) return
  yield* Stream.paginate(begun, pageAfter).pipe(
    Stream.buffer({ capacity: 1 }), // the next page is read while this one is published
    Stream.runForEach(({ messages, next }) =>
      Effect.gen(function* () {
        yield* publish(
          messages.map((message) => replayCopy(message, job.id, parameters)),
          throttle
        )
        progress += messages.length
        yield* step(sql, job, progress, next)
      })
    )
  )
})

/** Whether a message's device is one that the replay is for. */
const chosenDevices = Effect.fnUntraced(function* (tenantId: string, { deviceId, deviceTypeId }: ReplayParameters) {
  if (deviceId !== undefined) return (id: string) => id === deviceId
  if (deviceTypeId === undefined) return (id: string) => id !== ""
  const sql = yield* PipelineSql
  const rows = yield* sql<{ id: string }>`
    select id::text from devices where tenant_id = ${tenantId}::uuid and device_type_id = ${deviceTypeId}::uuid`
  const ids = new Set(rows.map(({ id }) => id))
  return (id: string) => ids.has(id)
})

const later = (bound: bigint, other: bigint) => (bound > other ? bound : other)
const earlier = (bound: bigint, other: bigint) => (bound < other ? bound : other)

/** Partition by partition: a device's messages are all in one. */
const fromTopic = Effect.fnUntraced(function* (job: TakenJob, parameters: ReplayParameters, throttle: Throttle) {
  const bus = yield* Bus
  const sql = yield* PipelineSql
  const isDevice = yield* chosenDevices(job.tenantId, parameters)
  const endsNow = Effect.forEach(Array.from({ length: bus.partitions }), (_, partition) =>
    Effect.map(bus.range({ topic: Topics.raw, partition }), ({ end }) => String(end))
  )
  const begun = decodeTopicCheckpoint(job.checkpoint)
  const ends = begun?.ends ?? (yield* endsNow)
  let progress = job.progress
  for (let partition = begun?.partition ?? 0; partition < bus.partitions; partition++) {
    const at = { topic: Topics.raw, partition }
    const first = yield* bus.offsetAt(at, parameters.from)
    const to = earlier(BigInt(ends[partition] ?? 0), yield* bus.offsetAt(at, (parameters.to + appendedLate) as Instant))
    const from = later(first, partition === begun?.partition ? BigInt(begun.offset) : 0n)
    if (from >= to) continue
    yield* bus.read(at, from, to).pipe(
      Stream.grouped(AT_ONCE.messages),
      Stream.runForEach(
        Effect.fnUntraced(function* (records) {
          const wanted = records.filter(({ headers }) => isReplayable(headers, job.tenantId, isDevice, parameters))
          if (wanted.length > 0) {
            yield* publish(
              wanted.map((record) => replayRecord(record, job.id, parameters)),
              throttle
            )
          }
          progress += records.length
          yield* step(sql, job, progress, { partition, offset: String(records.at(-1)!.offset + 1n), ends })
        })
      )
    )
  }
})
