/**
 * Where PostgreSQL and the platform want the same core, the platform goes first: all that PostgreSQL does waits for one
 * thread of the platform, and PostgreSQL has many processes that would each be given as much as the platform as a whole.
 * @module
 */
import * as Fs from "node:fs"
import { setPriority } from "node:os"

/** As `nice` counts: a tenth of the weight of what has 0. What is left of the cores it gets whole. */
export const NICENESS = 10
const LOOK_EVERY_MILLIS = 1_000

/**
 * Linux may group processes by session and give each group the same, whatever the niceness of its members. PostgreSQL makes
 * a session of each of its processes.
 */
const isGroupedBySession = () => {
  try {
    return Fs.readFileSync("/proc/sys/kernel/sched_autogroup_enabled", "utf8").trim() === "1"
  } catch {
    return false
  }
}

const childrenOf = (pid: number): ReadonlyArray<number> => {
  try {
    return Fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number)
  } catch {
    return [] // it has ended, or the kernel does not tell
  }
}

/** False: this process has ended, or the kernel wants to be asked again later. */
const lowerGroup = (pid: number): boolean => {
  try {
    Fs.writeFileSync(`/proc/${pid}/autogroup`, String(NICENESS))
    return true
  } catch {
    return false
  }
}

/** Of a server and of all processes that it starts, until what is returned is called. */
export const lowerPriority = (server: number): (() => void) => {
  try {
    setPriority(server, NICENESS)
  } catch {
    return () => undefined // it has ended
  }
  if (!isGroupedBySession()) return () => undefined
  let lowered = new Set<number>()
  const look = () => {
    lowered = new Set(childrenOf(server).filter((pid) => lowered.has(pid) || lowerGroup(pid)))
  }
  const timer = setInterval(look, LOOK_EVERY_MILLIS).unref()
  return () => clearInterval(timer)
}
