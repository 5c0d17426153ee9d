/**
 * PostgreSQL refuses to run as root. Started by root, the server runs under another account of the machine, and everything
 * it touches must be within that account's reach.
 * @module
 */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"

export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

const candidates = ["postgres", "nobody"]

/**
 * The account that runs the server: undefined means this process's own; "none" means root without a usable account.
 * A cluster that exists decides by its owner.
 */
export const serverAccount = (cluster: string): Account | "none" | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const owner = Fs.statSync(cluster, { throwIfNoEntry: false })
  if (owner !== undefined && owner.uid !== 0) return { name: `uid ${owner.uid}`, uid: owner.uid, gid: owner.gid }
  const lines = Fs.readFileSync("/etc/passwd", "utf8").split("\n")
  for (const name of candidates) {
    const [, , uid, gid] = lines.find((line) => line.startsWith(`${name}:`))?.split(":") ?? []
    if (uid !== undefined && gid !== undefined && uid !== "0") return { name, uid: Number(uid), gid: Number(gid) }
  }
  return "none"
}

/** What `spawn` needs to run a program as the account, in a directory that every account can enter. */
export const asAccount = (account: Account | undefined) => ({
  cwd: "/",
  ...(account === undefined ? {} : { uid: account.uid, gid: account.gid })
})

/** Whether the account can enter the directory, whatever the modes of the directories above it. */
export const canEnter = (account: Account | undefined, directory: string): boolean =>
  account === undefined || spawnSync("/bin/sh", ["-c", 'cd -- "$1"', "sh", directory], asAccount(account)).status === 0

/** Whether the account can run the program. */
export const canRun = (account: Account | undefined, program: string): boolean =>
  spawnSync(program, ["--version"], asAccount(account)).status === 0
