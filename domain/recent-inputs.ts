/**
 * The inputs that a fold remembers, sorted. All but the newest are packed: they are there for what comes late, which hardly any
 * does, and for as long as they are objects of their own the garbage collector looks at each of them again and again.
 * @module
 */
import { type Columns, fromColumns, toColumns } from "./columns.ts"
import type { FoldInput } from "./fold.ts"
import type { Instant } from "./ids.ts"

/** Inputs in a pack. */
const PACK = 16

/** Some inputs in their order, as the JSON of {@link Columns}. */
interface Pack {
  readonly text: string
  readonly count: number
  readonly firstTs: Instant
  readonly lastTs: Instant
  /** Of the newest that is not retracted. */
  readonly newest: Instant | undefined
}

/** The first place whose item is not before what is looked for. */
export const placeOf = <A>(items: ReadonlyArray<A>, isBefore: (item: A) => boolean): number => {
  let low = 0
  let high = items.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBefore(items[middle]!)) low = middle + 1
    else high = middle
  }
  return low
}

const newestOf = (inputs: ReadonlyArray<FoldInput>): Instant | undefined =>
  inputs.findLast(({ retracted }) => retracted !== true)?.ts

const packOf = (inputs: ReadonlyArray<FoldInput>): Pack => ({
  text: JSON.stringify(toColumns(inputs)),
  count: inputs.length,
  firstTs: inputs[0]!.ts,
  lastTs: inputs.at(-1)!.ts,
  newest: newestOf(inputs)
})

const open = <Input>({ text }: Pack): ReadonlyArray<Input> => fromColumns(JSON.parse(text)) as ReadonlyArray<Input>

/** What {@link RecentInputs.json} writes: in this order they are all of the inputs. */
export interface WrittenInputs<Input> {
  readonly head: ReadonlyArray<Input>
  readonly packs: ReadonlyArray<Columns>
  readonly tail: ReadonlyArray<Input>
}

/** Immutable. The inputs are plain JSON. */
export class RecentInputs<Input extends FoldInput> implements Iterable<Input> {
  /** In the order of their inputs: the rest of a pack that was opened, packs, and the newest. */
  readonly #head: ReadonlyArray<Input>
  readonly #packs: ReadonlyArray<Pack>
  readonly #tail: ReadonlyArray<Input>
  readonly length: number

  private constructor(
    head: ReadonlyArray<Input>,
    packs: ReadonlyArray<Pack>,
    tail: ReadonlyArray<Input>,
    length: number
  ) {
    this.#head = head
    this.#packs = packs
    this.#tail = tail
    this.length = length
  }

  /** Sorted, each once. */
  static of<Input extends FoldInput>(inputs: ReadonlyArray<Input>): RecentInputs<Input> {
    return new RecentInputs([], [], inputs, inputs.length).#packed()
  }

  /** Of what {@link RecentInputs.json} wrote, parsed. */
  static read<Input extends FoldInput>({ head, packs, tail }: WrittenInputs<Input>): ReadonlyArray<Input> {
    return [...head, ...packs.flatMap((columns) => fromColumns(columns) as ReadonlyArray<Input>), ...tail]
  }

  get last(): Input | undefined {
    const pack = this.#packs.at(-1)
    return this.#tail.at(-1) ?? (pack === undefined ? this.#head.at(-1) : open<Input>(pack).at(-1))
  }

