/**
 * Runs a fold on inputs as they arrive: late within the horizon, twice, in batches of any size, across restarts; and on
 * inputs that are sorted already, for rebuild and backtest. All of them come to the same.
 * @module
 */
import type { Emit, Fold, FoldInput, FoldState } from "./fold.ts"
import { compareTold } from "./fold-told.ts"
import { leaveTrail, takeTrail, type Trail, trailOf } from "./fold-trail.ts"
import type { Instant } from "./ids.ts"
import { placeOf, RecentInputs } from "./recent-inputs.ts"

/** Before every instant. */
export const BEFORE_ALL: Instant = -62_135_596_800_000_000

/** What comes later than this is rare enough for computing again what was told since: remembering more costs memory. */
const USUALLY_LATE_MICROS = 5_000_000

export interface AdvanceOptions {
  /** Inputs older than the newest (or than `until`) by no more than this correct what was said. */
  readonly horizonMicros: number
  /** Inputs up to here may still be on their way for reasons that are ours: the base does not pass it. */
  readonly baseLimit: Instant
  /** How far the entity's own time has come without inputs, in event time; absent: to its newest input. */
  readonly until?: Instant
}

export interface Advanced<State, Input extends FoldInput, Output> {
  readonly state: FoldState<State, Input>
  /** What was told, and was not told so before. */
  readonly changed: ReadonlyMap<string, Output>
  /** Ids that were told and are not the case. */
  readonly retracted: ReadonlyArray<string>
  /** As told by the base: no input that is taken can change it, though a later one may tell more under the same id. */
  readonly settled: ReadonlyMap<string, Output>
  /** Inputs that the base has passed: what is really late, and what comes a second time so late. They took no part. */
  readonly late: ReadonlyArray<Input>
}

export const emptyState = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>
): FoldState<State, Input> => ({
  base: fold.initial,
  baseTime: BEFORE_ALL,
  recent: RecentInputs.of([]),
  tip: fold.initial
})

/** The order in which a fold sees its inputs. */
export const compareInputs = (left: FoldInput, right: FoldInput): number =>
  left.ts - right.ts || (left.readingId < right.readingId ? -1 : left.readingId > right.readingId ? 1 : 0)

const revisionOf = ({ revision }: FoldInput): number => revision ?? 0

/** Sorted, of each id the highest revision. The same array where it is so already. */
const inOrder = <Input extends FoldInput>(inputs: ReadonlyArray<Input>): ReadonlyArray<Input> => {
  let ordered = true
  for (let index = 1; ordered && index < inputs.length; index++)
    ordered = compareInputs(inputs[index - 1]!, inputs[index]!) < 0
  return ordered ? inputs : merge([], inputs.toSorted(compareInputs))
}

/** Both sorted; of each id the highest revision, of equal ones the first. */
const merge = <Input extends FoldInput>(
  left: ReadonlyArray<Input>,
  right: ReadonlyArray<Input>
): ReadonlyArray<Input> => {
  const merged: Array<Input> = []
  const add = (input: Input) => {
    const last = merged.at(-1)
    if (last === undefined || compareInputs(last, input) !== 0) merged.push(input)
    else if (revisionOf(input) > revisionOf(last)) merged[merged.length - 1] = input
  }
  let place = 0
  for (const input of right) {
    while (place < left.length && compareInputs(left[place]!, input) <= 0) add(left[place++]!)
    add(input)
  }
  while (place < left.length) add(left[place++]!)
  return merged
}

/** The first place whose input is after this time. */
const placeAfter = (inputs: ReadonlyArray<FoldInput>, time: Instant) => placeOf(inputs, ({ ts }) => ts <= time)
/** The first place whose input is not before this time. */
const placeAt = (inputs: ReadonlyArray<FoldInput>, time: Instant) => placeOf(inputs, ({ ts }) => ts < time)

const silent = () => {}

/** Most inputs lead to nothing that is told. */
const nothingTold: ReadonlyMap<string, never> = new Map<string, never>()
const nothingRetracted: ReadonlyArray<string> = []

/** What is told, by its last value. */
class Telling<Output> {
  #told: Map<string, Output> | undefined

  readonly emit: Emit<Output> = (id, output) => void (this.#told ??= new Map()).set(id, output)

  get told(): ReadonlyMap<string, Output> {
    return this.#told ?? nothingTold
  }
}

const stepAll = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  from: State,
  inputs: Iterable<Input>,
  emit: Emit<Output>
): State => {
  let state = from
  for (const input of inputs) if (input.retracted !== true) state = fold.step(state, input, emit)
  return state
}

/** Passing that tells nothing leaves no trace: an input that comes a little behind the time then is no correction. */
const passIfTold = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  state: State,
  until: Instant | undefined,
  emit: Emit<Output>
): State | undefined => {
  if (until === undefined) return undefined
  let told = false
  const passed = fold.pass(state, until, (id, output) => {
    told = true
    emit(id, output)
  })
  return told ? passed : undefined
}

interface Tip<State> {
  readonly tip: State
  readonly passed?: Instant
}

