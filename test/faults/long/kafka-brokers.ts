/**
 * Three Kafka brokers, replication factor 3 and a minimum of 2 in-sync replicas, of which one at a time is killed or frozen,
 * while members of a consumer group are killed, frozen past their session, and replaced. Offsets lie in PostgreSQL.
 * @module
 */
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import * as KafkaBus from "@argusiq/layers/bus/kafka/KafkaBus.ts"
import { pools } from "@argusiq/layers/database/connect.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { makeTable } from "../../layers/bus/ConsumerWorld.ts"
import { publishUntil, settledVerdict, topics, type Verdict, withMembers } from "../../layers/bus/KafkaWorld.ts"
import { KafkaCluster } from "../../support/components/kafka.ts"
import { ExternalPostgres } from "../ExternalPostgres.ts"
import { randomFrom } from "../../support/random.ts"

export interface KafkaBrokersPlan {
  readonly seconds: number
  readonly seed: number
}

export interface KafkaBrokersReport {
  readonly published: number
  /** Calls of publish that were given up and made again: their records may be there twice. */
  readonly refused: number
  readonly brokersKilled: number
  readonly brokersFrozen: number
  readonly membersKilled: number
  readonly membersFrozen: number
  readonly verdict: Verdict
  /** Of what is missing: records that the log does not hold, and records that it holds beyond the group's offsets. */
  readonly notInLog: number
  readonly unread: number
}

/** Where missing rows are to be looked for. */
const whereabouts = Effect.fnUntraced(function* (group: string, published: number) {
  const bus = yield* Bus
  const sql = yield* PipelineSql
  const rows = yield* sql<{ partition: number; next: bigint }>`
    select partition, next from consumer_offsets where "group" = ${group} and next is not null`
  const next = new Map(rows.map((row) => [row.partition, row.next]))
  const found = new Set<string>()
  let unread = 0n
  for (let partition = 0; partition < bus.partitions; partition++) {
    const at = { topic: Topics.raw, partition }
    const { start, end } = yield* bus.range(at)
    unread += end - (next.get(partition) ?? start)
    yield* Stream.runForEach(bus.read(at, start, end), ({ headers }) =>
      Effect.sync(() => found.add(headers["message-id"] ?? ""))
    )
  }
  return { notInLog: published - found.size, unread: Number(unread) }
})

const SESSION_MILLIS = 3_000

export const runKafkaBrokers = async ({ seconds, seed }: KafkaBrokersPlan): Promise<KafkaBrokersReport> => {
  const draw = randomFrom(seed)
  const directory = mkdtempSync(join(tmpdir(), "argusiq-kafka-brokers-"))
  const postgres = new ExternalPostgres(directory)
  const kafka = await KafkaCluster.start({ brokers: 3 })
  try {
    await postgres.start()
    const { DATABASE_URL: owner = "", DATABASE_PIPELINE_URL: pipeline = "" } = postgres.environment
    const pool = (url: string) => ({ url: Redacted.make(url), maxConnections: 4, statementTimeout: 0 })
    const databases = pools({ owner: pool(owner), pipeline: pool(pipeline), app: pool(pipeline) })
    const counts = { brokersKilled: 0, brokersFrozen: 0, membersKilled: 0, membersFrozen: 0 }
    const disturbBroker = async () => {
      const id = 1 + Math.floor(draw() * 3)
      if (draw() < 0.6) {
        counts.brokersKilled++
        await kafka.kill(id)
        await sleep(1_000 + draw() * 3_000)
        await kafka.start(id)
      } else {
        counts.brokersFrozen++
        kafka.pause(id)
        await sleep(2_000 + draw() * 8_000)
        kafka.resume(id)
      }
      // One at a time: until it is in sync again, the two others are all that acknowledge.
      await sleep(8_000)
    }
    const group = "argusiq.test.brokers"
    const member = {
      brokers: kafka.addresses,
      prefix: "",
      database: pipeline,
      group,
      sessionMillis: SESSION_MILLIS,
      offsetWithRows: true
    }
    return await Effect.gen(function* () {
      yield* Migrate.up()
      yield* makeTable
      let stopped = false
      const publishing = yield* Effect.forkScoped(publishUntil(() => stopped))
      return yield* withMembers(member, (start) =>
        Effect.gen(function* () {
          const members = [yield* start(), yield* start()]
          const deadline = Date.now() + seconds * 1_000
          const disturbing = yield* Effect.promise(disturbBroker).pipe(
            Effect.repeat({ while: () => Date.now() < deadline }),
            Effect.forkScoped
          )
          while (Date.now() < deadline) {
            yield* Effect.sleep(3_000 + draw() * 4_000)
            const index = Math.floor(draw() * members.length)
            const chosen = members[index]!
            if (draw() < 0.5) {
              counts.membersKilled++
              yield* Effect.promise(() => chosen.end("SIGKILL"))
              members[index] = yield* start()
            } else {
              counts.membersFrozen++
              chosen.signal("SIGSTOP")
              yield* Effect.sleep(SESSION_MILLIS + 2_000)
              chosen.signal("SIGCONT")
            }
          }
          yield* Fiber.join(disturbing)
          stopped = true
          const { each, keys, refused } = yield* Fiber.join(publishing)
          const verdict = yield* settledVerdict(group, each, 60)
          const published = each * keys
          return { published, refused, ...counts, verdict, ...(yield* whereabouts(group, published)) }
        })
      )
    }).pipe(
      Effect.provide(
        Layer.mergeAll(
          KafkaBus.layer({ brokers: kafka.addresses.split(","), topics, deliveryMillis: 120_000 }),
          databases
        )
      ),
      Effect.scoped,
      Effect.runPromise
    )
  } finally {
    await kafka.remove()
    await postgres.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}
