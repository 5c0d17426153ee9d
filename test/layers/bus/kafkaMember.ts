/**
 * A process with one member of a consumer group on Kafka, which stores each record as a row. Says `ready` when its bus is
 * there; SIGTERM ends it as a platform ends. Arguments, as JSON: {@link MemberArguments}.
 */
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import * as KafkaBus from "@argusiq/layers/bus/kafka/KafkaBus.ts"
import { pools } from "@argusiq/layers/database/connect.ts"
import { allSafeguards, Safeguards } from "@argusiq/layers/Safeguards.ts"
import { Effect, Fiber, Layer, Redacted } from "effect"
import { type MemberArguments, topics } from "./KafkaWorld.ts"
import { storing, storeRows } from "./ConsumerWorld.ts"

const member = JSON.parse(process.argv[2] ?? "{}") as MemberArguments
const pool = { url: Redacted.make(member.database), maxConnections: 4, statementTimeout: 0 }

let stored = 0
const consumer = storing(member.group, ({ records }) =>
  Effect.succeed({
    publish: [],
    deadLetters: [],
    store: Effect.suspend(() => {
      stored += records.length
      const dies = member.diesAfter !== undefined && stored > member.diesAfter
      if (dies) process.kill(process.pid, "SIGKILL")
      return storeRows(member.group, records)
    })
  })
)

const program = Effect.andThen(
  Effect.sync(() => process.stdout.write("ready\n")),
  runConsumer(consumer)
).pipe(
  Effect.provide(
    Layer.mergeAll(
      KafkaBus.layer({
        brokers: member.brokers.split(","),
        prefix: member.prefix,
        topics,
        sessionMillis: member.sessionMillis
      }),
      pools({ owner: pool, pipeline: pool, app: pool })
    )
  ),
  Effect.provideService(Safeguards, { ...allSafeguards, offsetWithRows: member.offsetWithRows })
)

const running = Effect.runFork(program)
process.on("SIGTERM", () => void Effect.runPromise(Fiber.interrupt(running)).then(() => process.exit(0)))
