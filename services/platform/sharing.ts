/**
 * What the processes of one platform must share: the bus and the database. The embedded ones serve one process.
 * @module
 */
import { brokers } from "@argusiq/layers/bus/kafka/settings.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Config, Effect, Option } from "effect"
import { Refusal } from "./errors.ts"
import { type ServiceName, ServiceNames } from "./services.ts"

const usesKafka = Config.option(brokers).pipe(Config.map(Option.isSome))
const usesExternalDatabase = Config.option(Config.Redacted("DATABASE_URL")).pipe(Config.map(Option.isSome))

/** Refuses services that leave the others to processes which could not reach this one's database. */
export const checkSharing = Effect.fn("checkSharing")(function* (services: ReadonlySet<ServiceName>) {
  const others = ServiceNames.filter((name) => !services.has(name))
  if (others.length === 0 || !(yield* usesKafka) || (yield* usesExternalDatabase)) return
  return yield* new Refusal({
    message:
      `${others.join(", ")} would run in other processes, which cannot reach the embedded PostgreSQL of this one. ` +
      "Set DATABASE_URL, the same for all of them. docs/deployment.md tells how."
  })
})

/** A process that was killed leaves its lock for a moment. */
const ASK_EVERY = "500 millis"
const ASK_TIMES = 6

/**
 * With an embedded log on a database that others can reach too: refuses to be a second one, and keeps others from being it
 * until the scope closes. Where the lock is lost with its connection, the consumers still refuse offsets of another log.
 */
export const refuseSecondLog = Effect.gen(function* () {
  if ((yield* usesKafka) || !(yield* usesExternalDatabase)) return
  const connection = yield* (yield* PipelineSql).reserve
  for (let asked = 0; asked < ASK_TIMES; asked++) {
    if (asked > 0) yield* Effect.sleep(ASK_EVERY)
    const [answer] = yield* connection.executeUnprepared(
      "select pg_try_advisory_lock(hashtext('argusiq/embedded-log')) as taken",
      [],
      undefined
    )
    if ((answer as { readonly taken: boolean } | undefined)?.taken === true) return
  }
  return yield* new Refusal({
    message:
      "Another process uses the database at DATABASE_URL with a log of its own. Several processes means Kafka: set " +
      "KAFKA_BROKERS for each of them, or stop the other process. docs/deployment.md tells how."
  })
})
