/**
 * How long a process has used a processor, in milliseconds: what an evaluation may take does not depend on what else the machine does.
 * @module
 */
import { readFileSync } from "node:fs"

/** Of its main thread, from Linux's scheduler; undefined elsewhere, and for a process that is gone. */
export const processorTime = (pid: number): number | undefined => {
  try {
    const nanos = Number(readFileSync(`/proc/${pid}/schedstat`, "latin1").split(" ", 1)[0])
    return Number.isFinite(nanos) && nanos > 0 ? nanos / 1e6 : undefined
  } catch {
    return undefined
  }
}
