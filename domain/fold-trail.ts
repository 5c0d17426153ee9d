/**
 * What a fold in memory remembers of its way from the base to the tip, so that a late input costs what comes after it and not the
 * whole horizon. It is a cache: where it is missing, as after a restart, the way is gone again from the base.
 * @module
 */
import type { FoldState } from "./fold.ts"

/** Inputs between two marks. */
const SPACING = 16

/** Places count inputs since the trail began, those that the base has taken in among them. */
interface Mark<State> {
  readonly place: number
  readonly state: State
}
interface Told<Output> {
  /** With so many inputs; half of one more where time has passed after them. */
  readonly place: number
  readonly id: string
  readonly output: Output
}

/** Belongs to the newest state of a line of them; whoever goes on from that one takes it along. */
export class Trail<State, Output> {
  /** The place of the first recent input. */
  #first = 0
  #marks: Array<Mark<State>> = []
  #told: Array<Told<Output>> = []

  /** The state after `index` recent inputs, if it is time for a mark; time must not have passed after them. */
  mark(index: number, state: State): void {
    const place = this.#first + index
    const last = this.#marks.at(-1)
    if (last === undefined || place >= last.place + SPACING) this.#marks.push({ place, state })
  }

  /** Told with `index` recent inputs. */
  tell(index: number, id: string, output: Output, afterwards: boolean): void {
    this.#told.push({ place: this.#first + index + (afterwards ? 0.5 : 0), id, output })
  }

  /**
   * Goes back to the last mark before the recent input at `index`: the state there, the index from which to go on, and what was
   * told after it, which is forgotten.
   */
  goBack(index: number) {
    const place = this.#marks.findLastIndex((mark) => mark.place <= this.#first + index)
    const mark = this.#marks[place]
    if (mark === undefined) return undefined
    this.#marks.length = place + 1
    let from = this.#told.length
    while (from > 0 && this.#told[from - 1]!.place > mark.place) from--
    return { state: mark.state, index: mark.place - this.#first, told: this.#told.splice(from) }
  }

  /** The base has taken so many of the recent inputs in. */
  drop(count: number): void {
    this.#first += count
    let stale = 0
    while (stale < this.#marks.length && this.#marks[stale]!.place < this.#first) stale++
    this.#forget(stale)
  }

  /** Nothing is likely to come before the recent input at `index` any more. */
  trim(index: number): void {
    let stale = 0
    while (stale + 1 < this.#marks.length && this.#marks[stale + 1]!.place <= this.#first + index) stale++
    this.#forget(stale)
  }

  /** So many of the marks, the oldest, and what was told before those that stay. */
  #forget(stale: number): void {
    if (stale === 0) return
    this.#marks.splice(0, stale)
    const from = this.#marks[0]?.place ?? Infinity
    let old = 0
    while (old < this.#told.length && this.#told[old]!.place <= from) old++
    this.#told.splice(0, old)
  }
}

/** Of a state: left out of JSON, and of no meaning on a copy. A WeakMap would cost the garbage collector more than the folds do. */
const TRAIL = Symbol("argusiq/domain/fold-trail")
interface Kept<State, Output> {
  [TRAIL]?: { readonly owner: object; readonly trail: Trail<State, Output> } | undefined
}

/** The trail of a state, which no longer has it afterwards; a new one where there is none. */
export const takeTrail = <State, Input, Output>(
  state: FoldState<State, Input> & Kept<State, Output>
): Trail<State, Output> => {
  const kept = state[TRAIL]
  if (kept?.owner !== state) return new Trail()
  state[TRAIL] = undefined
  return kept.trail
}

export const leaveTrail = <State, Input, Output>(
  state: FoldState<State, Input> & Kept<State, Output>,
  trail: Trail<State, Output>
): void => {
  state[TRAIL] = { owner: state, trail }
}
