/**
 * The topics as Kafka has them: created from the one table, and refused where what exists cannot serve.
 * @module
 */
import type { Topic } from "@argusiq/domain/topics.ts"
import kafkajs, { type Admin } from "kafkajs"
import { BATCH_OVERHEAD } from "./recordBatch.ts"

/** A batch of more than one record is no larger. */
export const MAX_BATCH_BYTES = 1_048_576
/** Of one record around its key, headers and value: more than any header list of ours comes to. */
const RECORD_ROOM = 65_536

/** Kafka limits a batch, we a record. */
const maxMessageBytes = ({ maxRecordBytes }: Topic): number =>
  Math.max(maxRecordBytes + RECORD_ROOM, MAX_BATCH_BYTES) + BATCH_OVERHEAD

/** Bytes of one partition. */
export const retentionBytesOf = ({ retentionBytes }: Topic, partitions: number): number =>
  Math.ceil(retentionBytes / partitions)

const configOf = (topic: Topic, partitions: number, replicas: number) => ({
  "cleanup.policy": "delete",
  "retention.ms": String(topic.retentionMillis),
  "retention.bytes": String(retentionBytesOf(topic, partitions)),
  "max.message.bytes": String(maxMessageBytes(topic)),
  "min.insync.replicas": String(Math.max(1, replicas - 1)),
  // The time of appending is the broker's, so that it never goes back within a partition.
  "message.timestamp.type": "LogAppendTime"
})

/** Makes what is missing and throws, with the way out, where a topic cannot serve. `partitions`: of each; `nameOf`: as Kafka knows a
 * topic. Resolves with the number of replicas that each of their partitions has at least. */
export const prepareTopics = async (
  admin: Admin,
  topics: ReadonlyArray<Topic>,
  partitions: number,
  nameOf: (topic: string) => string
): Promise<number> => {
  const { brokers } = await admin.describeCluster()
  const replicas = Math.min(3, brokers.length)
  const existing = new Set(await admin.listTopics())
  const missing = topics.filter(({ name }) => !existing.has(nameOf(name)))
  if (missing.length > 0) {
    await admin.createTopics({
      waitForLeaders: true,
      topics: missing.map((topic) => ({
        topic: nameOf(topic.name),
        numPartitions: partitions,
        replicationFactor: replicas,
        configEntries: Object.entries(configOf(topic, partitions, replicas)).map(([name, value]) => ({ name, value }))
      }))
    })
  }
  const fewest = await refuseOtherPartitions(admin, topics, partitions, nameOf)
  await refuseSmallerRecords(admin, topics, nameOf)
  return fewest
}

const refuseOtherPartitions = async (
  admin: Admin,
  topics: ReadonlyArray<Topic>,
  partitions: number,
  nameOf: (topic: string) => string
) => {
  const { topics: found } = await admin.fetchTopicMetadata({ topics: topics.map(({ name }) => nameOf(name)) })
  const counts = new Map(found.map((topic) => [topic.name, topic.partitions.length]))
  for (const { name } of topics) {
    const count = counts.get(nameOf(name))
    if (count === partitions) continue
    throw new Error(
      `The topic ${nameOf(name)} has ${count} partitions in Kafka and should have ${partitions}. ` +
        "The number of partitions decides where a device's records lie and cannot change: " +
        `give the topic a name of its own, such as ${nextVersion(name)}.`
    )
  }
  return Math.min(...found.flatMap((topic) => topic.partitions.map(({ replicas }) => replicas.length)))
}

const refuseSmallerRecords = async (admin: Admin, topics: ReadonlyArray<Topic>, nameOf: (topic: string) => string) => {
  const name = "max.message.bytes"
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: topics.map((topic) => ({
      type: kafkajs.ConfigResourceTypes.TOPIC,
      name: nameOf(topic.name),
      configNames: [name]
    }))
  })
  const limits = new Map(
    resources.map(({ resourceName, configEntries }) => [resourceName, Number(configEntries[0]?.configValue)])
  )
  for (const topic of topics) {
    const limit = limits.get(nameOf(topic.name))
    const needed = maxMessageBytes(topic)
    if (limit === undefined || Number.isNaN(limit) || limit >= needed) continue
    throw new Error(
      `The topic ${nameOf(topic.name)} takes ${limit} bytes a message and needs ${needed}. ` +
        `Set it with: kafka-configs --alter --topic ${nameOf(topic.name)} --add-config ${name}=${needed}`
    )
  }
}

const nextVersion = (name: string): string => {
  const version = /^(.*\.v)(\d+)(.*)$/.exec(name)
  return version === null ? `${name}.v2` : `${version[1]}${Number(version[2]) + 1}${version[3]}`
}
