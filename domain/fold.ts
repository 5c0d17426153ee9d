/**
 * What an entity's readings come to, whatever the order in which they arrive: the shape that live running, rebuild and
 * backtest share. A fold sees inputs sorted by (ts, readingId), each once. `fold-state.ts` runs it.
 * @module
 */
import type { Instant } from "./ids.ts"
import type { RecentInputs } from "./recent-inputs.ts"

/** How far back readings may come late and still correct what was said, in microseconds. */
export const DEFAULT_HORIZON_MICROS = 30_000_000

export interface FoldInput {
  readonly ts: Instant
  /** The same id has the same ts. */
  readonly readingId: string
  /** Of two inputs with the same id the one with the higher revision counts; absent is 0. */
  readonly revision?: number
  /** Takes the input with this id out again, unless a higher revision brings it back. */
  readonly retracted?: boolean
}

/** Told by a step: what is the case under this id. A later value under the same id replaces it. */
export type Emit<Output> = (id: string, output: Output) => void

/**
 * Pure: no function changes the state that it is given; a state is plain JSON, and so is an output. Passing is implied:
 * `pass(pass(s, a), b)` is `pass(s, b)` for a ≤ b, and `step(pass(s, a), input)` is `step(s, input)` for a ≤ input.ts.
 */
export interface Fold<State, Input extends FoldInput, Output> {
  readonly initial: State
  readonly step: (state: State, input: Input, emit: Emit<Output>) => State
  /** Time passes to `until` without inputs: durations end, silence is noticed. */
  readonly pass: (state: State, until: Instant, emit: Emit<Output>) => State
  /**
   * Tells again what a later step may still change under an id that was told already. Without it, what was told before the
   * base and changed after it counts as retracted when the change is taken back. Absent where no id lives on beyond the instant
   * of the input that told it first.
   */
  readonly open?: (state: State, emit: Emit<Output>) => void
  /**
   * It tells something of each input: for a late one it is folded again what was told after it, instead of all that is told being
   * kept for some seconds, which costs the garbage collector more.
   */
  readonly tellsOfEach?: boolean
}

/**
 * Row of fold_states. `recent` holds inputs with ts > baseTime, sorted, without doubles, with those that were retracted;
 * `tip` is base and all of `recent`, and the time until `passed` where something came of it.
 */
export interface FoldState<State, Input extends FoldInput> {
  readonly base: State
  readonly baseTime: Instant
  readonly recent: RecentInputs<Input>
  readonly tip: State
  /** Absent: the tip is as of the newest input. */
  readonly passed?: Instant
}
