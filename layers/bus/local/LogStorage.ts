/**
 * What the embedded log needs of a store: ordered records and a few notes, written in atomic, flushed transactions.
 * LMDB is one; tests drive the same log over a model of pending and durable writes.
 * @module
 */

/** Valid only during the call of {@link LogStorage.commit} that hands it out. */
export interface LogWrites {
  /** Offsets of a slot come without gaps. `bytes` must stay unchanged until the commit has settled. */
  put(slot: number, offset: number, bytes: Uint8Array): void
  /**
   * The oldest records of a slot, from `from` up to but not including `to`, are not read any more. A store may keep some of them
   * until those after them go as well.
   */
  remove(slot: number, from: number, to: number): void
  /** `undefined` removes the note. */
  note(name: string, text: string | undefined): void
}

/**
 * A slot is one partition of one topic: topic number × 65,536 + partition. Offsets are integers below 2^53.
 * The log reads no record before the commit that wrote it has resolved, so a store may show writes early or late: what is
 * read from it then has to be complete and durable.
 */
export interface LogStorage {
  /**
   * Takes all of the writes or none. Resolves when they are flushed: they survive loss of power. After a rejection readers
   * see none of them; whether they survive a restart is open as long as nothing else has been written. `write` must not
   * throw, and calls must not overlap.
   */
  commit(write: (writes: LogWrites) => void): Promise<void>
  notes(): ReadonlyMap<string, string>
  /** Visits the records of a slot from `from` up to but not including `to`, in order, until `visit` returns false. The bytes
   * belong to the visitor. */
  scan(slot: number, from: number, to: number, visit: (offset: number, bytes: Uint8Array) => boolean): void
  close(): Promise<void>
}
