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
import { open, type RootDatabase } from "lmdb"
import { DiskRoom, type DiskRoomOptions } from "./DiskRoom.ts"
import type { LogStorage, LogWrites } from "./LogStorage.ts"

/** Slot and offset. */
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

interface RecordWrite {
  readonly slot: number
  readonly offset: number
  /** Undefined removes the record. */
  readonly bytes: Uint8Array | undefined
}

/** What a transaction is to write, gathered first: LMDB cannot be stopped once it has been told the first of it. */
class GatheredWrites implements LogWrites {
  readonly records: Array<RecordWrite> = []
  readonly notes: Array<readonly [name: string, text: string | undefined]> = []
  #bytes = 0

  put(slot: number, offset: number, bytes: Uint8Array): void {
    this.#bytes += bytes.length
    this.records.push({ slot, offset, bytes })
  }

  remove(slot: number, offset: number): void {
    this.records.push({ slot, offset, bytes: undefined })
  }

  note(name: string, text: string | undefined): void {
    this.#bytes += text?.length ?? 0
    this.notes.push([name, text])
  }

  /** Pages end up half full where records of many partitions come in turns, and every branch down to them is copied. */
  get mostBytes(): number {
    return 3 * (this.#bytes + ENTRY_BYTES * (this.records.length + this.notes.length)) + COPIED_BYTES
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
  const key: RecordKey = [0, 0] // copied into LMDB's instructions before a write returns
  const room = new DiskRoom({ ...options, file, usedBytes: () => usedBytes(root) })
  return {
    commit: async (write) => {
      const writes = new GatheredWrites()
      write(writes)
      const allocating = room.ensure(writes.mostBytes)
      if (allocating !== undefined) await allocating
      try {
        await root.batch(() => {
          for (const { slot, offset, bytes } of writes.records) {
            key[0] = slot
            key[1] = offset
            if (bytes === undefined) void records.remove(key)
            else void records.put(key, bytes)
          }
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
      for (const { key, value } of records.getRange({ start: [slot, from], end: [slot, to] })) {
        if (!visit(key[1], value)) return
      }
    },
    close: async () => {
      await root.close()
      room.close()
    }
  }
}
