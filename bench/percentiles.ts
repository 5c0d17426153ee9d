export interface Percentiles {
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/** By nearest rank; zeros when there is nothing. */
export const percentiles = (values: ReadonlyArray<number>): Percentiles => {
  const sorted = Float64Array.from(values).toSorted()
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

/** Takes any number of values and keeps an even choice of at most `size` of them. */
export class Reservoir {
  readonly values: Array<number> = []
  readonly #size: number
  #seen = 0

  constructor(size: number) {
    this.#size = size
  }

  add(value: number): void {
    this.#seen += 1
    if (this.values.length < this.#size) {
      this.values.push(value)
      return
    }
    const place = Math.floor(Math.random() * this.#seen)
    if (place < this.#size) this.values[place] = value
  }
}
