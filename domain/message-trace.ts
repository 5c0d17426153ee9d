/**
 * What became of a message, concluded from what is stored: the way that its processing mode takes, how far along it each
 * group has come, and what that amounts to.
 * @module
 */
import { BRIDGE_GROUP } from "./dead-letter.ts"
import { type ProcessingMode } from "./envelope.ts"
import { type Instant } from "./ids.ts"
import { Groups } from "./pipeline.ts"
import { Topics } from "./topics.ts"
import { type TransactionStatus } from "./transactions.ts"

/** A group that takes the message, and from which topic. */
export interface Step {
  readonly group: string
  readonly topic: string
}

const ways: Readonly<Record<ProcessingMode, ReadonlyArray<Step>>> = {
  endpoint: [
    { group: Groups.dispatcher, topic: Topics.raw },
    { group: Groups.normalizer, topic: Topics.endpoint },
    { group: Groups.telemetryWriter, topic: Topics.normalized }
  ],
  gateway: [
    { group: Groups.dispatcher, topic: Topics.raw },
    { group: Groups.demux, topic: Topics.gateway },
    { group: Groups.normalizer, topic: Topics.logicalDevices },
    { group: Groups.telemetryWriter, topic: Topics.normalized }
  ],
  rtu_multiport: [
    { group: Groups.dispatcher, topic: Topics.raw },
    { group: Groups.demux, topic: Topics.rtu },
    { group: Groups.normalizer, topic: Topics.logicalDevices },
    { group: Groups.telemetryWriter, topic: Topics.normalized }
  ],
  gateway_chunked: [
    { group: Groups.dispatcher, topic: Topics.raw },
    { group: Groups.chunker, topic: Topics.gatewayChunked }
  ]
}

/** What follows the chunker once a message is whole. */
const ofWholes: ReadonlyArray<Step> = ways.gateway.slice(1)

/** Through which groups a message goes until its readings are stored. A chunk ends in the chunker, a whole begins after it. */
export const wayOf = (mode: ProcessingMode | undefined, isWhole: boolean): ReadonlyArray<Step> =>
  isWhole ? ofWholes : mode === undefined ? ways.endpoint.slice(0, 1) : ways[mode]

/** Who else reads the readings; its readings are stored whether or not they have. */
export const besides: ReadonlyArray<Step> = [
  { group: Groups.eventEngine, topic: Topics.normalized },
  { group: Groups.assetMapping, topic: Topics.normalized },
  { group: Groups.deviceRules, topic: Topics.normalized }
]

export const stageStates = [
  "done", // the group has taken it
  "waiting", // the group has not come to it
  "failed", // the group refused it: there is a dead letter
  "not-reached", // it is held up before
  "unknown" // neither the record nor the group's time is known
] as const
export type StageState = (typeof stageStates)[number]

/** What is known of a step: where the record lies, the next offset of the group, and how far in received-at it has come. */
export interface Progress {
  readonly offset: bigint | undefined
  readonly next: bigint | undefined
  readonly time: Instant | undefined
}

const stateOf = (receivedAt: Instant, { next, offset, time }: Progress): StageState => {
  if (offset !== undefined && next !== undefined) return next > offset ? "done" : "waiting"
  if (time !== undefined) return time >= receivedAt ? "done" : "waiting"
  return "unknown"
}

/**
 * The states of the steps of a way, in their order. Once something is held up nothing after it can have happened; once its
 * readings are stored everything before has.
 */
export const statesOf = (
  receivedAt: Instant,
  steps: ReadonlyArray<Step & Progress>,
  facts: { readonly isStored: boolean; readonly failedGroups: ReadonlySet<string> }
): ReadonlyArray<StageState> => {
  let heldUp = false
  return steps.map((step) => {
    if (heldUp) return "not-reached"
    if (facts.failedGroups.has(step.group) && !facts.isStored) {
      heldUp = true
      return "failed"
    }
    const state = facts.isStored ? "done" : stateOf(receivedAt, step)
    heldUp = state === "waiting"
    return state
  })
}

export const traceStatuses = [
  "stored", // all of its readings
  "partly-stored", // some of its entries are dead letters
  "on-its-way",
  "waiting-for-chunks",
  "refused", // by the bridge
  "failed", // it is a dead letter
  "retrying", // it is one no longer, and its group has not come to the retry
  "duplicate", // the readings were stored already, with another message
  "nothing-stored" // every group has taken it, and no reading came of it
] as const
export type TraceStatus = (typeof traceStatuses)[number]

export interface Facts {
  readonly readings: number
  readonly deadLetters: ReadonlyArray<{
    readonly group: string
    readonly entry: number | null
    readonly state: "open" | "retrying" | "resolved"
    readonly reason: string
    readonly message: string
  }>
  readonly states: ReadonlyArray<StageState>
  readonly steps: ReadonlyArray<Step>
  readonly transaction: TransactionStatus | undefined
  readonly duplicateOf: string | undefined
}

export interface Conclusion {
  readonly status: TraceStatus
  /** One sentence for a person. */
  readonly summary: string
}

const count = (readings: number) => `${readings} reading${readings === 1 ? "" : "s"}`

export const conclude = (facts: Facts): Conclusion => {
  const { deadLetters, duplicateOf, readings, states, steps, transaction } = facts
  const open = deadLetters.filter(({ state }) => state === "open")
  const retrying = deadLetters.filter(({ state }) => state === "retrying")
  const [first] = open
  if (readings > 0) {
    if (first !== undefined || retrying.length > 0) {
      const rest = [...open, ...retrying].length
      return {
        status: "partly-stored",
        summary: `${count(readings)} are stored; ${rest} of its parts could not be processed and wait as dead letters.`
      }
    }
    if (transaction === "pending" || transaction === "processing") {
      return { status: "on-its-way", summary: `${count(readings)} are stored, and more are on their way.` }
    }
    return { status: "stored", summary: `It was processed: ${count(readings)} stored.` }
  }
  if (first !== undefined) {
    const { group, message, reason } = first
    return group === BRIDGE_GROUP
      ? { status: "refused", summary: `The bridge refused it (${reason}): ${message}` }
      : { status: "failed", summary: `${group} could not process it (${reason}): ${message}` }
  }
  if (retrying.length > 0) {
    return { status: "retrying", summary: `It is being retried for ${retrying[0]!.group}, which has not come to it.` }
  }
  if (transaction === "pending") {
    return { status: "waiting-for-chunks", summary: "It is a part of a message whose other chunks are awaited." }
  }
  const waiting = states.indexOf("waiting")
  if (waiting !== -1) {
    const { group, topic } = steps[waiting]!
    return { status: "on-its-way", summary: `It is on its way: ${group} has not come to it on ${topic}.` }
  }
  if (transaction === "failed") return { status: "failed", summary: "Its chunks did not come within their time." }
  if (duplicateOf !== undefined) {
    return {
      status: "duplicate",
      summary: `The device had sent the same before: its readings are stored with message ${duplicateOf}.`
    }
  }
  if (states.includes("unknown")) {
    return { status: "on-its-way", summary: "No reading of it is stored, and how far the services are is not known." }
  }
  return {
    status: "nothing-stored",
    summary: "It was processed, and no reading came of it: it holds none that its type knows."
  }
}
