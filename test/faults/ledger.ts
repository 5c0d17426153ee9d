/**
 * The ledger's judgement: what the sender wrote down against what the platform holds.
 * @module
 */
import { readFileSync } from "node:fs"

export interface Ledger {
  /** By device: every sequence number that was ever sent. */
  readonly sent: ReadonlyArray<ReadonlySet<number>>
  /** By device: every sequence number whose acknowledgement arrived. */
  readonly acknowledged: ReadonlyArray<ReadonlySet<number>>
  readonly repeated: number
}

export const readLedger = (file: string, devices: number): Ledger => {
  const sets = () => Array.from({ length: devices }, () => new Set<number>())
  const ledger = { sent: sets(), acknowledged: sets() }
  let repeated = 0
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const [kind, device, sequence] = line.split(" ")
    if (sequence === undefined) continue
    const set = (kind === "S" ? ledger.sent : ledger.acknowledged)[Number(device)]
    if (kind === "S" && set?.has(Number(sequence)) === true) repeated += 1
    set?.add(Number(sequence))
  }
  return { ...ledger, repeated }
}

/** The devices of the one, then those of the other. */
export const joined = (one: Ledger, other: Ledger): Ledger => ({
  sent: [...one.sent, ...other.sent],
  acknowledged: [...one.acknowledged, ...other.acknowledged],
  repeated: one.repeated + other.repeated
})

export const total = (sets: ReadonlyArray<ReadonlySet<number>>): number => sets.reduce((sum, set) => sum + set.size, 0)

export interface Holdings {
  /** By device: the sequence number of every stored reading, doubles included. */
  readonly stored: ReadonlyArray<ReadonlyArray<number>>
  /** By device: the sequence numbers found in dead-letter topics. */
  readonly deadLettered: ReadonlyArray<ReadonlySet<number>>
  /** By device: sequence numbers in the order of the log, repetitions included. */
  readonly logged: ReadonlyArray<ReadonlyArray<number>>
  /** What was stored under another configuration than the one of its time, and latest values that are not the newest. */
  readonly stale: ReadonlyArray<string>
}

export interface Verdict {
  /** Acknowledged, and neither stored nor dead-lettered: lost. */
  readonly lost: ReadonlyArray<string>
  /** Stored more than once. */
  readonly doubled: ReadonlyArray<string>
  /** First occurrence in the log after one with a higher number. */
  readonly disordered: ReadonlyArray<string>
  /** Stored without ever having been sent. */
  readonly invented: ReadonlyArray<string>
  /** {@link Holdings.stale} */
  readonly stale: ReadonlyArray<string>
}

export const spotless: Verdict = { lost: [], doubled: [], disordered: [], invented: [], stale: [] }

export const isSpotless = (verdict: Verdict): boolean => Object.values(verdict).every((faults) => faults.length === 0)

export const judge = (ledger: Ledger, holdings: Holdings): Verdict => {
  const lost: Array<string> = []
  const doubled: Array<string> = []
  const disordered: Array<string> = []
  const invented: Array<string> = []
  for (const [device, acknowledged] of ledger.acknowledged.entries()) {
    const name = (sequence: number) => `device ${device} message ${sequence}`
    const stored = new Set<number>()
    for (const sequence of holdings.stored[device] ?? []) {
      if (stored.has(sequence)) doubled.push(name(sequence))
      if (ledger.sent[device]?.has(sequence) !== true) invented.push(name(sequence))
      stored.add(sequence)
    }
    for (const sequence of acknowledged) {
      if (!stored.has(sequence) && holdings.deadLettered[device]?.has(sequence) !== true) lost.push(name(sequence))
    }
    const seen = new Set<number>()
    let highest = -1
    for (const sequence of holdings.logged[device] ?? []) {
      if (!seen.has(sequence) && sequence < highest) disordered.push(name(sequence))
      seen.add(sequence)
      highest = Math.max(highest, sequence)
    }
  }
  return { lost, doubled, disordered, invented, stale: holdings.stale }
}
