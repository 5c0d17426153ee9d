/**
 * Watches the free space of the disk that holds the log.
 * @module
 */
import { Config, Schema } from "effect"
import { statfsSync } from "node:fs"
import { statfs } from "node:fs/promises"

/** 2 GiB. */
export const MIN_FREE_BYTES = 2_147_483_648

/** `ARGUSIQ_BUS_MIN_FREE_BYTES`: free disk space below which the log accepts nothing; 0: until the disk refuses. */
export const minFreeBytes = Config.schema(
  Schema.FiniteFromString.check(Schema.isGreaterThanOrEqualTo(0)),
  "ARGUSIQ_BUS_MIN_FREE_BYTES"
).pipe(Config.withDefault(MIN_FREE_BYTES))

const CHECK_MILLIS = 1_000

const gibibytes = (bytes: number): string => `${(bytes / 1_073_741_824).toFixed(2)} GiB`

export class DiskSpace {
  readonly #directory: string
  readonly #minFreeBytes: number
  readonly #timer: NodeJS.Timeout
  #freeBytes: number

  constructor(directory: string, minFreeBytes: number) {
    this.#directory = directory
    this.#minFreeBytes = minFreeBytes
    const { bavail, bsize } = statfsSync(directory)
    this.#freeBytes = bavail * bsize
    this.#timer = setInterval(() => void this.#check(), CHECK_MILLIS)
    this.#timer.unref()
  }

  /** Why nothing may be appended, as of a second ago. */
  readonly refusal = (): string | undefined =>
    this.#freeBytes >= this.#minFreeBytes
      ? undefined
      : `only ${gibibytes(this.#freeBytes)} are free on the disk of ${this.#directory}, ` +
        `the log accepts nothing below ${gibibytes(this.#minFreeBytes)}: free some space, it then goes on by itself`

  close(): void {
    clearInterval(this.#timer)
  }

  async #check(): Promise<void> {
    try {
      const { bavail, bsize } = await statfs(this.#directory)
      this.#freeBytes = bavail * bsize
    } catch {
      this.#freeBytes = 0
    }
  }
}
