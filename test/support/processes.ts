/**
 * Facts about processes that a test started, read from /proc.
 * @module
 */
import { readdirSync, readFileSync } from "node:fs"

const CLOCK_TICKS_PER_SECOND = 100

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

/** Processor time of one process in microseconds, its ended children included; 0 when it has gone. */
const cpuMicrosOf = (pid: number): number => {
  const stat = read(`/proc/${pid}/stat`)
  if (stat === undefined) return 0
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field] ?? 0), 0)
  return (ticks * 1_000_000) / CLOCK_TICKS_PER_SECOND
}

const parentOf = (pid: number): number | undefined => {
  const stat = read(`/proc/${pid}/stat`)
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])
}

/** All living descendants of a process. */
export const descendantsOf = (pid: number): ReadonlyArray<number> => {
  const parents = new Map<number, number>()
  for (const entry of readdirSync("/proc")) {
    const child = Number(entry)
    const parent = Number.isInteger(child) ? parentOf(child) : undefined
    if (parent !== undefined) parents.set(child, parent)
  }
  const found = new Set([pid])
  for (let grown = true; grown;) {
    grown = false
    for (const [child, parent] of parents) {
      if (found.has(parent) && !found.has(child)) {
        found.add(child)
        grown = true
      }
    }
  }
  found.delete(pid)
  return [...found]
}

/** Processor time of a process and of all its descendants, microseconds. */
export const cpuMicros = (pid: number, options?: { readonly withDescendants?: boolean }): number =>
  [pid, ...(options?.withDescendants === true ? descendantsOf(pid) : [])].reduce(
    (sum, one) => sum + cpuMicrosOf(one),
    0
  )

/** Anonymous resident memory in bytes: what the process itself holds, without mapped files. */
export const rssAnonBytes = (pid: number): number => {
  const line = /RssAnon:\s+(\d+) kB/.exec(read(`/proc/${pid}/status`) ?? "")
  return line === null ? 0 : Number(line[1]) * 1024
}

export const isAlive = (pid: number): boolean => {
  const stat = read(`/proc/${pid}/stat`)
  return stat !== undefined && stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z"
}

const isStopped = (pid: number): boolean =>
  readdirSync(`/proc/${pid}/task`).every((thread) =>
    // one that has ended stays a zombie while its parent stands still
    /\) [TtZX] /.test(read(`/proc/${pid}/task/${thread}/stat`) ?? ") T ")
  )

/** SIGSTOP; returns when the last thread of the process stands still, so that nothing it does comes later. */
export const freeze = (pid: number): void => {
  process.kill(pid, "SIGSTOP")
  const never = new Int32Array(new SharedArrayBuffer(4))
  const deadline = Date.now() + 10_000
  while (!isStopped(pid)) {
    if (Date.now() > deadline) throw new Error(`process ${pid} does not stop`)
    Atomics.wait(never, 0, 0, 1)
  }
}
