/**
 * What a fold in memory remembers of its way from the base to the tip, so that a late input costs what comes after it and not the
 * whole way. It is a cache: where it is missing, as after a restart, the way is gone again from the base.
 *
 * Marks thin out with their distance from the tip, like the checkpoints of a computation that is to be resumed anywhere: between
 * two neighbours lie at most half as many inputs as behind them. So there are few, however long the way, and going back to an
 * input costs at most half as much again as what comes after it.
 * @module
 */
import type { Fold, FoldInput, FoldState } from "./fold.ts"

/** Inputs between two marks near the tip. */
const SPACING = 16
/** Marks that need no thinning. */
const FEW = 8

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

export interface WentBack<State, Output> {
  readonly state: State
  /** Of the recent inputs, from which to go on. */
  readonly index: number
  /** After that; undefined: not all of it is remembered. */
  readonly told: ReadonlyArray<Pick<Told<Output>, "id" | "output">> | undefined
}

/** Belongs to the newest state of a line of them; whoever goes on from that one takes it along. */
export class Trail<State, Output> {
  /** The place of the first recent input. */
  #first = 0
  #marks: Array<Mark<State>> = []
  #told: Array<Told<Output>> = []
  /** All that was told after it is remembered. */
  #toldFrom: number
  readonly #remembersTold: boolean
  #crowded = FEW

  /** Begins after so many recent inputs. */
  constructor(index: number, remembersTold: boolean) {
    this.#toldFrom = index
    this.#remembersTold = remembersTold
  }

  /** The state after `index` recent inputs, if it is time for a mark; time must not have passed after them. */
  mark(index: number, state: State): void {
    const place = this.#first + index
    const last = this.#marks.at(-1)
    if (last === undefined || place >= last.place + SPACING) this.#marks.push({ place, state })
  }

  /** Told with `index` recent inputs. */
  tell(index: number, id: string, output: Output, afterwards: boolean): void {
    if (this.#remembersTold) this.#told.push({ place: this.#first + index + (afterwards ? 0.5 : 0), id, output })
  }

  /** The last state marked before the recent input at `index`, and the index from which to go on. */
  before(index: number): { readonly state: State; readonly index: number } | undefined {
    const mark = this.#marks[this.#lastUpTo(index)]
    return mark && { state: mark.state, index: mark.place - this.#first }
  }

  /** Goes back to the last mark before the recent input at `index`, or to the base; what lay after it is forgotten. */
  goBack(index: number, base: State): WentBack<State, Output> {
    const last = this.#lastUpTo(index)
    const { place, state } = this.#marks[last] ?? { place: this.#first, state: base }
    this.#marks.length = last + 1
    let from = this.#told.length
    while (from > 0 && this.#told[from - 1]!.place > place) from--
    const told = this.#told.splice(from)
    // The base may have let time pass that was not told of when it was not the base.
    const isRemembered = this.#remembersTold && last >= 0 && place >= this.#toldFrom
    if (!isRemembered) {
      this.#toldFrom = place
      this.#told = []
    }
    return { state, index: place - this.#first, told: isRemembered ? told : undefined }
  }

  /** The base has taken so many of the recent inputs in. */
  drop(count: number): void {
    this.#first += count
    let stale = 0
    while (stale < this.#marks.length && this.#marks[stale]!.place < this.#first) stale++
    if (stale > 0) this.#marks.splice(0, stale)
  }

  /**
   * Makes room.
   * @param index of the recent input before which hardly any comes any more: what was told before it is not remembered
   * @param length of the recent inputs
   */
  trim(index: number, length: number): void {
    if (this.#marks.length > this.#crowded) this.#thin(this.#first + length)
    const from = this.#marks[this.#lastUpTo(index)]?.place
    if (from === undefined || from <= this.#toldFrom) return
    this.#toldFrom = from
    let old = 0
    while (old < this.#told.length && this.#told[old]!.place <= from) old++
    this.#told.splice(0, old)
  }

  #lastUpTo(index: number): number {
    return this.#marks.findLastIndex((mark) => mark.place <= this.#first + index)
  }

  #thin(tip: number): void {
    const marks = this.#marks
    const kept = [marks.at(-1)!]
    for (let index = marks.length - 2; index >= 0; index--) {
      const newer = kept.at(-1)!.place
      const older = marks[index - 1]?.place ?? this.#first
      if (newer - older > Math.max(SPACING, (tip - newer) / 2)) kept.push(marks[index]!)
    }
    this.#marks = kept.toReversed()
    this.#crowded = Math.max(FEW, 2 * kept.length)
  }
}

/** Of a state: left out of JSON, and of no meaning on a copy. A WeakMap would cost the garbage collector more than the folds do. */
const TRAIL = Symbol("argusiq/domain/fold-trail")
interface Kept<State, Output> {
  [TRAIL]?: { readonly owner: object; readonly trail: Trail<State, Output> } | undefined
}

/** The trail of a state; undefined where there is none. */
export const trailOf = <State, Input extends FoldInput, Output>(
  state: FoldState<State, Input> & Kept<State, Output>
): Trail<State, Output> | undefined => (state[TRAIL]?.owner === state ? state[TRAIL].trail : undefined)

/** The trail of a state, which no longer has it afterwards; one that begins at its tip where there is none. */
export const takeTrail = <State, Input extends FoldInput, Output>(
  { tellsOfEach }: Fold<State, Input, Output>,
  state: FoldState<State, Input> & Kept<State, Output>
): Trail<State, Output> => {
  const trail = trailOf<State, Input, Output>(state)
  if (trail === undefined) return new Trail(state.recent.length, tellsOfEach !== true)
  state[TRAIL] = undefined
  return trail
}

export const leaveTrail = <State, Input extends FoldInput, Output>(
  state: FoldState<State, Input> & Kept<State, Output>,
  trail: Trail<State, Output>
): void => {
  state[TRAIL] = { owner: state, trail }
}
