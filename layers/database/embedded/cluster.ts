/**
 * The directory of an embedded PostgreSQL: `cluster` (the server's data), `connection.json` (port and passwords, mode 600)
 * and `server.log`. A cluster exists under its name only when initdb has finished it.
 * @module
 */
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import * as Fs from "node:fs"
import { createServer } from "node:net"
import * as Path from "node:path"
import { type Account, asAccount, canEnter, serverAccount } from "./account.ts"
import { type Binaries, commonDirectory, findBinaries } from "./binaries.ts"

/** The major version of the packaged PostgreSQL, as `PG_VERSION` in a cluster names it. */
export const majorVersion = "18"

export const serverRoles = ["postgres", "argusiq_owner", "argusiq_pipeline", "argusiq_app"] as const
export type ServerRole = (typeof serverRoles)[number]

/** How to reach the server; kept over restarts. */
export interface Connection {
  readonly port: number
  readonly passwords: Readonly<Record<ServerRole, string>>
}

export interface Cluster {
  /** The data directory with every link resolved, as the server names it. */
  readonly data: string
  readonly account: Account | undefined
  readonly binaries: Binaries
  readonly connection: Connection
}

/** Opens the cluster below `directory`, making it first where there is none. Rejects with an Error for a person. */
export const openCluster = async (directory: string): Promise<Cluster> => {
  const link = Path.join(directory, "cluster")
  const account = serverAccount(link)
  if (account === "none") {
    throw new Error(
      "PostgreSQL refuses to run as root, and this machine has neither an account postgres nor nobody to run it under. " +
        "Create one (useradd --system postgres), start ArgusIQ as another user, or set DATABASE_URL."
    )
  }
  Fs.mkdirSync(directory, { recursive: true, mode: account === undefined ? 0o700 : 0o755 })
  removeUnfinished(directory)
  const binaries = await findBinaries(account)
  const connection = readConnection(directory)
  if (isEmptyDirectory(link)) Fs.rmdirSync(link)
  if (Fs.existsSync(link)) {
    const data = Fs.realpathSync(link)
    checkCluster(data, account)
    if (connection === undefined) {
      throw new Error(
        `${Path.join(directory, "connection.json")} with the passwords of the database is missing, yet ${data} holds a ` +
          "database. Restore the file from a backup, or move the whole directory away to start with an empty database."
      )
    }
    return { data, account, binaries, connection }
  }
  const first = connection ?? { port: await freePort(), passwords: newPasswords() }
  writeConnection(directory, first)
  const data = await createCluster({ directory, link, account, binaries, password: first.passwords.postgres })
  return { data, account, binaries, connection: first }
}

const checkCluster = (data: string, account: Account | undefined) => {
  if (!canEnter(account, data)) {
    throw new Error(
      `The account ${account?.name ?? ""} that runs PostgreSQL cannot enter ${data}: a directory above it is closed to ` +
        "others. Move the data where others may pass (ARGUSIQ_DATA_DIR), or open the way (chmod o+x)."
    )
  }
  const file = Path.join(data, "PG_VERSION")
  const version = Fs.existsSync(file) ? Fs.readFileSync(file, "utf8").trim() : undefined
  if (version === undefined) {
    throw new Error(`${data} is not a PostgreSQL data directory: it has no PG_VERSION. Move it away or restore it.`)
  }
  if (version !== majorVersion) {
    throw new Error(
      `${data} was made by PostgreSQL ${version}; this release brings PostgreSQL ${majorVersion}. Go back to the release ` +
        "that made it, dump the database (pg_dump), and restore the dump into an empty directory."
    )
  }
}

const isEmptyDirectory = (path: string): boolean => {
  const stat = Fs.lstatSync(path, { throwIfNoEntry: false })
  return stat?.isDirectory() === true && Fs.readdirSync(path).length === 0
}

/** A start that was killed during initdb leaves a directory of this name; nothing in it was ever used. */
const unfinishedPrefix = "initdb-"
const discardedPrefix = "discarded-"

