/**
 * One process at a time: a file in the log's directory that names its owner.
 * @module
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"

interface Owner {
  readonly pid: number
  /** Tells a process from a later one with the same id; absent where the system does not say. */
  readonly startedAt: string | undefined
}

const held = new Set<string>()

/** When a process started, in the system's own ticks. Linux only. */
const startOf = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
  } catch {
    return undefined
  }
}

const isAlive = ({ pid, startedAt }: Owner): boolean => {
  if (pid === process.pid) return false // a container's earlier run; this process would be in `held`
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH"
  }
  return startedAt === undefined || startOf(pid) === startedAt
}

const readOwner = (file: string): Owner | undefined => {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Owner
  } catch {
    return undefined
  }
}

/** Takes the lock and returns what gives it back. Throws an Error that names the process which has it. */
export const lockDirectory = (directory: string): (() => void) => {
  const file = join(resolve(directory), "lock")
  const taken = (pid: number): Error =>
    new Error(
      `process ${pid} has the log in ${directory} open (${file}): only one process can. ` +
        "Stop it, or give this one another ARGUSIQ_DATA_DIR"
    )
  if (held.has(file)) throw taken(process.pid)
  mkdirSync(directory, { recursive: true })
  const mine = `${file}.${process.pid}`
  writeFileSync(mine, JSON.stringify({ pid: process.pid, startedAt: startOf(process.pid) } satisfies Owner))
  try {
    // A link appears with its contents or not at all.
    for (let attempt = 0; ; attempt++) {
      try {
        linkSync(mine, file)
        break
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST" || attempt > 10) throw error
      }
      const owner = readOwner(file)
      if (owner !== undefined && isAlive(owner)) throw taken(owner.pid)
      removeStale(file, owner)
    }
  } finally {
    rmSync(mine, { force: true })
  }
  held.add(file)
  return () => {
    held.delete(file)
    rmSync(file, { force: true })
  }
}

/** Moves the file away first: what another process has put there in the meantime is put back. */
const removeStale = (file: string, stale: Owner | undefined): void => {
  const aside = `${file}.stale.${process.pid}`
  try {
    renameSync(file, aside)
  } catch {
    return
  }
  const moved = readOwner(aside)
  if (moved?.pid !== stale?.pid || moved?.startedAt !== stale?.startedAt) linkSync(aside, file)
  rmSync(aside, { force: true })
}
