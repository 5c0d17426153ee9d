/**
 * What an earlier run left in a cluster's `postmaster.pid`, told apart by the process itself: its command, its data
 * directory and its parent. Only a PostgreSQL on this very cluster counts as ours.
 * @module
 */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"

export type Leftover =
  /** No file, or one whose process is gone: PostgreSQL deals with it. */
  | { readonly _tag: "None" }
  /** The pid belongs to another program by now; PostgreSQL would take it for a running server and refuse to start. */
  | { readonly _tag: "Foreign"; readonly pid: number }
  /** A PostgreSQL on this cluster is running. */
  | { readonly _tag: "Running"; readonly pid: number; readonly parent: number }

export const inspectLeftover = (cluster: string): Leftover => {
  const pid = postmasterPid(cluster)
  if (pid === undefined || !isAlive(pid)) return { _tag: "None" }
  return servesCluster(pid, cluster) ? { _tag: "Running", pid, parent: parentOf(pid) } : { _tag: "Foreign", pid }
}

/** The first line of `postmaster.pid`; a standalone backend writes its pid negated, which counts as none here. */
export const postmasterPid = (cluster: string): number | undefined => {
  try {
    const pid = Number.parseInt(Fs.readFileSync(Path.join(cluster, "postmaster.pid"), "utf8"), 10)
    return pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** Whether the process is a PostgreSQL server that was started on this cluster. */
export const servesCluster = (pid: number, cluster: string): boolean => {
  const command = commandOf(pid)
  const directory = command.indexOf("-D")
  if (directory < 0 || !/^postgres(\.exe)?$/.test(Path.basename(command[0] ?? ""))) return false
  const named = command[directory + 1] ?? ""
  return named === cluster || realPath(named) === realPath(cluster)
}

const realPath = (path: string): string => {
  try {
    return Fs.realpathSync(path)
  } catch {
    return path
  }
}

const commandOf = (pid: number): ReadonlyArray<string> => {
  try {
    return Fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")
  } catch {
    // No /proc: `ps` separates arguments by spaces only, so a directory is read up to the next option.
    const line = spawnSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8" }).stdout ?? ""
    const match = /^(\S+) -D (.*?)(?: -[a-z] .*)?$/.exec(line.trim())
    return match === null ? [line] : [match[1] ?? "", "-D", match[2] ?? ""]
  }
}

const parentOf = (pid: number): number => {
  try {
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    return Number(Fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(")").at(-1)?.trim().split(" ")[1])
  } catch {
    return Number(spawnSync("ps", ["-o", "ppid=", "-p", String(pid)], { encoding: "utf8" }).stdout)
  }
}
