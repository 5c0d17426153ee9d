/**
 * A reprocess job: the readings of a device type's messages made anew under one version, page by page in the order of
 * received-at, each page's readings put in place of the old ones together with how far the job has come.
 * @module
 */
import { ReprocessParameters } from "@argusiq/domain/reprocess.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { meaningOf } from "@argusiq/layers/bus/consumer/failure.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { step, type TakenJob, waiting } from "@argusiq/layers/jobs/JobQueue.ts"
import { settledBefore } from "@argusiq/layers/jobs/LiveTraffic.ts"
import { oldestRaw, positionBefore, type RawPosition, RawReader } from "@argusiq/layers/jobs/RawMessages.ts"
import { swapReadings } from "@argusiq/layers/jobs/readingsSwap.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Effect, Option, Schema, Stream } from "effect"
import { makeReprocessing, type Reprocessed, type ReprocessedPage } from "./reprocessing.ts"
import { type Throttle } from "./throttle.ts"

/** One transaction; few enough that neither the database nor this process is kept from live messages for long. */
const AT_ONCE = { messages: 1_000, bytes: 524_288 }
const LOOK_AGAIN = 500
/** Usually the last messages are stored within a few seconds. */
const PATIENCE = 15_000
const notStored =
  "It waits until the last messages of its span are stored: the telemetry writer does not run, or is behind. npx argusiq doctor tells more."

const decodeParameters = Schema.decodeUnknownEffect(ReprocessParameters)
/** `failed`: messages and entries that give no readings under the version. */
const Checkpoint = Schema.Struct({ receivedAt: Schema.Int, messageId: Schema.String, failed: Schema.Int })
const decodeCheckpoint = Schema.decodeUnknownSync(Schema.NullOr(Checkpoint))

/** Messages that can never be stored: their old readings go, as if they had failed before. */
const withoutReadings = (item: Reprocessed): Reprocessed => ({ ...item, message: undefined, failed: item.failed + 1 })

/** False: it has to wait, and goes on later where it has come to. */
export const reprocess = Effect.fn("reprocess")(function* (job: TakenJob, throttle: Throttle) {
  const parameters = yield* decodeParameters(job.parameters)
  const { deviceTypeId, from, to } = parameters
  const bus = yield* Bus
  const sql = yield* PipelineSql
  const store = yield* TelemetryStore
  const reprocessing = yield* makeReprocessing(job.tenantId, parameters)
  const reader = new RawReader(sql, job.tenantId, { _tag: "ReadingsOfType", id: deviceTypeId })
  const begun = decodeCheckpoint(job.checkpoint)
  const position: RawPosition = begun ?? positionBefore((yield* oldestRaw(sql, from)) ?? to)
  let failed = begun?.failed ?? 0
  let progress = job.progress

  const swap = ({ devices, items }: ReprocessedPage, next: RawPosition) =>
    sql.withTransaction(
      Effect.gen(function* () {
        const nowFailed = items.reduce((sum, item) => sum + item.failed, failed)
        yield* step(sql, job, progress + items.length, { ...next, failed: nowFailed })
        const touched = items.filter(({ isKept }) => !isKept)
        if (touched.length > 0) {
          const replaced = {
            messageIds: touched.map(({ messageId }) => messageId),
            entities: devices,
            wholes: touched.flatMap(({ whole }) => whole ?? []),
            first: touched[0]!.receivedAt,
            last: touched.at(-1)!.receivedAt
          }
          const messages = touched.flatMap(({ message }) => (message === undefined ? [] : [message]))
          yield* swapReadings(sql, store, job.tenantId, replaced, messages)
        }
        return nowFailed
      })
    )

  const swapAndCount = (page: ReprocessedPage, next: RawPosition) =>
    Effect.map(swap(page, next), (nowFailed) => {
      failed = nowFailed
      progress += page.items.length
    })

  /** What PostgreSQL refuses is found by halving. */
  const settle = (page: ReprocessedPage, next: RawPosition): ReturnType<typeof swapAndCount> =>
    Effect.catchCause(swapAndCount(page, next), (cause) => {
      const { devices, items } = page
      const [only, ...others] = items
      if (meaningOf(cause)._tag !== "Refused" || only === undefined) return Effect.failCause(cause)
      if (others.length === 0) return swapAndCount({ devices, items: [withoutReadings(only)] }, next)
      const first = items.slice(0, items.length >> 1)
      const { messageId, receivedAt } = first.at(-1)!
      return Effect.andThen(
        settle({ devices, items: first }, { messageId, receivedAt }),
        settle({ devices, items: items.slice(first.length) }, next)
      )
    })

  let reached = position.receivedAt
  /** The next page under the version; the last one where it had to wait too long for messages to be stored. */
  const pageAfter = Effect.fnUntraced(function* (position: RawPosition) {
    // What is on its way may still be stored as the version of its time has it: that would come on top of what is made here.
    const storedUntil = Effect.map(settledBefore(bus, sql), (settled) => Math.min(to, settled ?? 0))
    let settled = yield* storedUntil
    for (let waited = 0; settled <= position.receivedAt; waited += LOOK_AGAIN) {
      if (job.isWaiting || waited >= PATIENCE) return [[], Option.none()] as const
      yield* Effect.sleep(LOOK_AGAIN)
      settled = yield* storedUntil
    }
    const { messages, next } = yield* reader.page(position, settled, AT_ONCE)
    const pages = messages.length === 0 ? [] : [{ page: yield* reprocessing.run(messages), next }]
    reached = next.receivedAt
    const following: Option.Option<RawPosition> = reached < to ? Option.some(next) : Option.none()
    return [pages, following] as const
  })

  if (reached < to) {
    yield* Stream.paginate(position, pageAfter).pipe(
      Stream.buffer({ capacity: 1 }), // the next page is made while PostgreSQL stores this one
      Stream.runForEach(({ next, page }) => Effect.andThen(throttle.take(page.items.length), settle(page, next)))
    )
  }
  if (reached < to) yield* waiting(sql, job, notStored)
  return reached >= to
})
