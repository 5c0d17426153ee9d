/**
 * Consumer groups: the offsets they have committed, kept as notes in the log, and which member has which partition.
 * Commits are written a moment later, together; losing one repeats records, never skips any.
 * @module
 */
import type { Partition } from "./Log.ts"
import type { Transaction } from "./LogWriter.ts"

const NOTE = "group/"

/** One subscription of this process, as its group sees it. */
export interface Member {
  readonly topics: ReadonlySet<string>
  /** The group's members or a sought position have changed. */
  readonly wake: () => void
  /** Go on from here, whatever is being handled. */
  readonly seek: (slot: number, offset: number) => void
}

export class ConsumerGroup {
  readonly name: string
  /** Next offset to handle, by slot. A group is live from its first subscription until it is removed. */
  readonly offsets: Map<number, number>
  /** Grows with every change of members. */
  generation = 0
  dirty = false
  readonly #members: Array<Member> = []
  readonly #owners = new Map<number, Member>()

  constructor(name: string, offsets: Map<number, number>) {
    this.name = name
    this.offsets = offsets
  }

  commit(slot: number, offset: number): void {
    if (this.offsets.get(slot) === offset) return
    this.offsets.set(slot, offset)
    this.dirty = true
  }

  /** Moves the group and whoever is reading the partition. */
  seek(slot: number, offset: number): void {
    this.commit(slot, offset)
    this.#owners.get(slot)?.seek(slot, offset)
  }

  join(member: Member): void {
    this.#members.push(member)
    this.#changed()
  }

  leave(member: Member): void {
    this.#members.splice(this.#members.indexOf(member), 1)
    for (const [slot, owner] of this.#owners) if (owner === member) this.#owners.delete(slot)
    this.#changed()
  }

  /** The slots the member should have: partitions are dealt out in turn to the members that subscribe to their topic. */
  share(member: Member, partitionsOf: (topic: string) => ReadonlyArray<Partition>): ReadonlySet<number> {
    const slots = new Set<number>()
    for (const topic of member.topics) {
      const takers = this.#members.filter((other) => other.topics.has(topic))
      const mine = takers.indexOf(member)
      for (const { partition, slot } of partitionsOf(topic)) if (partition % takers.length === mine) slots.add(slot)
    }
    return slots
  }

  /** False while another member still has it; the member is woken when that changes. */
  acquire(slot: number, member: Member): boolean {
    if (this.#owners.has(slot)) return false
    this.#owners.set(slot, member)
    return true
  }

  release(slot: number): void {
    this.#owners.delete(slot)
    this.#changed()
  }

  #changed(): void {
    this.generation++
    for (const member of this.#members) member.wake()
  }
}

export class ConsumerGroups {
  readonly #groups = new Map<string, ConsumerGroup>()
  readonly #removed: Array<string> = []

  /** `forgotten`: groups that no longer exist and must not hold back retention. */
  constructor(notes: ReadonlyMap<string, string>, forgotten: ReadonlyArray<string>) {
    for (const [name, text] of notes) {
      if (!name.startsWith(NOTE)) continue
      const group = name.slice(NOTE.length)
      if (forgotten.includes(group)) this.#removed.push(group)
      else this.#groups.set(group, new ConsumerGroup(group, new Map(JSON.parse(text) as Array<[number, number]>)))
    }
  }

  get(name: string): ConsumerGroup | undefined {
    return this.#groups.get(name)
  }

  getOrAdd(name: string): ConsumerGroup {
    let group = this.#groups.get(name)
    if (group === undefined) this.#groups.set(name, (group = new ConsumerGroup(name, new Map())))
    return group
  }

  get dirty(): boolean {
    return this.#removed.length > 0 || this.#groups.values().some((group) => group.dirty)
  }

  /** The lowest offset that any live group of the partition has yet to handle, and whose it is. */
  lowest(slot: number): { readonly offset: number; readonly group: string } | undefined {
    let lowest: { offset: number; group: string } | undefined
    for (const { name, offsets } of this.#groups.values()) {
      const offset = offsets.get(slot)
      if (offset !== undefined && (lowest === undefined || offset < lowest.offset)) lowest = { offset, group: name }
    }
    return lowest
  }

  /** Adds to a transaction what has changed. When the transaction fails, `changed` has to be called with the result. */
  write({ writes }: Transaction): ReadonlyArray<ConsumerGroup> {
    for (const name of this.#removed) writes.note(NOTE + name, undefined)
    const changed = [...this.#groups.values()].filter((group) => group.dirty)
    for (const group of changed) {
      writes.note(NOTE + group.name, JSON.stringify([...group.offsets]))
      group.dirty = false
    }
    return changed
  }

  /** What {@link ConsumerGroups.write} returned has been written, or has to be written again. */
  written(changed: ReadonlyArray<ConsumerGroup>, durable: boolean): void {
    if (durable) this.#removed.length = 0
    else for (const group of changed) group.dirty = true
  }
}
