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
  { group: Groups.deadLetters, reads: deadLetterTopics, writes: [] }
]

/** What the bridge writes: its time is the wall clock. */
const written = [Topics.raw, deadLetterTopic(Topics.raw), Topics.connections] as const
const writtenByTheBridge: ReadonlySet<string> = new Set(written)

export interface Feeds {
  /** The bridge writes here, whose time is the wall clock. */
  readonly clock: boolean
  /** The times of these feed the same partition number: a key keeps its partition from topic to topic. */
  readonly groups: ReadonlyArray<{ readonly group: string; readonly topic: string }>
}

/** Who feeds a topic, as `reader` sees it: a group never waits for itself. */
export const feedsOf = (topic: string, reader: string, stages: ReadonlyArray<Stage> = pipeline): Feeds => ({
  clock: writtenByTheBridge.has(topic),
  groups: stages
    .filter((stage) => stage.group !== reader)
    .filter((stage) => stage.writes.includes(topic) || stage.reads.some((read) => deadLetterTopic(read) === topic))
    .flatMap((stage) => stage.reads.map((read) => ({ group: stage.group, topic: read })))
})
