/**
 * The log's store on LMDB.
 *
 * Durable means committed here, because the environment is opened with `overlappingSync: false`. Then `mdb_txn_commit` in
 * lmdb-js 3.5 writes the pages, calls `fdatasync`, writes the meta page through a descriptor opened with `O_DSYNC`, and
 * only then publishes the transaction to readers; the write thread sets `TXN_COMMITTED` after that call has returned, and
 * this flag is what resolves the promise of a write. With overlapping sync (its default on Linux) readers see a
 * transaction before its flush, and a failing flush can no longer be undone. The log groups what arrives during one
 * commit into the next, so nothing is gained by overlapping.
 * @module
 */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { open, type RangeOptions, type RootDatabase } from "lmdb"
import { DiskRoom, type DiskRoomOptions } from "./DiskRoom.ts"
import type { LogStorage, LogWrites } from "./LogStorage.ts"
import { RecordBlock, recordsIn, visitRecords } from "./recordBlocks.ts"

/** Slot, and offset of the first record of a block. */
type RecordKey = [number, number]

const RECORD_KEY_BYTES = 12

/** Slot and offset, big-endian, so that LMDB's order is the log's. */
const recordKeys = {
  writeKey: (key: RecordKey, target: Uint8Array, start: number): number => {
    const [slot, offset] = key
    writeUint32(target, start, slot)
    writeUint32(target, start + 4, Math.floor(offset / 0x1_0000_0000))
    writeUint32(target, start + 8, offset >>> 0)
    return start + RECORD_KEY_BYTES
  },
  readKey: (source: Uint8Array, start: number): RecordKey => [
    readUint32(source, start),
    readUint32(source, start + 4) * 0x1_0000_0000 + readUint32(source, start + 8)
  ]
}

const writeUint32 = (target: Uint8Array, at: number, value: number): void => {
  target[at] = value >>> 24
  target[at + 1] = value >>> 16
  target[at + 2] = value >>> 8
  target[at + 3] = value
}

const readUint32 = (source: Uint8Array, at: number): number =>
  (((source[at] as number) << 24) |
    ((source[at + 1] as number) << 16) |
    ((source[at + 2] as number) << 8) |
    (source[at + 3] as number)) >>>
  0

interface Removal {
  readonly slot: number
  readonly from: number
  readonly to: number
}

/** What a transaction is to write, gathered first: LMDB cannot be stopped once it has been told the first of it. */
class GatheredWrites implements LogWrites {
  readonly blocks: Array<RecordBlock> = []
  readonly removals: Array<Removal> = []
  readonly notes: Array<readonly [name: string, text: string | undefined]> = []
  readonly #open = new Map<number, RecordBlock>()
  #bytes = 0
  #entries = 0

  put(slot: number, offset: number, bytes: Uint8Array): void {
    this.#bytes += bytes.length
    this.#entries++
    if (this.#open.get(slot)?.add(offset, bytes) === true) return
    const block = new RecordBlock(slot, offset)
    block.add(offset, bytes)
    this.#open.set(slot, block)
    this.blocks.push(block)
  }

  remove(slot: number, from: number, to: number): void {
    this.#entries += to - from
    this.removals.push({ slot, from, to })
  }

  note(name: string, text: string | undefined): void {
    this.#bytes += text?.length ?? 0
    this.#entries++
    this.notes.push([name, text])
  }

  /** Pages end up half full where what is small comes in turns, and every branch down to them is copied. */
  get mostBytes(): number {
    return 3 * (this.#bytes + ENTRY_BYTES * this.#entries) + COPIED_BYTES
  }
}

/** Key, header and alignment of an entry. */
const ENTRY_BYTES = 64
/** The branches of every partition's newest pages, the notes and the list of free pages. */
const COPIED_BYTES = 4_194_304

/** LMDB reports a write cut short by a full disk as EIO. */
const EIO = 5

/** What made a commit fail, which lmdb-js hands out beside its own message. */
const commitFailure = async (error: unknown): Promise<unknown> => {
  if (!(error instanceof Error && "commitError" in error)) return error
  try {
    await error.commitError
  } catch (cause) {
    return cause instanceof Error && "code" in cause && cause.code === EIO
      ? new Error("the disk is full or fails", { cause })
      : cause
  }
  return error
}

/** Address space reserved for the file, which grows as needed; LMDB maps it anew should it ever get larger. */
const MAP_BYTES = 274_877_906_944

/** How far LMDB has come in its file. */
const usedBytes = (root: RootDatabase): number => {
  const stats = root.getStats() as { readonly lastPageNumber: number; readonly root: { readonly pageSize: number } }
  return (stats.lastPageNumber + 1) * stats.root.pageSize
}

/** Opens or creates the store. Throws when LMDB cannot. The caller sees to it that no other process has it open. */
export const openLmdb = (directory: string, options: Pick<DiskRoomOptions, "plentyBytes"> = {}): LogStorage => {
  mkdirSync(directory, { recursive: true })
  const file = join(directory, "log.mdb")
  const root = open({
    path: file,
    noSubdir: true,
    overlappingSync: false,
    eventTurnBatching: false,
    mapSize: MAP_BYTES,
    maxDbs: 4
  })
  const recordOptions = { name: "records", encoding: "binary" as const, keyEncoder: recordKeys } // untyped in lmdb
  const records = root.openDB<Uint8Array, RecordKey>(recordOptions)
  const notes = root.openDB<string, string>({ name: "notes", encoding: "string" })
  const room = new DiskRoom({ ...options, file, usedBytes: () => usedBytes(root) })
  /** Where to begin to find the record at an offset: it may be in a block that begins before it. */
  const blockAt = (slot: number, offset: number): number => {
    const backwards: RangeOptions = {
      start: [slot, offset],
      end: [slot, 0],
      inclusiveEnd: true,
      reverse: true,
      limit: 1
    }
    for (const [, first] of records.getKeys(backwards)) return first
    return offset
  }
  /** The blocks of which no record is left. */
  const blocksWithin = ({ from, slot, to }: Removal): ReadonlyArray<number> => {
    const start: RecordKey = [slot, blockAt(slot, from)]
    const firsts = Array.from(records.getKeys({ start, end: [slot, to] }), ([, first]) => first)
    const last = firsts.at(-1)
    if (last === undefined) return []
    const value = records.get([slot, last])
    return value !== undefined && last + recordsIn(value) <= to ? firsts : firsts.slice(0, -1)
  }
  return {
    commit: async (write) => {
      const writes = new GatheredWrites()
      write(writes)
      const removed = writes.removals.map((removal) => [removal.slot, blocksWithin(removal)] as const)
      const allocating = room.ensure(writes.mostBytes)
      if (allocating !== undefined) await allocating
      try {
        await root.batch(() => {
          for (const block of writes.blocks) void records.put([block.slot, block.first], block.encode())
          for (const [slot, firsts] of removed) for (const first of firsts) void records.remove([slot, first])
          for (const [name, text] of writes.notes) {
            if (text === undefined) void notes.remove(name)
            else void notes.put(name, text)
          }
        })
      } catch (error) {
        throw await commitFailure(error)
      }
    },
    notes: () => new Map(Array.from(notes.getRange(), ({ key, value }) => [key, value])),
    scan: (slot, from, to, visit) => {
      for (const { key, value } of records.getRange({ start: [slot, blockAt(slot, from)], end: [slot, to] })) {
        if (!visitRecords(value, key[1], from, to, visit)) return
      }
    },
    close: async () => {
      await root.close()
      room.close()
    }
  }
}
