/**
 * How often somebody may try to sign in. Counted are attempts that fail, per account, per address, and per both together,
 * in windows of 15 minutes; an attempt under way counts, so that many at once are no way around.
 * @module
 */

const windowMillis = 15 * 60_000
const budgets = { both: 10, address: 100, account: 100 } as const
const mostCounters = 50_000

interface Counter {
  count: number
  readonly endsAt: number
}

export class LoginAttempts {
  readonly #counters = new Map<string, Counter>()

  /** Begins an attempt. Undefined: go on, and call `withdraw` unless the attempt was refused; else the seconds to wait. */
  begin(account: string, address: string, nowMillis: number): number | undefined {
    const counters = this.#of(account, address).map(([key, budget]) => ({
      key,
      budget,
      counter: this.#at(key, nowMillis)
    }))
    const exceeded = counters.filter(({ budget, counter }) => counter.count >= budget)
    if (exceeded.length > 0) {
      return Math.ceil((Math.max(...exceeded.map(({ counter }) => counter.endsAt)) - nowMillis) / 1_000)
    }
    for (const { key, counter } of counters) {
      counter.count++
      this.#counters.set(key, counter)
    }
    if (this.#counters.size > mostCounters) this.#forget(nowMillis)
    return undefined
  }

  withdraw(account: string, address: string): void {
    for (const [key] of this.#of(account, address)) {
      const counter = this.#counters.get(key)
      if (counter !== undefined && --counter.count <= 0) this.#counters.delete(key)
    }
  }

  #of(account: string, address: string): ReadonlyArray<readonly [key: string, budget: number]> {
    const name = account.toLowerCase()
    return [
      [`both ${address} ${name}`, budgets.both],
      [`address ${address}`, budgets.address],
      [`account ${name}`, budgets.account]
    ]
  }

  #at(key: string, nowMillis: number): Counter {
    const counter = this.#counters.get(key)
    return counter === undefined || counter.endsAt <= nowMillis
      ? { count: 0, endsAt: nowMillis + windowMillis }
      : counter
  }

  /** Ended windows first; then the oldest, for memory is bounded whatever is tried. */
  #forget(nowMillis: number): void {
    for (const [key, counter] of this.#counters) if (counter.endsAt <= nowMillis) this.#counters.delete(key)
    for (const key of this.#counters.keys()) {
      if (this.#counters.size <= mostCounters / 2) break
      this.#counters.delete(key)
    }
  }
}
