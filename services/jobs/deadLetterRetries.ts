/**
 * Retrying dead letters: publishes those that somebody asked for, and finds out what became of them.
 * @module
 */
import { BRIDGE_GROUP, deadLetterRecord } from "@argusiq/domain/dead-letter.ts"
import { addressOfRefused, checkAgain, restamped, retryHeaders } from "@argusiq/domain/dead-letter-retry.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus, type BusRecord, type StoredRecord, type TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { readBack } from "@argusiq/layers/dead-letters/readBack.ts"
import * as RetryQueue from "@argusiq/layers/dead-letters/RetryQueue.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Clock, Effect, Metric, Result, Stream } from "effect"

/** At once: live traffic is on the bus too. */
const MOST_AT_ONCE = { rows: 500, bytes: 8 * 1_048_576 }

const retried = Metric.withAttributes(Metric.counter("argusiq_dead_letters_retried_total", { incremental: true }), {
  service: "jobs"
})

const keyOf = ({ partition, topic }: TopicPartition) => `${topic}/${partition}`

interface Prepared {
  readonly id: string
  readonly record: BusRecord
  /** A message that the bridge had refused, on its way in. */
  readonly isEntry: boolean
}

const aimOf = (
  { partitions }: Bus["Service"],
  { id, record }: Prepared,
  ends: ReadonlyMap<string, bigint>
): RetryQueue.Aim => {
  const at = { topic: record.topic, partition: partitionOf(partitions, Buffer.from(record.key)) }
  return { id, ...at, end: ends.get(keyOf(at)) ?? 0n }
}

/** Where the log ends in every partition that one of these goes to. */
const endsFor = Effect.fnUntraced(function* (places: ReadonlyArray<TopicPartition>) {
  const bus = yield* Bus
  const distinct = new Map(places.map((at) => [keyOf(at), { topic: at.topic, partition: at.partition }]))
  const ends = yield* Effect.forEach(distinct, ([key, at]) =>
    Effect.map(bus.range(at), ({ end }) => [key, end] as const)
  )
  return new Map(ends)
})

/** The refused message as it gets in, or as it is refused once more. */
const throughTheBridge = Effect.fnUntraced(function* ({ key, value }: StoredRecord, headers: BusRecord["headers"]) {
  const profiles = yield* Profiles
  const address = addressOfRefused(headers)
  const deviceId =
    address._tag === "ByExternalId"
      ? yield* profiles.byExternalId(address.organizationId, address.externalId)
      : address._tag === "ByDeviceId"
        ? address.deviceId
        : undefined
  const device = deviceId === undefined ? undefined : (yield* profiles.devices([deviceId])).get(deviceId)
  const judged = checkAgain(headers, value.byteLength, address, device)
  if (Result.isSuccess(judged)) {
    const { deviceId: sender, tenantId } = judged.success
    const entering = { ...headers, "device-id": sender, "tenant-id": tenantId }
    return { record: { topic: Topics.raw, key: sender, value, headers: entering }, isEntry: true }
  }
  const record = deadLetterRecord({
    record: { topic: Topics.raw, key, value, headers },
    error: judged.failure,
    group: BRIDGE_GROUP,
    stage: "bridge",
    failedAt: (yield* Clock.currentTimeMillis) * 1_000
  })
  return { record, isEntry: false }
})

/** To the group that failed, stamped with the version that applies by now. */
const toItsGroup = Effect.fnUntraced(function* (
  { key, value }: StoredRecord,
  topic: string,
  headers: BusRecord["headers"]
) {
  const profiles = yield* Profiles
  const deviceId = headers["device-id"]
  const device = deviceId === undefined ? undefined : (yield* profiles.devices([deviceId])).get(deviceId)
  const types = device === undefined ? undefined : yield* profiles.deviceTypes([device.deviceTypeId])
  const versions = types?.get(device?.deviceTypeId ?? "")?.versions ?? []
  return { record: { topic, key, value, headers: restamped(headers, topic, device, versions) }, isEntry: false }
})

/** Undefined where the topic no longer holds it. */
const prepare = Effect.fnUntraced(function* (letter: RetryQueue.Queued) {
  const bus = yield* Bus
  const record = yield* readBack(bus, letter.id, letter)
  if (record === undefined) return undefined
  const headers = retryHeaders(record.headers, letter)
  const prepared =
    letter.group === BRIDGE_GROUP
      ? yield* throughTheBridge(record, headers)
      : yield* toItsGroup(record, record.headers["dlq-topic"]!, headers)
  return { id: letter.id, ...prepared } satisfies Prepared
})

