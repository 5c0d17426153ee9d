/**
 * A store with the two states a disk has: what readers see and what survives loss of power. It can lose power, or fail, at
 * any step of a commit.
 * @module
 */
import type { LogStorage } from "@argusiq/layers/bus/local/LogStorage.ts"

interface State {
  readonly records: Map<string, Uint8Array> // by slot/offset
  readonly notes: Map<string, string>
}

const copy = ({ records, notes }: State): State => ({ records: new Map(records), notes: new Map(notes) })

/** What survived. */
export class Disk {
  state: State = { records: new Map(), notes: new Map() }
}

export interface ModelOptions {
  readonly disk: Disk
  /** Called after each step of a commit, while nothing else runs: put, commit, flush, resolve. */
  readonly onStep?: (step: string) => void
  /** At which step the power goes. */
  readonly crashAt?: number
  /** At which step the commit fails instead; when it was flushed by then, it is on the disk until the next. */
  readonly failAt?: number
  /** Before the flush: a store that calls committed what only readers can see. */
  readonly resolves?: "after the flush" | "before the flush"
}

export class ModelStorage implements LogStorage {
  crashed = false
  steps = 0
  readonly #options: ModelOptions
  #visible: State

  constructor(options: ModelOptions) {
    this.#options = options
    this.#visible = copy(options.disk.state)
  }

  async commit(write: Parameters<LogStorage["commit"]>[0]): Promise<void> {
    if (this.crashed) throw new Error("no power")
    const changed = copy(this.#visible)
    write({
      put: (slot, offset, bytes) => {
        changed.records.set(`${slot}/${offset}`, Uint8Array.from(bytes))
        this.#step("put")
      },
      remove: (slot, from, to) => {
        for (let offset = from; offset < to; offset++) changed.records.delete(`${slot}/${offset}`)
        this.#step("remove")
      },
      note: (name, text) => {
        if (text === undefined) changed.notes.delete(name)
        else changed.notes.set(name, text)
        this.#step("note")
      }
    })
    const before = this.#visible
    try {
      await this.#reach("put")
      this.#visible = changed
      await this.#reach("commit")
      if (this.#options.resolves === "before the flush") void this.#flush(changed).catch(() => {})
      else {
        await this.#flush(changed)
        await this.#reach("resolve")
      }
    } catch (error) {
      this.#visible = before
      throw error
    }
  }

  async #flush(changed: State): Promise<void> {
    await new Promise(setImmediate)
    await this.#reach("flush")
    this.#options.disk.state = copy(changed)
    await this.#reach("flushed")
  }

  notes(): ReadonlyMap<string, string> {
    return this.#visible.notes
  }

  scan(slot: number, from: number, to: number, visit: (offset: number, bytes: Uint8Array) => boolean): void {
    for (let offset = from; offset < to; offset++) {
      const bytes = this.#visible.records.get(`${slot}/${offset}`)
      if (bytes !== undefined && !visit(offset, Uint8Array.from(bytes))) return
    }
  }

  async close(): Promise<void> {}

  /** A step that cannot stop half-way: power may go, which shows at the next that can. */
  #step(name: string): void {
    if (this.crashed) return
    this.steps++
    this.#options.onStep?.(name)
    if (this.steps === this.#options.crashAt) this.crashed = true
  }

  async #reach(name: string): Promise<void> {
    this.#step(name)
    await Promise.resolve()
    if (this.crashed) throw new Error("no power")
    if (this.steps === this.#options.failAt) throw new Error("the disk failed")
  }
}