  /** Of the newest that is not retracted. */
  get newest(): Instant | undefined {
    return (
      newestOf(this.#tail) ?? this.#packs.findLast(({ newest }) => newest !== undefined)?.newest ?? newestOf(this.#head)
    )
  }

  *[Symbol.iterator](): Iterator<Input> {
    yield* this.#head
    for (const pack of this.#packs) yield* open<Input>(pack)
    yield* this.#tail
  }

  /** From a place on. */
  slice(from: number): ReadonlyArray<Input> {
    let place = from - this.#head.length
    const tailFrom = place - (this.length - this.#head.length - this.#tail.length)
    if (tailFrom >= 0) return this.#tail.slice(tailFrom)
    const inputs: Array<Input> = place < 0 ? this.#head.slice(from) : []
    for (const pack of this.#packs) {
      if (place < pack.count) inputs.push(...(place <= 0 ? open<Input>(pack) : open<Input>(pack).slice(place)))
      place -= pack.count
    }
    return inputs.concat(this.#tail)
  }

  /** A place from which on all inputs of this time and later lie, and few before it. */
  placeNear(time: Instant): number {
    const isBefore = ({ ts }: FoldInput) => ts < time
    const packed = this.length - this.#tail.length
    if (this.#tail.length > 0 && this.#tail[0]!.ts < time) return packed + placeOf(this.#tail, isBefore)
    const [first] = this.#packs
    if (first === undefined || first.firstTs >= time) return placeOf(this.#head, isBefore)
    let place = this.#head.length
    for (const { count, lastTs } of this.#packs) {
      if (lastTs >= time) break
      place += count
    }
    return place
  }

  /** The first after this time. */
  firstAfter(time: Instant): Input | undefined {
    const place = this.placeNear(time)
    return place === this.length ? undefined : this.slice(place).find(({ ts }) => ts > time)
  }

  /** With more, which come after all that are there. */
  append(inputs: ReadonlyArray<Input>): RecentInputs<Input> {
    if (inputs.length === 0) return this
    return new RecentInputs(this.#head, this.#packs, this.#tail.concat(inputs), this.length + inputs.length).#packed()
  }

  /** With others from a place on, which {@link RecentInputs.placeNear} has answered. */
  replaceFrom(place: number, inputs: ReadonlyArray<Input>): RecentInputs<Input> {
    const length = place + inputs.length
    const head = this.#head.slice(0, place)
    const packs: Array<Pack> = []
    let before = head.length
    for (const pack of this.#packs) {
      if (before + pack.count > place) break
      packs.push(pack)
      before += pack.count
    }
    const tail = before < place ? this.#tail.slice(0, place - before).concat(inputs) : inputs
    return new RecentInputs(head, packs, tail, length).#packed()
  }

  /** Those up to a time, it included, and the others. */
  splitAfter(time: Instant): { readonly taken: ReadonlyArray<Input>; readonly rest: RecentInputs<Input> } {
    const isTaken = ({ ts }: FoldInput) => ts <= time
    const taken = this.#head.slice(0, placeOf(this.#head, isTaken))
    const restOf = (head: ReadonlyArray<Input>, pack: number, tail = this.#tail) => {
      const packs = pack === 0 ? this.#packs : this.#packs.slice(pack)
      return { taken, rest: new RecentInputs(head, packs, tail, this.length - taken.length) }
    }
    if (taken.length < this.#head.length) return restOf(this.#head.slice(taken.length), 0)
    for (const [index, pack] of this.#packs.entries()) {
      if (pack.firstTs > time) return restOf([], index)
      const inputs = open<Input>(pack)
      const place = placeOf(inputs, isTaken)
      taken.push(...inputs.slice(0, place))
      if (place < pack.count) return restOf(inputs.slice(place), index + 1)
    }
    const inTail = placeOf(this.#tail, isTaken)
    taken.push(...this.#tail.slice(0, inTail))
    return restOf([], this.#packs.length, this.#tail.slice(inTail))
  }

  /** The JSON of an object: {@link WrittenInputs} and what is to stand beside it. What is packed is not opened. */
  json(beside: object): string {
    const rest = JSON.stringify({ ...beside, head: this.#head, tail: this.#tail } satisfies Partial<
      WrittenInputs<Input>
    >)
    return `${rest.slice(0, -1)},"packs":[${this.#packs.map(({ text }) => text).join()}]}`
  }

  toJSON(): ReadonlyArray<Input> {
    return [...this]
  }

  /** The same with what the tail has too many of in packs. */
  #packed(): RecentInputs<Input> {
    if (this.#tail.length < 2 * PACK) return this
    const packs = [...this.#packs]
    let from = 0
    for (; this.#tail.length - from >= 2 * PACK; from += PACK) packs.push(packOf(this.#tail.slice(from, from + PACK)))
    return new RecentInputs(this.#head, packs, this.#tail.slice(from), this.length)
  }
}
