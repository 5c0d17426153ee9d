import { type BusUnavailable, type UnknownTopic } from "@argusiq/domain/errors.ts"
import { type StoppedPartition } from "@argusiq/domain/http/operations.ts"
import { InvalidRequest, NotFound } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { topicTable } from "@argusiq/domain/topics.ts"
import { noteSecurity } from "@argusiq/layers/audit/SecurityLog.ts"
import { Bus, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect, Stream } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { makeConsumers } from "../consumers.ts"
import { orProblem } from "../refusals.ts"
import { makeRewind } from "../rewind.ts"

/** An answer holds the record with which it exceeds this, and none after it. */
const mostBytes = 4 * 1_048_576

const fatal = new TextDecoder("utf-8", { fatal: true })
const payloadOf = (value: Uint8Array): { readonly payload: string; readonly encoding: "text" | "base64" } => {
  try {
    return { payload: fatal.decode(value), encoding: "text" }
  } catch {
    return { payload: Buffer.from(value).toString("base64"), encoding: "base64" }
  }
}
const shown = ({ appendedAt, headers, key, offset, partition, value }: StoredRecord) => ({
  partition,
  offset: String(offset),
  appendedAt: isoFromMicros(appendedAt),
  key,
  headers,
  ...payloadOf(value)
})

const notStopped = new NotFound({ detail: "No partition so named has stopped." })
const noSuchTopic = new NotFound({ detail: "There is no such topic or partition." })
const noSuchGroup = new NotFound({ detail: "There is no such consumer group, or it does not read that." })
const orNoSuchTopic = <A, E>(effect: Effect.Effect<A, E | UnknownTopic | BusUnavailable>) =>
  effect.pipe(Effect.catchTag("UnknownTopic", () => Effect.fail(noSuchTopic)))

export const operations = HttpApiBuilder.group(
  RestApi,
  "operations",
  Effect.fnUntraced(function* (handlers) {
    const bus = yield* Bus
    const profiles = yield* Profiles
    const consumers = yield* makeConsumers
    const rewind = yield* makeRewind

    const topics = Effect.gen(function* () {
      const items = yield* Effect.forEach(topicTable.values(), (topic) =>
        Effect.gen(function* () {
          const partitions = yield* Effect.forEach(
            Array.from({ length: bus.partitions }, (_, partition) => partition),
            (partition) =>
              Effect.map(bus.range({ topic: topic.name, partition }), ({ end, start }) => ({
                partition,
                start: String(start),
                end: String(end)
              }))
          )
          const { maxRecordBytes, name, retentionBytes, retentionMillis } = topic
          return { name, retentionMillis, retentionBytes, maxRecordBytes, partitions }
        })
      )
      return { items }
    })

    const accept = (partition: typeof StoppedPartition.Type) =>
      Effect.gen(function* () {
        const next = yield* consumers.accept(partition)
        yield* noteSecurity({
          action: "consumer_accepted",
          entityType: "consumer_group",
          entityId: partition.group,
          detail: partition
        })
        return next === undefined ? yield* notStopped : { next: String(next) }
      }).pipe(
        Effect.catchTag("UnknownTopic", Effect.die),
        Effect.catchTag("Fenced", () => Effect.fail(notStopped)),
        orProblem
      )

    return handlers.handleAll({
      topics: () => topics.pipe(Effect.catchTag("UnknownTopic", Effect.die), orProblem),
      records: ({ params, query }) =>
        Effect.gen(function* () {
          const at = { topic: params.topic, partition: query.partition ?? 0 }
          if (!topicTable.has(at.topic) || at.partition >= bus.partitions) return yield* noSuchTopic
          const limit = query.limit ?? 100
          const { end, start } = yield* bus.range(at)
          const tail = end - BigInt(limit) < start ? start : end - BigInt(limit)
          const asked =
            query.offset !== undefined
              ? BigInt(query.offset)
              : query.time !== undefined
                ? yield* bus.offsetAt(at, query.time)
                : tail
          const from = asked < start ? start : asked
          let bytes = 0
          const records =
            from >= end
              ? []
              : yield* bus.read(at, from, end).pipe(
                  Stream.take(limit),
                  Stream.takeUntil((record) => (bytes += record.value.length) > mostBytes),
                  Stream.runCollect
                )
          const last = records.at(-1)
          return { items: records.map(shown), next: String(last === undefined ? from : last.offset + 1n) }
        }).pipe(orNoSuchTopic, orProblem),
      consumers: () => consumers.list.pipe(Effect.catchTag("UnknownTopic", Effect.die), orProblem),
      accept: ({ payload }) => accept(payload),
      acceptGroup: ({ params, payload }) => accept({ ...params, ...payload }),
      rewind: ({ payload }) =>
        Effect.gen(function* () {
          if ((payload.offset === undefined) === (payload.time === undefined)) {
            const errors = [{ path: "offset", message: "must be given, or time, and not both" }]
            return yield* new InvalidRequest({ errors })
          }
          const items = yield* rewind(payload)
          if (items.length === 0) return yield* noSuchGroup
          yield* noteSecurity({
            action: "consumer_rewound",
            entityType: "consumer_group",
            entityId: payload.group,
            detail: payload
          })
          return { items }
        }).pipe(Effect.catchTag("UnknownTopic", Effect.die), orProblem),
      invalidate: ({ payload }) => orProblem(profiles.invalidate(payload))
    })
  })
)
