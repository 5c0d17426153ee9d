/**
 * Kafka: the contracts of the bus and of the consumer loop, on a real broker.
 * @module
 */
import { deadLetterTopic, Topics, topicTable } from "@argusiq/domain/topics.ts"
import * as KafkaBus from "@argusiq/layers/bus/kafka/KafkaBus.ts"
import { Effect, Layer, Logger } from "effect"
import { Kafka, logLevel } from "kafkajs"
import { afterAll, beforeAll } from "vitest"
import { KafkaCluster } from "../../support/components/kafka.ts"
import { Adapter, busContract } from "./BusContract.ts"
import { consumerContract, Forgetting } from "./ConsumerContract.ts"
import { publishAndKill } from "./publishAndKill.ts"

let kafka: KafkaCluster
beforeAll(async () => {
  kafka = await KafkaCluster.start()
}, 120_000)
afterAll(() => kafka.remove())

let prefixes = 0
const newPrefix = () => `t${++prefixes}.`

/** Removes all records that the topics hold. */
const forget = (prefix: string, topics: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const admin = new Kafka({ brokers: kafka.addresses.split(","), logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    for (const name of topics) {
      const topic = `${prefix}${name}`
      const ends = await admin.fetchTopicOffsets(topic)
      await admin.deleteTopicRecords({
        topic,
        partitions: ends.map(({ partition, offset }) => ({ partition, offset }))
      })
    }
    await admin.disconnect()
  })

busContract("the bus on Kafka", { retainsForGroups: false }, ({ topics, partitions, concurrency }) =>
  Effect.sync(() => {
    const prefix = newPrefix()
    const brokers = kafka.addresses.split(",")
    const adapter = Layer.succeed(Adapter, {
      retain: (names = topics.map(({ name }) => name)) => forget(prefix, names)
    })
    return {
      layer: adapter.pipe(
        Layer.provideMerge(KafkaBus.layer({ brokers, prefix, topics, partitions, concurrency })),
        Layer.provide(Logger.layer([]))
      ),
      publishAndKill: publishAndKill(`kafka:${kafka.addresses}/${prefix}`, { partitions, topics })
    }
  })
)

const names: ReadonlyArray<string> = [Topics.raw, Topics.endpoint, Topics.normalized, deadLetterTopic(Topics.raw)]
const topics = names.map((name) => topicTable.get(name)!)

const forgetful = Layer.unwrap(
  Effect.sync(() => {
    const prefix = newPrefix()
    const forgetting = Layer.succeed(Forgetting, { run: forget(prefix, [Topics.raw]) })
    return Layer.provideMerge(
      forgetting,
      KafkaBus.layer({ brokers: kafka.addresses.split(","), prefix, topics }).pipe(Layer.orDie)
    )
  })
).pipe(Layer.fresh)

consumerContract("Kafka", {
  bus: Layer.unwrap(
    Effect.sync(() => KafkaBus.layer({ brokers: kafka.addresses.split(","), prefix: newPrefix(), topics }))
  ).pipe(Layer.orDie, Layer.fresh),
  forgetful
})