/** The tip computed from the base, and all that is told on the way, by its last value. */
const refoldTold = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  { base, recent }: { readonly base: State; readonly recent: Iterable<Input> },
  until: Instant | undefined
): Tip<State> & { readonly told: Map<string, Output> } => {
  const told = new Map<string, Output>()
  const emit = (id: string, output: Output) => void told.set(id, output)
  fold.open?.(base, emit)
  const tip = stepAll(fold, base, recent, emit)
  const passed = passIfTold(fold, tip, until, emit)
  return { told, ...(passed === undefined ? { tip } : { tip: passed, passed: until! }) }
}

/** The same state with its tip computed again from its base: it is the same tip. */
export const refold = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  state: FoldState<State, Input>
): FoldState<State, Input> => {
  const { base, baseTime, recent } = state
  const { told: _, ...tip } = refoldTold(fold, state, state.passed)
  return { base, baseTime, recent, ...tip }
}

const later = (left: Instant | undefined, right: Instant | undefined): Instant | undefined =>
  left === undefined ? right : right === undefined ? left : Math.max(left, right)

/**
 * Takes what is older than the horizon into the base. Where the time has gone on without inputs the base goes no further
 * than its newest input unless something was told meanwhile, so that what a device sends after an outage still counts.
 */
const moveBase = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  state: FoldState<State, Input>,
  { baseLimit, horizonMicros, until }: AdvanceOptions,
  emit: Emit<Output>
): FoldState<State, Input> => {
  const { recent } = state
  const newest = later(recent.newest, until)
  if (newest === undefined) return state
  const time = Math.min(newest - horizonMicros, baseLimit)
  if (time <= state.baseTime) return state
  const { rest, taken } = recent.splitAfter(time)
  const last = taken.at(-1)
  const stepped = stepAll(fold, state.base, taken, emit)
  const passed = passIfTold(fold, stepped, time, emit)
  if (last === undefined && passed === undefined) return state
  const baseTime = passed !== undefined ? time : last!.ts
  const { passed: tipPassed, tip } = state
  return {
    base: passed ?? stepped,
    baseTime,
    recent: last === undefined ? recent : rest,
    tip,
    ...(tipPassed !== undefined && tipPassed > baseTime && { passed: tipPassed })
  }
}

/** Adds a batch in any order, which may be empty: time then passes to `until`, and what has come of age settles. */
export const advance = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  state: FoldState<State, Input>,
  batch: ReadonlyArray<Input>,
  options: AdvanceOptions
): Advanced<State, Input, Output> => {
  const sorted = inOrder(batch)
  const place = placeAfter(sorted, state.baseTime)
  const late = place === 0 ? [] : sorted.slice(0, place)
  const fresh = place === 0 ? sorted : sorted.slice(place)
  const { changed, retracted, state: added, trail } = add(fold, state, fresh, options.until)
  const settled = new Telling<Output>()
  const moved = moveBase(fold, added, options, settled.emit)
  trail.drop(added.recent.length - moved.recent.length)
  const { recent } = moved
  trail.trim(recent.placeNear((recent.last?.ts ?? BEFORE_ALL) - USUALLY_LATE_MICROS), recent.length)
  leaveTrail(moved, trail)
  return { state: moved, changed, retracted, settled: settled.told, late }
}

const add = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  state: FoldState<State, Input>,
  inputs: ReadonlyArray<Input>,
  until: Instant | undefined
) => {
  const { last } = state.recent
  const first = inputs[0]
  const isNewest =
    first === undefined ||
    ((last === undefined || compareInputs(last, first) < 0) && first.ts >= (state.passed ?? BEFORE_ALL))
  if (isNewest) return append(fold, state, inputs, until)
  const start = state.recent.placeNear(first.ts)
  const present = state.recent.slice(start)
  const merged = merge(present, inputs)
  const changed = changedFrom(merged, present)
  if (changed === undefined) return append(fold, state, [], until)
  const { base, baseTime, passed } = state
  const trail = takeTrail(fold, state)
  const back = trail.goBack(start + changed, base)
  const before =
    back.told === undefined
      ? refoldTold(fold, { base: back.state, recent: state.recent.slice(back.index) }, passed).told
      : toldFrom(fold, back.state, back.told)
  const told = toldFrom(fold, back.state, [])
  const emit = (id: string, output: Output) => void told.set(id, output)
  const recent = state.recent.replaceFrom(start, merged)
  const way = {
    index: back.index,
    inputs: back.index < start ? recent.slice(back.index) : merged.slice(back.index - start)
  }
  const tip = walk(fold, back.state, way, later(passed, until), trail, emit)
  return { state: { base, baseTime, recent, ...tip }, trail, ...compareTold(before, told) }
}

/**
 * The first place of the instant at which they differ: what is told under one id may come of all inputs of an instant.
 * Undefined: they are the same.
 */
const changedFrom = <Input extends FoldInput>(
  after: ReadonlyArray<Input>,
  before: ReadonlyArray<Input>
): number | undefined => {
  let place = 0
  while (place < before.length && after[place] === before[place]) place++
  return place === after.length ? undefined : placeAt(after, after[place]!.ts)
}

