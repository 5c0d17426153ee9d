/**
 * The pipeline to assets and alarms as a process of its own, and what its end was.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import { fileURLToPath } from "node:url"
import { endOf } from "./endOf.ts"

export interface AssetPipeline {
  readonly directory: string
  /** Of the database, as the pipeline's role. */
  readonly url: string
  /** Between two times at which states are saved. */
  readonly saveMillis: number
  /** Where it is killed, the n-th time that it comes there. */
  readonly place?: string
  readonly times?: number
  readonly killAfterMillis?: number
  /**
   * What is received later is not sent yet: time does not pass beyond it, as it would for a process that has nothing more to read,
   * and it ends once it has come so far.
   */
  readonly sentUntil?: Instant
  readonly withinMillis?: number
  /** In a batch. */
  readonly maxRecords?: number
  /** Of rules; a control. */
  readonly horizonMicros?: number
  /** Timers go by the wall clock; a control. */
  readonly wallClock?: boolean
}

const program = fileURLToPath(new URL("assetPipeline.ts", import.meta.url))

/** `SIGKILL`, or the exit code in words: `exit code 0` when all is settled, 3 when it did not come to an end in time. */
export const assetProcess = (pipeline: AssetPipeline) => endOf(program, [JSON.stringify(pipeline)])
