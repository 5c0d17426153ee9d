/**
 * The one table of topics: both bus adapters create what it lists. Retention is by age and by bytes per topic, whichever
 * is reached first, and never above the lowest offset of a live group.
 * @module
 */

const days = (count: number) => count * 86_400_000
const gibibytes = (count: number) => count * 1_073_741_824
const mebibytes = (count: number) => count * 1_048_576

export interface Topic {
  readonly name: string
  readonly retentionMillis: number
  readonly retentionBytes: number
  /** Of key, headers and value together. */
  readonly maxRecordBytes: number
}

/** Of every topic in Kafka: so many processes can share the work of a group. Fixed for the life of the topics. */
export const KAFKA_PARTITIONS = 12

/**
 * Of every topic in an embedded log that begins. There is no other process to share with, and one thread affords so many batches
 * a second: a record waits for the turns of as many as there are partitions (docs/decisions/0010).
 */
export const EMBEDDED_PARTITIONS = 4

/** The topics that carry a device's message, in the order in which it passes through them, and what else is told of it. */
export const Topics = {
  raw: "telemetry.raw.v1",
  endpoint: "telemetry.endpoint.v1",
  gateway: "telemetry.gateway.v1",
  gatewayChunked: "telemetry.gateway_chunked.v1",
  rtu: "telemetry.rtu.v1",
  logicalDevices: "telemetry.logical_devices.v1",
  normalized: "telemetry.normalized.v1",
  connections: "device.connections.v1",
  assetReadings: "telemetry.asset_readings.v1",
  asset: "telemetry.asset.v1",
  events: "events.v1",
  activities: "activities.created.v1"
} as const

const retained = (name: string, retentionDays: number, retentionGibibytes: number): Topic => ({
  name,
  retentionMillis: days(retentionDays),
  retentionBytes: gibibytes(retentionGibibytes),
  maxRecordBytes: mebibytes(16)
})

const sources: ReadonlyArray<Topic> = [
  retained(Topics.raw, 7, 10),
  retained(Topics.endpoint, 1, 5),
  retained(Topics.gateway, 1, 5),
  retained(Topics.gatewayChunked, 1, 5),
  retained(Topics.rtu, 1, 5),
  retained(Topics.logicalDevices, 1, 5),
  retained(Topics.normalized, 1, 5),
  retained(Topics.connections, 1, 5),
  retained(Topics.assetReadings, 1, 5),
  retained(Topics.asset, 1, 5),
  retained(Topics.events, 30, 2),
  retained(Topics.activities, 30, 2)
]

/** The dead-letter topic of a consumed topic. */
export const deadLetterTopic = (topic: string) => `${topic}.dlq`

const deadLetters = sources.map((topic): Topic => ({
  ...topic,
  name: deadLetterTopic(topic.name),
  retentionMillis: days(30),
  retentionBytes: gibibytes(1),
  maxRecordBytes: mebibytes(17) // the original record and what went wrong with it
}))

/** The names of all dead-letter topics. */
export const deadLetterTopics: ReadonlyArray<string> = deadLetters.map(({ name }) => name)

/** Every topic by name. */
export const topicTable: ReadonlyMap<string, Topic> = new Map(
  [...sources, ...deadLetters].map((topic) => [topic.name, topic])
)
