/**
 * Keeps a file's writer from ever being refused by a full disk: lmdb-js 3.5 writes beyond a buffer of its own when it words
 * the error of a refused write (`sprintf` into `malloc(100)` in mdb_page_flush), which kills the process a little later.
 * So there is room for a transaction before it begins: plenty of free space, or space that the file has already been given.
 * @module
 */
import { closeSync, fstatSync, openSync, statfsSync, write } from "node:fs"
import { promisify } from "node:util"

const writeAt = promisify(write)

/** With so much free no transaction can fill the disk; below, room is allocated first. */
const PLENTY_BYTES = 1_073_741_824
const CHUNK_BYTES = 8_388_608

export interface DiskRoomOptions {
  /** An existing file. */
  readonly file: string
  /** How much of the file its writer uses; what lies behind is free for it. */
  readonly usedBytes: () => number
  /** Free space above which nothing is allocated ahead. Default 1 GiB. */
  readonly plentyBytes?: number
}

export class DiskRoom {
  readonly #options: DiskRoomOptions
  readonly #descriptor: number
  /** Allocated behind what is used, at least. */
  #room = 0

  constructor(options: DiskRoomOptions) {
    this.#options = options
    this.#descriptor = openSync(options.file, "r+")
  }

  /** Sees that the file can grow by `bytes`. Undefined: it can. Rejects with the disk's error when it cannot. Calls must not
   * overlap, nor run while the file is written. */
  ensure(bytes: number): Promise<void> | undefined {
    const { file, plentyBytes = PLENTY_BYTES } = this.#options
    const { bavail, bsize } = statfsSync(file)
    if (bavail * bsize >= plentyBytes + bytes) {
      this.#room = 0 // the file grows without this being asked
      return undefined
    }
    if (this.#room >= bytes) {
      this.#room -= bytes
      return undefined
    }
    return this.#allocate(bytes)
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  /** Zeros, since Node cannot reserve space otherwise; what is allocated when the disk refuses stays allocated. */
  async #allocate(bytes: number): Promise<void> {
    const used = this.#options.usedBytes()
    let end = Math.max(used, fstatSync(this.#descriptor).size)
    while (end - used < bytes) {
      const zeros = Buffer.alloc(CHUNK_BYTES)
      const { bytesWritten } = await writeAt(this.#descriptor, zeros, 0, zeros.length, end)
      end += bytesWritten
    }
    this.#room = end - used - bytes
  }
}
