/**
 * The one way of a message into the platform: checked, stamped, and published to the raw topic or, refused, to its
 * dead-letter topic. Nothing is called accepted before the log has flushed it.
 * @module
 */
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Safeguards } from "@argusiq/layers/Safeguards.ts"
import { CurrentMessageTracing, refused, type TracedMessage } from "@argusiq/layers/tracing/MessageTracing.ts"
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { type Poison } from "@argusiq/domain/errors.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { Cause, Config, Context, Effect, Exit, Latch, Layer, Metric, Result } from "effect"
import { acceptedRecord, addressOf, judge, nextStamp, refusedByAddress, refusedRecord, type Stamp } from "./Arrivals.ts"
import { ByteBudget } from "./ByteBudget.ts"
import { type Incoming } from "./Incoming.ts"
import { Lookups } from "./Lookups.ts"
import * as metrics from "./metrics.ts"
import { SecurityEvents } from "./SecurityEvents.ts"

const MAX_BATCH_RECORDS = 2_000
const MAX_BATCH_BYTES = 16 * 1_048_576
/** What a message costs beyond its payload: a flood of empty messages is bounded too. */
const MESSAGE_OVERHEAD_BYTES = 512
const FIRST_RETRY_MILLIS = 50
const LAST_RETRY_MILLIS = 1_000
/** How long a failure tells of the log when nobody has asked it since. */
const FAILURE_TELLS_MILLIS = 60_000

type Outcome = "durable" | "unavailable"

interface Arrived {
  readonly record: BusRecord
  readonly bytes: number
  readonly source: Incoming["origin"]["source"]
  readonly refusal: Poison | undefined
  /** Told at once when the bus is unavailable, instead of waiting for it. */
  readonly impatient: boolean
  readonly done: (outcome: Outcome) => void
}

export class Ingest extends Context.Service<
  Ingest,
  {
    /** Bytes that are not flushed yet, from all sources. */
    readonly budget: ByteBudget
    /** Until when messages were accepted, in epoch microseconds: now, unless the log lets them wait. */
    acceptedUntil(): Instant
    /** For connections that acknowledge: what is refused is dead-lettered, and durable then. While the bus or the database
     * is away the message waits. Messages of one device become durable, and `done` is called, in the order of the offers. */
    offer(message: Incoming, done: () => void): void
    /** For brokers that hand over and wait for the answer: as {@link offer}, but undefined when the bus is unavailable (some of
     * the messages may have been stored). */
    deliver(messages: ReadonlyArray<Incoming>): Effect.Effect<ReadonlyArray<string> | undefined>
    /** For callers that answer: messages whose device is known and has been judged. The ids once all are durable; undefined
     * when the bus is unavailable (some of them may have been stored). */
    accept(messages: ReadonlyArray<Incoming>, device: DeviceProfile): Effect.Effect<ReadonlyArray<string> | undefined>
  }
>()("argusiq/bridge/Ingest") {}

