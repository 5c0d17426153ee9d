/**
 * Whether a device is online: a function of the set of what is known of it, whatever the order in which that came, and of the
 * partition's time. It is online from a connect or a message on, until it disconnects or is silent for too long.
 *
 * What is ours is not the device's: a broker of ours that stops or restarts ends all connections, which says nothing of the
 * devices; and time in which nothing was accepted is no silence.
 * @module
 */
import { type Instant } from "./ids.ts"

export type Connectivity = "online" | "offline" | "unknown"

/** Latest instants of each kind; with `status` what was last announced. JSON, so that it can be stored as it is. */
export interface ConnectionState {
  readonly status: Connectivity
  readonly changedAt: Instant | null
  readonly seenAt: Instant | null // received-at of the latest message
  readonly connectedAt: Instant | null
  readonly disconnectedAt: Instant | null
  readonly disconnectReason?: string
}

export const unknownDevice: ConnectionState = {
  status: "unknown",
  changedAt: null,
  seenAt: null,
  connectedAt: null,
  disconnectedAt: null
}

export type ConnectionSignal =
  | { readonly _tag: "Connected"; readonly at: Instant }
  | { readonly _tag: "Disconnected"; readonly at: Instant; readonly reason?: string }
  | { readonly _tag: "Seen"; readonly at: Instant }

export interface StatusChange {
  readonly from: Connectivity
  readonly to: "online" | "offline"
  readonly at: Instant // when it happened, not when it was noticed
  readonly reason: "connected" | "message" | "disconnected" | "silence"
  readonly detail?: string // what the broker said of a disconnect
}

/** A stretch in which the platform accepted nothing. */
export interface Gap {
  readonly from: Instant
  readonly to: Instant
}

/** Reasons of brokers for ends that are not the device's: its session went on elsewhere, or the broker itself stopped. */
const notOfTheDevice: ReadonlySet<string> = new Set([
  "takenover",
  "takeover",
  "taken_over",
  "discarded",
  "session_taken_over",
  "server_shutting_down",
  "server_shutdown",
  "shutdown_by_server",
  "the_platform_was_shut_down"
])

/** Whether a disconnect says something of the device. Reasons are compared without case, blanks as underscores. */
export const endsConnection = (reason: string | undefined): boolean =>
  reason === undefined ||
  !notOfTheDevice.has(
    reason
      .trim()
      .toLowerCase()
      .replaceAll(/[\s-]+/g, "_")
  )

const later = (left: Instant | null, right: Instant): Instant => (left === null || right > left ? right : left)

/** The state with one signal more. Signals may come twice and in any order; it does not change `status`. */
export const observe = (state: ConnectionState, signal: ConnectionSignal): ConnectionState => {
  switch (signal._tag) {
    case "Seen":
      return { ...state, seenAt: later(state.seenAt, signal.at) }
    case "Connected":
      return { ...state, connectedAt: later(state.connectedAt, signal.at) }
    case "Disconnected": {
      if (!endsConnection(signal.reason) || signal.at <= (state.disconnectedAt ?? -Infinity)) return state
      const { disconnectReason: _, ...rest } = state
      return {
        ...rest,
        disconnectedAt: signal.at,
        ...(signal.reason !== undefined && { disconnectReason: signal.reason })
      }
    }
  }
}

/** The last sign of life, undefined without one. */
const aliveAt = ({ connectedAt, seenAt }: ConnectionState): Instant | undefined => {
  const at = Math.max(connectedAt ?? -Infinity, seenAt ?? -Infinity)
  return at === -Infinity ? undefined : at
}

/** The gaps in order, those that touch as one. */
const united = (gaps: ReadonlyArray<Gap>): ReadonlyArray<Gap> => {
  const united: Array<Gap> = []
  for (const gap of gaps.toSorted((left, right) => left.from - right.from)) {
    const last = united.at(-1)
    if (last !== undefined && gap.from <= last.to)
      united[united.length - 1] = { from: last.from, to: Math.max(last.to, gap.to) }
    else if (gap.to > gap.from) united.push(gap)
  }
  return united
}

/** The instant at which `micros` of time outside of all gaps have passed since `from`. */
export const afterSilence = (from: Instant, micros: number, gaps: ReadonlyArray<Gap>): Instant => {
  let end = from + micros
  for (const gap of united(gaps)) {
    if (gap.to <= from) continue
    if (gap.from >= end) break
    end += gap.to - Math.max(gap.from, from)
  }
  return end
}

/** When the device will count as silent if nothing comes; undefined while nothing says that it lives. */
export const silentAt = (
  state: ConnectionState,
  offlineAfterSeconds: number,
  gaps: ReadonlyArray<Gap>
): Instant | undefined => {
  const alive = aliveAt(state)
  if (alive === undefined || (state.disconnectedAt !== null && state.disconnectedAt >= alive)) return undefined
  return afterSilence(alive, offlineAfterSeconds * 1_000_000, gaps)
}

const judge = (
  state: ConnectionState,
  offlineAfterSeconds: number,
  partitionTime: Instant,
  gaps: ReadonlyArray<Gap>
): Omit<StatusChange, "from"> | undefined => {
  const { connectedAt, disconnectedAt, disconnectReason: detail, seenAt } = state
  const alive = aliveAt(state)
  if (disconnectedAt !== null && (alive === undefined || disconnectedAt >= alive)) {
    return { to: "offline", at: disconnectedAt, reason: "disconnected", ...(detail !== undefined && { detail }) }
  }
  if (alive === undefined) return undefined
  const silent = afterSilence(alive, offlineAfterSeconds * 1_000_000, gaps)
  if (silent <= partitionTime) return { to: "offline", at: silent, reason: "silence" }
  return {
    to: "online",
    at: alive,
    reason: seenAt !== null && seenAt >= (connectedAt ?? -Infinity) ? "message" : "connected"
  }
}

/**
 * What the state comes to at the partition's time, and the change to announce: only where the status is another than the one
 * announced last.
 * @param gaps all that overlap the time since the device's last sign of life, in any order
 */
export const decideStatus = (
  state: ConnectionState,
  offlineAfterSeconds: number,
  partitionTime: Instant,
  gaps: ReadonlyArray<Gap> = []
): { readonly state: ConnectionState; readonly change: StatusChange | undefined } => {
  const judged = judge(state, offlineAfterSeconds, partitionTime, gaps)
  if (judged === undefined || judged.to === state.status) return { state, change: undefined }
  return { state: { ...state, status: judged.to, changedAt: judged.at }, change: { from: state.status, ...judged } }
}