/** Publishes the next ones that wait, and answers how many that were. */
export const publishRetries = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* PipelineSql
  const letters = yield* RetryQueue.queued(sql, MOST_AT_ONCE)
  if (letters.length === 0) return 0
  const found = yield* Effect.forEach(letters, prepare, { concurrency: 8 })
  const gone = letters.filter((_, index) => found[index] === undefined)
  if (gone.length > 0) {
    yield* Effect.logWarning(`${gone.length} dead letters cannot be retried: retention has removed their records`)
    yield* RetryQueue.forget(
      sql,
      gone.map(({ id }) => id)
    )
  }
  const prepared = found.filter((one) => one !== undefined)
  const places = prepared.map((one) => aimOf(bus, one, new Map()))
  const before = yield* endsFor(places)
  yield* RetryQueue.begin(
    sql,
    prepared.map((one) => aimOf(bus, one, before))
  )
  yield* bus.publish(prepared.map(({ record }) => record)).pipe(
    Effect.catchTag("RecordTooLarge", (error) =>
      Effect.andThen(
        Effect.logError("Dead letters are not retried: with the headers of a retry one is too large", error),
        RetryQueue.giveBack(
          sql,
          prepared.map(({ id }) => id)
        )
      )
    )
  )
  const after = yield* endsFor(places)
  const [entries, others] = [prepared.filter(({ isEntry }) => isEntry), prepared.filter(({ isEntry }) => !isEntry)]
  yield* RetryQueue.entered(
    sql,
    entries.map(({ id }) => id)
  )
  yield* RetryQueue.published(
    sql,
    others.map((one) => aimOf(bus, one, after))
  )
  yield* Metric.update(retried, prepared.length)
  return letters.length
})

/** Takes up what was begun and not marked: what is on the bus is marked, what is not waits again. */
export const recoverRetries = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* PipelineSql
  const begun = yield* RetryQueue.interrupted(sql)
  for (const place of Map.groupBy(begun, keyOf).values()) {
    const [{ from, partition, topic }] = place as [RetryQueue.Interrupted]
    if (partition >= bus.partitions) {
      // Of a log that had more partitions, and is gone.
      yield* RetryQueue.requeue(
        sql,
        place.map(({ id }) => id)
      )
      continue
    }
    const { end } = yield* bus.range({ topic, partition })
    const there = new Set<string>()
    yield* bus
      .read({ topic, partition }, from, end)
      .pipe(Stream.runForEach(({ headers }) => Effect.sync(() => there.add(headers["retry-of"] ?? ""))))
    const onBus = place.filter(({ id }) => there.has(id))
    yield* RetryQueue.entered(
      sql,
      onBus.filter(({ isEntry }) => isEntry).map(({ id }) => id)
    )
    yield* RetryQueue.published(
      sql,
      onBus.map(({ id }) => ({ id, topic, partition, end }))
    )
    yield* RetryQueue.requeue(
      sql,
      place.filter(({ id }) => !there.has(id)).map(({ id }) => id)
    )
  }
})

/**
 * Resolves the retries that their group has taken. The order of the looks makes it sure: the group is past the retry, so a
 * dead letter of it would lie before the end of the dead-letter topic as it is then; and up to there the topic is indexed.
 */
export const settleRetries = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* PipelineSql
  const retries = yield* RetryQueue.underWay(sql)
  if (retries.length === 0) return
  const taken = new Map<string, bigint>()
  for (const group of new Set(retries.map((retry) => retry.group))) {
    for (const at of yield* bus.lag(group)) taken.set(`${group} ${keyOf(at)}`, at.offset)
  }
  const takenOf = ({ group, retried: at }: RetryQueue.UnderWay) => taken.get(`${group} ${keyOf(at)}`) ?? 0n
  const passed = retries.filter((retry) => takenOf(retry) >= retry.until)
  if (passed.length === 0) return
  const ends = yield* endsFor(passed.map(({ deadLetters }) => deadLetters))
  const indexed = new Map((yield* RetryQueue.indexedUpTo(sql)).map((at) => [keyOf(at), at.offset]))
  for (const retry of passed) {
    const place = keyOf(retry.deadLetters)
    if ((indexed.get(place) ?? 0n) >= (ends.get(place) ?? 0n)) yield* RetryQueue.settle(sql, retry, takenOf(retry))
  }
})