const make = Effect.gen(function* () {
  const bus = yield* Bus
  const profiles = yield* Profiles
  const sql = yield* PipelineSql
  const { acknowledgeAfterFlush } = yield* Safeguards
  const maxBytes = yield* Config.Int("INGEST_MAX_BYTES_IN_FLIGHT").pipe(Config.withDefault(64 * 1_048_576))
  const tracing = yield* CurrentMessageTracing
  const context = yield* Effect.context<never>()

  const budget = new ByteBudget(maxBytes)
  const arrived = Latch.makeUnsafe()
  const queue: Array<Arrived> = []
  /** A batch is offered to the log again and again: who cannot wait need not ask. */
  let retrying = false
  let busFailed = false
  /** Epoch milliseconds: when the batch began that is the first since then not to be durable. */
  let waitsSince: number | undefined
  let triedAt = 0

  const securityEvents = yield* SecurityEvents.make(sql)
  const lookups = yield* Lookups.make(profiles)

  const enter = (
    message: Incoming,
    stamp: Stamp,
    device: DeviceProfile | undefined,
    judged: Result.Result<DeviceProfile, Poison>,
    impatient: boolean,
    done: (outcome: Outcome) => void
  ) => {
    const refusal = Result.isFailure(judged) ? judged.failure : undefined
    const traced =
      tracing !== undefined && refusal === undefined
        ? tracing.arrive(message.traceparent, {
            "argusiq.service": "bridge",
            "argusiq.message.id": stamp.messageId,
            "argusiq.source": message.origin.source,
            ...(device !== undefined && { "argusiq.device.id": device.deviceId })
          })
        : undefined
    const record = Result.isSuccess(judged)
      ? acceptedRecord(message, stamp, judged.success, traced?.traceparent)
      : refusedRecord(message, stamp, device, judged.failure)
    const { sender, source } = message.origin
    if (refusal?.reason === "TenantMismatch" && sender !== undefined) {
      securityEvents.note(sender.deviceId, sender.tenantId, refusal.message, stamp.receivedAt)
    }
    const bytes = record.value.byteLength + MESSAGE_OVERHEAD_BYTES
    budget.take(bytes)
    const told = acknowledgeAfterFlush ? done : ignored
    queue.push({
      record,
      bytes,
      source,
      refusal,
      impatient,
      done: traced === undefined ? told : endingSpan(traced, told)
    })
    arrived.openUnsafe()
    if (!acknowledgeAfterFlush) done("durable")
  }

  const take = (message: Incoming, stamp: Stamp, impatient: boolean, done: (outcome: Outcome) => void) => {
    const address = addressOf(message)
    if (address._tag === "Invalid" || refusedByAddress(message, address) !== undefined) {
      return enter(message, stamp, undefined, judge(message, address, undefined), impatient, done)
    }
    const lane = message.origin.sender?.deviceId
    const known = lookups.now(lane, address)
    if (known !== undefined) return enter(message, stamp, known, judge(message, address, known), impatient, done)
    const held = message.payload.byteLength + MESSAGE_OVERHEAD_BYTES
    budget.take(held)
    lookups.later(lane, address, (device) => {
      enter(message, stamp, device, judge(message, address, device), impatient, done)
      budget.release(held)
    })
  }

  const offer = (message: Incoming, done: () => void) => take(message, nextStamp(), false, done)

  /** The ids once all are durable. */
  const all = (
    messages: ReadonlyArray<Incoming>,
    one: (message: Incoming, stamp: Stamp, done: (outcome: Outcome) => void) => void
  ) =>
    Effect.callback<ReadonlyArray<string> | undefined>((resume) => {
      if (retrying) return resume(Effect.succeed(undefined))
      const ids: Array<string> = []
      let left = messages.length
      let durable = true
      const done = (outcome: Outcome) => {
        durable &&= outcome === "durable"
        if (--left === 0) resume(Effect.succeed(durable ? ids : undefined))
      }
      for (const message of messages) {
        const stamp = nextStamp()
        ids.push(stamp.messageId)
        one(message, stamp, done)
      }
    })

  const deliver = (messages: ReadonlyArray<Incoming>) =>
    all(messages, (message, stamp, done) => take(message, stamp, true, done))

  const accept = (messages: ReadonlyArray<Incoming>, device: DeviceProfile) =>
    all(messages, (message, stamp, done) => enter(message, stamp, device, Result.succeed(device), true, done))

  /** Takes what it answers out of the queue: under lasting load the queue is never empty. */
  const nextBatch = (): Array<Arrived> => {
    let bytes = 0
    let taken = 0
    while (taken < queue.length && taken < MAX_BATCH_RECORDS) {
      bytes += queue[taken]!.bytes
      if (taken > 0 && bytes > MAX_BATCH_BYTES) break
      taken++
    }
    return queue.splice(0, taken)
  }

  const settle = (batch: ReadonlyArray<Arrived>, outcome: Outcome) => {
    for (const one of batch) {
      one.done(outcome)
      budget.release(one.bytes)
    }
  }

  const count = (batch: ReadonlyArray<Arrived>) => {
    const stored = new Map<string, number>()
    const refused = new Map<string, number>()
    for (const { source, refusal } of batch) {
      stored.set(source, (stored.get(source) ?? 0) + 1)
      if (refusal !== undefined) refused.set(refusal.reason, (refused.get(refusal.reason) ?? 0) + 1)
    }
    for (const [source, messages] of stored) {
      metrics.messages.pipe(Metric.withAttributes({ source })).updateUnsafe(messages, context)
    }
    for (const [reason, messages] of refused) {
      metrics.refused.pipe(Metric.withAttributes({ reason })).updateUnsafe(messages, context)
    }
    metrics.bytesInFlight.updateUnsafe(budget.inFlight, context)
  }

  /** One batch at a time: what arrives meanwhile becomes the next, so batches grow with the load and order is kept. */
  const publishNext = Effect.gen(function* () {
    yield* arrived.await
    let batch = nextBatch()
    let retryMillis = FIRST_RETRY_MILLIS
    const startedAt = performance.now()
    if (batch.length > 0) waitsSince ??= Date.now()
    while (batch.length > 0) {
      const exit = yield* Effect.exit(bus.publish(batch.map(({ record }) => record)))
      if (Exit.isSuccess(exit)) {
        if (busFailed) yield* Effect.log("The log takes messages again")
        busFailed = false
        waitsSince = undefined
        metrics.publishSeconds.updateUnsafe((performance.now() - startedAt) / 1000, context)
        count(batch)
        settle(batch, "durable")
        break
      }
      if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
      if (!busFailed) yield* Effect.logWarning("The log takes no messages; devices are not acknowledged", exit.cause)
      busFailed = true
      triedAt = Date.now()
      settle(
        batch.filter((one) => one.impatient),
        "unavailable"
      )
      batch = batch.filter((one) => !one.impatient)
      if (batch.length === 0) break
      retrying = true
      yield* Effect.sleep(retryMillis)
      retryMillis = Math.min(retryMillis * 2, LAST_RETRY_MILLIS)
    }
    retrying = false
    if (queue.length === 0) arrived.closeUnsafe()
  })

  yield* publishNext.pipe(
    Effect.catchDefect((defect) => Effect.logError("A fault of the bridge: a batch was not settled", defect)),
    Effect.forever({ disableYield: true }),
    Effect.forkScoped
  )

  const acceptedUntil = () => {
    const now = Date.now()
    const tells = retrying || !busFailed || now - triedAt < FAILURE_TELLS_MILLIS
    return (tells ? (waitsSince ?? now) : now) * 1000
  }

  return Ingest.of({ acceptedUntil, budget, offer, deliver, accept })
})

const ignored = () => {}

const endingSpan = (traced: TracedMessage, done: Arrived["done"]) => (outcome: Outcome) => {
  traced.end(outcome === "durable" ? Exit.void : refused("The log does not take it"))
  done(outcome)
}

export const layer: Layer.Layer<Ingest, Config.ConfigError, Bus | Profiles | PipelineSql> = Layer.effect(Ingest, make)
