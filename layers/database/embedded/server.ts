/**
 * One run of the server process on a cluster.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { asAccount } from "./account.ts"
import { type Cluster, serverEnvironment } from "./cluster.ts"
import { isAlive, servesCluster } from "./leftover.ts"
import { lowerPriority } from "./niceness.ts"

export interface Server {
  readonly pid: number
  /** Resolves when the process has ended, with the words for how. */
  readonly ended: Promise<string>
  readonly isRunning: () => boolean
  /** What the server has logged since it was started, its last 2,000 characters. */
  readonly logTail: () => string
  /** Ends the process that stops the server when this process is gone. */
  readonly endLifeline: () => void
}

/** For two cores beside the platform itself; durability as PostgreSQL ships it. Milliseconds, unless a unit is given. */
const settings: Readonly<Record<string, string>> = {
  listen_addresses: "127.0.0.1",
  unix_socket_permissions: "0700",
  max_connections: "60",
  shared_buffers: "256MB",
  effective_cache_size: "1GB",
  work_mem: "16MB",
  maintenance_work_mem: "128MB",
  min_wal_size: "256MB",
  // Small: its files are written again while the page cache has them, instead of new ones that are filled with zeros first.
  max_wal_size: "512MB",
  checkpoint_timeout: "15min",
  random_page_cost: "1.1",
  jit: "off",
  autovacuum_max_workers: "2",
  autovacuum_vacuum_scale_factor: "0.05",
  autovacuum_naptime: "30s",
  // Tables of telemetry only grow: what vacuum and analyze do for them is done slowly, beside the rest, and not in one go.
  autovacuum_vacuum_cost_delay: "10ms",
  autovacuum_analyze_scale_factor: "0.5",
  tcp_keepalives_idle: "60",
  timezone: "UTC",
  log_timezone: "UTC",
  log_line_prefix: "%m [%p] %q%u@%d %a ",
  log_checkpoints: "off"
}

/** What a socket's address holds on macOS; Linux takes four bytes more. */
const MAX_SOCKET_BYTES = 103

/**
 * Where the server's Unix socket lies, in its data directory, which is closed to others: it costs less than TCP. Undefined
 * where there is none: the path is too long for one, or the machine is Windows.
 */
export const socketDirectory = (data: string, port: number): string | undefined =>
  process.platform !== "win32" && Buffer.byteLength(Path.join(data, `.s.PGSQL.${port}`)) <= MAX_SOCKET_BYTES
    ? data
    : undefined

export interface ServerOptions {
  readonly cluster: Cluster
  readonly port: number
  readonly logFile: string
  /** Server settings over the usual ones. */
  readonly settings: Readonly<Record<string, string>>
}

/** What a server that was killed has left of its socket: the lock stops the next one for as long as anything has that pid. */
const removeSocket = (directory: string, port: number): void => {
  const socket = Path.join(directory, `.s.PGSQL.${port}`)
  for (const file of [socket, `${socket}.lock`]) Fs.rmSync(file, { force: true })
}

/** The data directory must have no server that runs. */
export const startServer = (options: ServerOptions): Server => {
  const { cluster, logFile, port } = options
  removeSocket(cluster.data, port)
  const unix_socket_directories = socketDirectory(cluster.data, port) ?? ""
  const all = { ...settings, unix_socket_directories, port: String(port), ...options.settings }
  const logStart = Fs.statSync(logFile, { throwIfNoEntry: false })?.size ?? 0
  const log = Fs.openSync(logFile, "a", 0o600)
  const child = spawn(
    cluster.binaries.postgres,
    ["-D", cluster.data, ...Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    // In a session of its own, so that Ctrl-C reaches the platform only and the server is stopped after its clients.
    { ...asAccount(cluster.account), env: serverEnvironment, detached: true, stdio: ["ignore", log, log] }
  )
  Fs.closeSync(log)
  const ended = new Promise<string>((resolve) => {
    child.on("error", (cause) => resolve(`could not be started: ${cause.message}`))
    child.on("exit", (code, signal) => resolve(signal === null ? `ended with code ${code}` : `was ended by ${signal}`))
  })
  const lifeline = child.pid === undefined ? undefined : startLifeline(child.pid, cluster)
  if (child.pid !== undefined) {
    const stopLowering = lowerPriority(child.pid)
    child.once("exit", stopLowering)
  }
  return {
    pid: child.pid ?? -1,
    ended,
    isRunning: () => child.pid !== undefined && child.exitCode === null && child.signalCode === null,
    logTail: () => Fs.readFileSync(logFile).subarray(logStart).toString().trim().slice(-2000),
    endLifeline: () => lifeline?.stdin?.end()
  }
}

/**
 * A shell that waits for this process to be gone, however that happens, and then asks the server to stop: its standard
 * input ends with this process. It looks again whether the pid is still the cluster's server.
 */
const startLifeline = (pid: number, cluster: Cluster): ChildProcess | undefined => {
  if (process.platform === "win32") return undefined
  const script =
    'cat >/dev/null; read -r pid < "$2/postmaster.pid" 2>/dev/null && [ "$pid" = "$1" ] && kill -INT "$1" 2>/dev/null'
  const shell = spawn("/bin/sh", ["-c", script, "argusiq-postgres-lifeline", String(pid), cluster.data], {
    ...asAccount(cluster.account),
    env: serverEnvironment,
    detached: true,
    stdio: ["pipe", "ignore", "ignore"]
  })
  shell.on("error", () => undefined)
  shell.stdin?.on("error", () => undefined)
  shell.unref()
  return shell
}

/** Resolves true when the server accepts connections, false when it ended before. */
export const becomesReady = async (server: Server, cluster: Cluster): Promise<boolean> => {
  const file = Path.join(cluster.data, "postmaster.pid")
  while (server.isRunning()) {
    try {
      const lines = Fs.readFileSync(file, "utf8").split("\n")
      if (lines[0] === String(server.pid) && lines[7]?.trim() === "ready") return true
    } catch {
      // Not written yet.
    }
    await delay(20)
  }
  return false
}

/**
 * Stops the PostgreSQL `pid` on the cluster: a fast shutdown, after 8 s an immediate one (recovery at the next start),
 * after 3 s more SIGKILL. Resolves to false when it still runs.
 */
export const stopProcess = async (pid: number, data: string): Promise<boolean> => {
  for (const [signal, patience] of [
    ["SIGINT", 8_000],
    ["SIGQUIT", 3_000],
    ["SIGKILL", 2_000]
  ] as const) {
    if (!isAlive(pid) || !servesCluster(pid, data)) return true
    try {
      process.kill(pid, signal)
    } catch {
      return !isAlive(pid)
    }
    for (let waited = 0; waited < patience; waited += 20) {
      if (!isAlive(pid) || !servesCluster(pid, data)) return true
      await delay(20)
    }
  }
  return !isAlive(pid)
}
