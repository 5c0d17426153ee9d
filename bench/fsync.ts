import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs"
import { join } from "node:path"
import { percentiles } from "./percentiles.ts"

/** What one write and fdatasync costs in the directory, in milliseconds: no durable acknowledgement can be faster. */
export const fsyncMillis = (directory: string) => {
  const file = join(directory, "fsync-probe")
  const descriptor = openSync(file, "w")
  const block = Buffer.alloc(4096)
  const waits = Array.from({ length: 500 }, (_, index) => {
    const before = performance.now()
    writeSync(descriptor, block, 0, block.length, index * block.length)
    fdatasyncSync(descriptor)
    return performance.now() - before
  })
  closeSync(descriptor)
  rmSync(file)
  return percentiles(waits)
}