/** What is said from a state on: what is open there, and what was told since. */
const toldFrom = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  state: State,
  told: ReadonlyArray<{ readonly id: string; readonly output: Output }>
): Map<string, Output> => {
  const said = new Map<string, Output>()
  fold.open?.(state, (id, output) => void said.set(id, output))
  for (const { id, output } of told) said.set(id, output)
  return said
}

/**
 * From a state over what follows it, of which the first is the recent input at `index`, and the time until `until` if something
 * comes of it.
 */
const walk = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  from: State,
  { index: start, inputs, isPassed }: { inputs: ReadonlyArray<Input>; index: number; isPassed?: boolean },
  until: Instant | undefined,
  trail: Trail<State, Output>,
  emit: Emit<Output>
): Tip<State> => {
  let state = from
  let index = start
  let unmarkable = isPassed === true
  let isAfterwards = false
  const tell = (id: string, output: Output) => {
    trail.tell(index, id, output, isAfterwards)
    emit(id, output)
  }
  for (const input of inputs) {
    if (!unmarkable) trail.mark(index, state)
    index++
    if (input.retracted === true) continue
    state = fold.step(state, input, tell)
    unmarkable = false
  }
  isAfterwards = true
  const passed = passIfTold(fold, state, until, tell)
  return passed === undefined ? { tip: state } : { tip: passed, passed: until! }
}

const append = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  state: FoldState<State, Input>,
  inputs: ReadonlyArray<Input>,
  until: Instant | undefined
) => {
  const changed = new Telling<Output>()
  const { base, baseTime, passed } = state
  const trail = takeTrail(fold, state)
  const way = { inputs, index: state.recent.length, isPassed: passed !== undefined }
  const tip = walk(fold, state.tip, way, until, trail, changed.emit)
  const isStepped = inputs.some(({ retracted }) => retracted !== true)
  const kept = tip.passed === undefined && !isStepped && passed !== undefined ? { passed } : {}
  const recent = state.recent.append(inputs)
  return {
    state: { base, baseTime, recent, ...tip, ...kept },
    trail,
    changed: changed.told,
    retracted: nothingRetracted
  }
}

/** The state with another base, as a rebuild gives it, and what changes by that. Inputs up to its time are in it. */
export const rebase = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  state: FoldState<State, Input>,
  base: State,
  baseTime: Instant
): Pick<Advanced<State, Input, Output>, "changed" | "retracted" | "state"> => {
  const before = refoldTold(fold, state, state.passed)
  const recent = state.recent.splitAfter(baseTime).rest
  const { told, ...tip } = refoldTold(fold, { base, recent }, state.passed)
  return { state: { base, baseTime, recent, ...tip }, ...compareTold(before.told, told) }
}

/** A fold under way on sorted inputs, which are pushed in parts; it remembers one input. */
export interface Folding<State, Input> {
  /** Sorted, after all that was pushed before; of inputs with the same id the highest revision counts. */
  readonly push: (inputs: Iterable<Input>) => void
  /** The time passes to `until`, where it is given, and the state as of then. */
  readonly end: (until?: Instant) => State
}

/** @param emit is told all, as it happens */
export const folding = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  emit: Emit<Output> = silent,
  from: State = fold.initial
): Folding<State, Input> => {
  let state = from
  let held: Input | undefined
  const release = () => {
    if (held !== undefined && held.retracted !== true) state = fold.step(state, held, emit)
    held = undefined
  }
  return {
    push: (inputs) => {
      for (const input of inputs) {
        if (held !== undefined && compareInputs(held, input) === 0) {
          if (revisionOf(input) > revisionOf(held)) held = input
          continue
        }
        release()
        held = input
      }
    },
    end: (until) => {
      release()
      if (until !== undefined) state = fold.pass(state, until, emit)
      return state
    }
  }
}

/** What sorted inputs come to: each id with what was told of it last, and the state. */
export const foldAll = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  inputs: Iterable<Input>,
  until?: Instant,
  from: State = fold.initial
): { readonly state: State; readonly told: ReadonlyMap<string, Output> } => {
  const told = new Map<string, Output>()
  const run = folding(fold, (id: string, output: Output) => void told.set(id, output), from)
  run.push(inputs)
  return { state: run.end(until), told }
}

/** What a state says that may still change: what was open at its base, and all since. */
export const toldBy = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  state: FoldState<State, Input>
): ReadonlyMap<string, Output> => refoldTold(fold, state, state.passed).told

/** Of what {@link toldBy} answers at least what comes of inputs from this time on; of what it costs only that. */
export const toldSince = <State, Input extends FoldInput, Output>(
  fold: Fold<State, Input, Output>,
  state: FoldState<State, Input>,
  since: Instant
): ReadonlyMap<string, Output> => {
  const { passed, recent } = state
  const mark = trailOf<State, Input, Output>(state)?.before(recent.placeNear(since))
  return mark === undefined
    ? toldBy(fold, state)
    : refoldTold(fold, { base: mark.state, recent: recent.slice(mark.index) }, passed).told
}
