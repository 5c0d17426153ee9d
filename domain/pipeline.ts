/**
 * Which consumer group reads and writes which topics: how time flows through the pipeline. A group that has read all there
 * is takes its time from the groups that feed it, so that silence counts only where nothing is still on its way.
 * @module
 */
import { deadLetterTopic, deadLetterTopics, Topics } from "./topics.ts"

export interface Stage {
  readonly group: string
  readonly reads: ReadonlyArray<string>
  /** Without the dead-letter topics of what it reads, which every group writes. */
  readonly writes: ReadonlyArray<string>
}

export const Groups = {
  dispatcher: "argusiq.dispatcher",
  chunker: "argusiq.chunker",
  demux: "argusiq.demux",
  normalizer: "argusiq.normalizer",
  telemetryWriter: "argusiq.telemetry-writer",
  rawCopy: "argusiq.telemetry-writer.raw",
  eventEngine: "argusiq.event-engine",
  assetMapping: "argusiq.asset-health.mapping",
  assetHealth: "argusiq.asset-health",
  deviceRules: "argusiq.event-engine.device-rules",
  assetRules: "argusiq.event-engine.asset-rules",
  activityCreator: "argusiq.activity-creator",
  deadLetters: "argusiq.jobs.dead-letters"
} as const

export const pipeline: ReadonlyArray<Stage> = [
  {
    group: Groups.dispatcher,
    reads: [Topics.raw],
    writes: [Topics.endpoint, Topics.gateway, Topics.gatewayChunked, Topics.rtu]
  },
  { group: Groups.chunker, reads: [Topics.gatewayChunked], writes: [Topics.gateway] },
  { group: Groups.demux, reads: [Topics.gateway, Topics.rtu], writes: [Topics.logicalDevices] },
  { group: Groups.normalizer, reads: [Topics.endpoint, Topics.logicalDevices], writes: [Topics.normalized] },
  { group: Groups.telemetryWriter, reads: [Topics.normalized], writes: [] },
  { group: Groups.rawCopy, reads: [Topics.raw, deadLetterTopic(Topics.raw)], writes: [] },
  { group: Groups.eventEngine, reads: [Topics.normalized, Topics.connections], writes: [] },
  { group: Groups.assetMapping, reads: [Topics.normalized], writes: [Topics.assetReadings] },
  { group: Groups.assetHealth, reads: [Topics.assetReadings], writes: [Topics.assetReadings, Topics.asset] },
  { group: Groups.deviceRules, reads: [Topics.normalized], writes: [] },
  { group: Groups.assetRules, reads: [Topics.asset], writes: [] },
  { group: Groups.activityCreator, reads: [Topics.events], writes: [] },
  { group: Groups.deadLetters, reads: deadLetterTopics, writes: [] }
]

/** What no stage writes but the bridge, or the relay of events: its time is the wall clock. */
const written = [Topics.raw, deadLetterTopic(Topics.raw), Topics.connections, Topics.events] as const
const writtenFromOutside: ReadonlySet<string> = new Set(written)

/** Keyed by asset: what comes of a device's partition may be in any of theirs, and a parent's children are in others. */
const byAsset: ReadonlySet<string> = new Set([Topics.assetReadings, Topics.asset])

/** The key changes on the way to this topic: every partition is fed by all of the feeders' partitions. */
export const isFedByAll = (topic: string): boolean => byAsset.has(topic)

export interface Feeds {
  /** The bridge or the relay of events writes here, whose time is the wall clock. */
  readonly clock: boolean
  /** The times of these feed the same partition number, since a key keeps its partition from topic to topic. */
  readonly groups: ReadonlyArray<{ readonly group: string; readonly topic: string }>
  /** The key changes on the way here: every partition is fed by all of the groups' partitions. */
  readonly everywhere: boolean
}

/** Who feeds a topic, as `reader` sees it: a group never waits for itself. */
export const feedsOf = (topic: string, reader: string, stages: ReadonlyArray<Stage> = pipeline): Feeds => ({
  clock: writtenFromOutside.has(topic),
  everywhere: byAsset.has(topic),
  groups: stages
    .filter((stage) => stage.group !== reader)
    .filter((stage) => stage.writes.includes(topic) || stage.reads.some((read) => deadLetterTopic(read) === topic))
    .flatMap((stage) => stage.reads.map((read) => ({ group: stage.group, topic: read })))
})