const removeUnfinished = (directory: string) => {
  for (const entry of Fs.readdirSync(directory)) {
    if (!entry.startsWith(unfinishedPrefix) && !entry.startsWith(discardedPrefix)) continue
    // The killed start's initdb may still be writing: under another name it finds nothing to go on with.
    const discarded = Path.join(directory, entry.replace(unfinishedPrefix, discardedPrefix))
    Fs.renameSync(Path.join(directory, entry), discarded)
    try {
      Fs.rmSync(discarded, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
    } catch {
      // What is left of it goes at the next start.
    }
  }
}

const createCluster = async (options: {
  readonly directory: string
  readonly link: string
  readonly account: Account | undefined
  readonly binaries: Binaries
  readonly password: string
}): Promise<string> => {
  const { account, directory, link } = options
  const reachable = canEnter(account, directory)
  const place = reachable ? directory : commonDirectory
  Fs.mkdirSync(place, { recursive: true, mode: 0o755 })
  const unfinished = Fs.mkdtempSync(Path.join(place, unfinishedPrefix))
  const passwordFile = Path.join(unfinished, "password")
  const data = Path.join(unfinished, "cluster")
  Fs.writeFileSync(passwordFile, `${options.password}\n`, { mode: 0o600 })
  if (account !== undefined) {
    for (const path of [unfinished, passwordFile]) Fs.chownSync(path, account.uid, account.gid)
  }
  await runInitdb(options.binaries.initdb, data, passwordFile, account)
  Fs.rmSync(passwordFile)
  if (reachable) {
    Fs.renameSync(data, link)
    Fs.rmSync(unfinished, { recursive: true })
  } else {
    const home = unfinished.replace(unfinishedPrefix, "postgres-")
    Fs.renameSync(unfinished, home)
    Fs.symlinkSync(Path.join(home, "cluster"), link)
  }
  flush(directory)
  return Fs.realpathSync(link)
}

const runInitdb = (initdb: string, data: string, passwordFile: string, account: Account | undefined) =>
  new Promise<void>((resolve, reject) => {
    const child = spawn(
      initdb,
      [
        `--pgdata=${data}`,
        "--username=postgres",
        `--pwfile=${passwordFile}`,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        // The same order of texts on every machine and version, without the machine's locales.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8"
      ],
      { ...asAccount(account), env: serverEnvironment, stdio: ["ignore", "ignore", "pipe"] }
    )
    let errors = ""
    child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()))
    child.on("error", reject)
    child.on("close", (code, signal) =>
      code === 0
        ? resolve()
        : reject(new Error(`initdb ended with ${signal ?? `code ${code}`} while making ${data}: ${errors.trim()}`))
    )
  })

/** The server's own: a PGPORT or LC_ALL of the person who starts it must not reach it. */
export const serverEnvironment = { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" }

const newPassword = () => randomBytes(24).toString("hex")

const newPasswords = (): Connection["passwords"] => ({
  postgres: newPassword(),
  argusiq_owner: newPassword(),
  argusiq_pipeline: newPassword(),
  argusiq_app: newPassword()
})

export const readConnection = (directory: string): Connection | undefined => {
  const file = Path.join(directory, "connection.json")
  if (!Fs.existsSync(file)) return undefined
  try {
    const read = JSON.parse(Fs.readFileSync(file, "utf8")) as Connection
    if (Number.isInteger(read.port) && serverRoles.every((role) => typeof read.passwords[role] === "string"))
      return read
  } catch {
    // Told below.
  }
  throw new Error(`${file} is damaged: it must hold the port and the four passwords. Restore it from a backup.`)
}

export const writeConnection = (directory: string, connection: Connection) => {
  const file = Path.join(directory, "connection.json")
  const unfinished = `${file}.new`
  Fs.writeFileSync(unfinished, `${JSON.stringify(connection, undefined, 2)}\n`, { mode: 0o600, flush: true })
  Fs.renameSync(unfinished, file)
  flush(directory)
}

/** A rename is durable when its directory is. */
const flush = (directory: string) => {
  if (process.platform === "win32") return
  const handle = Fs.openSync(directory, "r")
  Fs.fsyncSync(handle)
  Fs.closeSync(handle)
}

/** A TCP port of 127.0.0.1 that nobody listens on. */
export const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const probe = createServer()
    probe.on("error", reject)
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })
