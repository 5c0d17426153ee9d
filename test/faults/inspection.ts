/**
 * A look into what a platform left behind: opens its log and its database, while it is not running.
 * @module
 */
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import * as EmbeddedPostgres from "@argusiq/layers/database/EmbeddedPostgres.ts"
import { Effect, Layer, Stream } from "effect"
import { join } from "node:path"
import { connectSuperuser, type Superuser } from "../support/superuser.ts"

/** Records that a group had not finished with when the platform was killed. */
export interface Backlog {
  readonly dispatcher: number
  readonly normalizer: number
  readonly writer: number
  readonly rawWriter: number
}

export interface Inspection {
  readonly backlog: Backlog
  /** Distinct messages stored as frames. */
  readonly stored: number
  /** Distinct messages in the raw topic and its dead letters: all that was ever acknowledged is among them. */
  readonly accepted: number
  /** Records that are in the log again because a stage was repeated. */
  readonly redelivered: number
}

const partitionsOf = ({ partitions }: Bus["Service"], topic: string) =>
  Array.from({ length: partitions }, (_, partition) => ({ topic, partition }))

/** All records of a topic, partition by partition. */
export const readTopic = (topic: string, visit: (record: StoredRecord) => void) =>
  Effect.gen(function* () {
    const bus = yield* Bus
    for (const at of partitionsOf(bus, topic)) {
      const { start, end } = yield* bus.range(at)
      yield* bus
        .read(at, start, end)
        .pipe(Stream.runForEachArray((records) => Effect.sync(() => records.forEach(visit))))
    }
  })

/** Runs with the log of a stopped platform. */
export const withLog = <A, E>(
  dataDirectory: string,
  effect: Effect.Effect<A, E, Bus | LocalBus.LogRetention>
): Promise<A> =>
  Effect.runPromise(
    Effect.provide(
      effect,
      LocalBus.layer({ directory: join(dataDirectory, "bus"), minFreeBytes: 0, retentionMillis: 3_600_000 })
    ) as Effect.Effect<A, unknown>
  )

/** Runs with the database of a stopped platform, which is started for it. */
export const withDatabase = <A>(dataDirectory: string, use: (sql: Superuser) => Promise<A>): Promise<A> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        yield* Layer.build(EmbeddedPostgres.layer({ directory: join(dataDirectory, "postgres") }))
        return yield* Effect.promise(async () => {
          const sql = await connectSuperuser(dataDirectory)
          try {
            return await use(sql)
          } finally {
            await sql.close()
          }
        })
      })
    )
  )

/** In the bus's committed offsets: what of a topic a group had not finished with. */
const backlogOnBus = (group: string, topic: string) =>
  Effect.gen(function* () {
    const bus = yield* Bus
    const positions = new Map(
      (yield* bus.lag(group)).map((position) => [`${position.topic}/${position.partition}`, position])
    )
    let backlog = 0
    for (const at of partitionsOf(bus, topic)) {
      const { start, end } = yield* bus.range(at)
      backlog += Number(end - (positions.get(`${at.topic}/${at.partition}`)?.offset ?? start))
    }
    return backlog
  })

const backlogBehindRows = (next: ReadonlyMap<string, number>, group: string, topic: string) =>
  Effect.gen(function* () {
    const bus = yield* Bus
    let backlog = 0
    for (const at of partitionsOf(bus, topic)) {
      const { start, end } = yield* bus.range(at)
      backlog += Number(end) - (next.get(`${group}/${at.topic}/${at.partition}`) ?? Number(start))
    }
    return backlog
  })

export type Query = <Row extends object>(statement: string) => Promise<ReadonlyArray<Row>>

/** How far each stage has come. */
export const inspectStages = (query: Query) =>
  Effect.gen(function* () {
    const bus = yield* Bus
    const offsets = yield* Effect.promise(() =>
      query<{ group: string; topic: string; partition: number; next: number }>(
        `select "group", topic, partition, next::float8 as next from consumer_offsets where next is not null`
      )
    )
    const next = new Map(offsets.map((row) => [`${row.group}/${row.topic}/${row.partition}`, row.next]))
    const [frames] = yield* Effect.promise(() =>
      query<{ stored: number }>("select count(distinct (entity_id, ts, metrics))::int as stored from telemetry_frames")
    )
    const backlog = {
      dispatcher: yield* backlogOnBus("argusiq.dispatcher", Topics.raw),
      normalizer: yield* backlogOnBus("argusiq.normalizer", Topics.endpoint),
      writer: yield* backlogBehindRows(next, "argusiq.telemetry-writer", Topics.normalized),
      rawWriter: yield* backlogBehindRows(next, "argusiq.telemetry-writer.raw", Topics.raw)
    }
    const records: Record<string, number> = {}
    for (const topic of [Topics.raw, Topics.endpoint, Topics.normalized]) {
      records[topic] = 0
      for (const at of partitionsOf(bus, topic)) {
        const { end } = yield* bus.range(at)
        records[topic] += Number(end)
      }
    }
    const accepted = records[Topics.raw] ?? 0
    const redelivered =
      Math.max(0, (records[Topics.endpoint] ?? 0) + backlog.dispatcher - accepted) +
      Math.max(0, (records[Topics.normalized] ?? 0) + backlog.normalizer - (records[Topics.endpoint] ?? 0))
    return { backlog, stored: frames?.stored ?? 0, accepted, redelivered } satisfies Inspection
  })

/** Of a stopped platform: how far each stage had come. */
export const inspect = (dataDirectory: string): Promise<Inspection> =>
  withDatabase(dataDirectory, (sql) =>
    withLog(
      dataDirectory,
      inspectStages((statement) => sql.query(statement))
    )
  )
