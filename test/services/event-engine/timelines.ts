/**
 * What devices may do in twenty minutes, and what of it is to be told: by the domain's rules alone, one device at a time, in the
 * order of time.
 * @module
 */
import {
  type ConnectionState,
  decideStatus,
  type Gap,
  observe,
  unknownDevice
} from "@argusiq/domain/connection-status.ts"
import { randomUUID } from "node:crypto"
import type { randomFrom } from "../../support/random.ts"

export const LIMIT_SECONDS = 60
const LENGTH_SECONDS = 1_200

export type Random = ReturnType<typeof randomFrom>
export const below = (random: Random, count: number) => Math.floor(random() * count)

interface Heard {
  /** Who sent it. */
  readonly deviceId: string
  readonly at: number
}
export type Step = Heard &
  (
    | { readonly kind: "message"; readonly messageId: string; readonly children: ReadonlyArray<string> }
    | { readonly kind: "connected"; readonly connectionId: string }
    | {
        readonly kind: "disconnected"
        readonly connectionId: string
        readonly connections: number
        readonly reason?: string
      }
  )

export interface Timeline {
  /** In the order of time; no two at the same instant. */
  readonly steps: ReadonlyArray<Step>
  readonly gaps: ReadonlyArray<Gap>
  readonly end: number
}

const endings = ["takenover", "the platform was shut down", "said good-bye", "the connection broke", undefined]

/** @param gateways the devices behind each; every other device sends for itself */
export const makeTimeline = (
  random: Random,
  start: number,
  devices: ReadonlyArray<string>,
  gateways: ReadonlyMap<string, ReadonlyArray<string>>
): Timeline => {
  const gap = (from: number): Gap => {
    const begins = start + (from + below(random, 100)) * 1_000_000
    return { from: begins, to: begins + (20 + below(random, 250)) * 1_000_000 }
  }
  const gaps = random() < 0.2 ? [] : [gap(150), gap(700)]
  const steps: Array<Step> = []
  devices.forEach((deviceId, index) => {
    const children = gateways.get(deviceId) ?? []
    const connections: Array<string> = []
    let second = below(random, 100)
    while (second < LENGTH_SECONDS) {
      const at = start + second * 1_000_000 + below(random, 9_000) * 100 + index
      second += 1 + (random() < 0.2 ? LIMIT_SECONDS + below(random, 200) : below(random, 40))
      if (gaps.some(({ from, to }) => at >= from && at <= to)) continue
      const dice = random()
      if (dice < 0.7) {
        const seen = children.filter(() => random() < 0.6)
        steps.push({ kind: "message", deviceId, at, messageId: randomUUID(), children: seen })
      } else if (dice < 0.85) {
        connections.push(`${deviceId}/${connections.length}`)
        steps.push({ kind: "connected", deviceId, at, connectionId: connections.at(-1)! })
      } else {
        const connectionId = connections.at(random() < 0.8 ? -1 : -2) ?? "unknown"
        const reason = endings[below(random, endings.length)]
        steps.push({
          kind: "disconnected",
          deviceId,
          at,
          connectionId,
          connections: random() < 0.2 ? 1 : 0,
          ...(reason !== undefined && { reason })
        })
      }
    }
  })
  return {
    steps: steps.toSorted((one, other) => one.at - other.at),
    gaps,
    end: start + (LENGTH_SECONDS + 600) * 1_000_000
  }
}

export interface Told {
  readonly deviceId: string
  readonly type: string
  readonly at: number
  readonly reason: string
}

/** By device and time. */
export const inOrder = (told: ReadonlyArray<Told>): ReadonlyArray<Told> =>
  told.toSorted((one, other) => one.deviceId.localeCompare(other.deviceId) || one.at - other.at)

/** What is to be told of one device. */
const toldOf = (deviceId: string, { end, gaps, steps }: Timeline): ReadonlyArray<Told> => {
  const told: Array<Told> = []
  let state: ConnectionState = unknownDevice
  let connection: string | undefined
  const judge = (at: number) => {
    const decided = decideStatus(state, LIMIT_SECONDS, at, gaps)
    state = decided.state
    const { change } = decided
    if (change === undefined) return
    const type = change.to === "online" ? "DEVICE_ONLINE" : "DEVICE_OFFLINE"
    told.push({ deviceId, type, at: change.at, reason: change.reason })
  }
  for (const step of steps) {
    const isSeen = step.kind === "message" && (step.deviceId === deviceId || step.children.includes(deviceId))
    if (!isSeen && (step.kind === "message" || step.deviceId !== deviceId)) continue
    if (
      step.kind === "disconnected" &&
      (step.connections > 0 || (connection ?? step.connectionId) !== step.connectionId)
    )
      continue
    judge(step.at)
    if (step.kind === "message") state = observe(state, { _tag: "Seen", at: step.at })
    else if (step.kind === "connected") {
      connection = step.connectionId
      state = observe(state, { _tag: "Connected", at: step.at })
    } else {
      const { at, reason } = step
      state = observe(state, { _tag: "Disconnected", at, ...(reason !== undefined && { reason }) })
    }
    judge(step.at)
  }
  judge(end)
  return told
}

export const toldOfAll = (devices: ReadonlyArray<string>, timeline: Timeline) =>
  inOrder(devices.flatMap((deviceId) => toldOf(deviceId, timeline)))
