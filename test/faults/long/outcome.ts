/**
 * What a long run comes to.
 * @module
 */
import { type Kill } from "../kills.ts"
import { isSpotless, type Verdict } from "../ledger.ts"

export interface Outcome {
  /** What did not hold, in words; none: the run has shown what it is to show. */
  readonly faults: ReadonlyArray<string>
  readonly facts: string
}

export interface Run {
  readonly name: string
  readonly shows: string
  readonly run: () => Promise<Outcome>
}

export const atLeast = (what: string, value: number, least: number) =>
  value >= least ? [] : [`${what}: ${value}, less than ${least}`]
export const atMost = (what: string, value: number, most: number) =>
  value <= most ? [] : [`${what}: ${value}, more than ${most}`]
export const counted = (verdict: Verdict) =>
  Object.entries(verdict)
    .map(([what, which]: [string, ReadonlyArray<string>]) => `${which.length} ${what}`)
    .join(", ")
export const spotless = (verdict: Verdict) =>
  isSpotless(verdict) ? [] : [`${counted(verdict)}: ${Object.values(verdict).flat().slice(0, 10).join("; ")}`]

const stages = ["dispatcher", "normalizer", "writer", "rawWriter"] as const

/** Kills must have found every stage with something in its hands. */
export const stagesHit = (kills: ReadonlyArray<Kill>) => {
  const hits = stages.map((stage) => ({ stage, count: kills.filter((kill) => (kill[stage] ?? 0) > 0).length }))
  return {
    hits: hits.map(({ count, stage }) => `${stage} ${count}`).join(", "),
    faults: hits.flatMap(({ count, stage }) => atLeast(`kills that hit ${stage}`, count, 1))
  }
}
