/**
 * A thread of the sandbox's child that waits for the end of a pipe that nobody writes to: the parent is gone then, however it ended,
 * and the process is killed whatever it is doing.
 * @module
 */
import { readSync } from "node:fs"

export const PARENT_PIPE = 3

try {
  readSync(PARENT_PIPE, new Uint8Array(1))
} finally {
  process.kill(process.pid, "SIGKILL")
}
