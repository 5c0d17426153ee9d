/**
 * The data directory as the command line sees it: which platform works in it, and where that platform listens.
 * A socket that the platform holds open tells a running platform from the traces of a killed one; a process id alone
 * does not, since ids are given out again.
 * @module
 */
import { secretsDirectory as shared } from "@argusiq/layers/identity/keptSecret.ts"
import { Config, Effect, Schema } from "effect"
import { createHash } from "node:crypto"
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Refusal } from "./errors.ts"

/** Absolute path of the data directory. */
export const dataDirectory = Config.String("ARGUSIQ_DATA_DIR").pipe(
  Config.withDefault("./data"),
  Config.map((path) => resolve(path))
)

/** Absolute path of the directory where the command line finds what lets it in. */
export const secretsDirectory = shared.pipe(Config.map((path) => resolve(path)))

/** What a running platform writes down about itself. */
const PlatformRecord = Schema.Struct({
  pid: Schema.Int,
  startedAt: Schema.String,
  services: Schema.Array(Schema.String),
  http: Schema.optionalKey(Schema.String), // base URL
  mqtt: Schema.optionalKey(Schema.String), // mqtt://host:port
  mqtts: Schema.optionalKey(Schema.String), // mqtts://host:port
  metrics: Schema.optionalKey(Schema.String), // base URL of /health, /ready and /metrics where it is not `http`
  dataDirectory: Schema.String,
  secretsDirectory: Schema.String
})
export type PlatformRecord = typeof PlatformRecord.Type

const decodeRecord = Schema.decodeUnknownResult(Schema.fromJsonString(PlatformRecord))
const recordPath = (directory: string) => join(directory, "platform.json")

/** The longest path of a socket is about 104 bytes: a longer one moves to the temporary directory under a name of its own. */
const socketPath = (directory: string): string => {
  const path = join(directory, "platform.sock")
  if (Buffer.byteLength(path) <= 100) return path
  return join(tmpdir(), `argusiq-${createHash("sha256").update(path).digest("hex").slice(0, 16)}.sock`)
}

/** Whether a platform works in the directory at this moment. */
export const isHeld = (directory: string): Effect.Effect<boolean> =>
  Effect.callback<boolean>((resume) => {
    const socket = connect(socketPath(directory))
    const answer = (held: boolean) => {
      socket.destroy()
      resume(Effect.succeed(held))
    }
    socket.once("connect", () => answer(true))
    socket.once("error", () => answer(false))
  })

/** What the platform in the directory last wrote about itself; it may be gone (`isHeld`). */
export const readRecord = (directory: string): PlatformRecord | undefined => {
  const path = recordPath(directory)
  if (!existsSync(path)) return undefined
  const record = decodeRecord(readFileSync(path, "utf8"))
  return record._tag === "Success" ? record.success : undefined
}

/** The platform that works in the directory; fails when there is none. */
export const runningPlatform = Effect.fn("DataDirectory.runningPlatform")(function* (directory: string) {
  const record = readRecord(directory)
  if (record !== undefined && (yield* isHeld(directory))) return record
  return yield* new Refusal({
    message:
      `No platform is running with the data directory ${directory}. Start it with: npm start` +
      " (another directory: set ARGUSIQ_DATA_DIR)."
  })
})

const makeDirectory = (directory: string) =>
  Effect.try({
    try: () => {
      mkdirSync(directory, { recursive: true })
      accessSync(directory, constants.W_OK | constants.X_OK)
    },
    catch: (cause) =>
      new Refusal({
        message: `The data directory ${directory} cannot be written: ${String(cause)}. Set ARGUSIQ_DATA_DIR to one that can.`
      })
  })

const hold = (directory: string) =>
  Effect.callback<() => void, Refusal>((resume) => {
    const path = socketPath(directory)
    rmSync(path, { force: true })
    const server = createServer((socket) => socket.destroy())
    server.once("error", (cause) =>
      resume(Effect.fail(new Refusal({ message: `The socket ${path} cannot be opened: ${cause.message}` })))
    )
    server.listen(path, () => {
      server.unref()
      resume(Effect.succeed(() => server.close()))
    })
  })

/** Takes the directory for this process until the scope closes; fails when a platform already works in it. */
export const takeDataDirectory = Effect.fn("DataDirectory.take")(function* (directory: string) {
  yield* makeDirectory(directory)
  if (yield* isHeld(directory)) {
    const record = readRecord(directory)
    return yield* new Refusal({
      message:
        `A platform is already running with the data directory ${directory}` +
        `${record === undefined ? "" : ` (process ${record.pid}${record.http === undefined ? "" : `, ${record.http}`})`}.` +
        " Stop it first, or set ARGUSIQ_DATA_DIR, HTTP_PORT, MQTT_PORT and MQTTS_PORT for a second one." +
        " To run one platform's services in several processes, set KAFKA_BROKERS and DATABASE_URL too:" +
        " the embedded log and the embedded PostgreSQL serve one process. docs/deployment.md tells how."
    })
  }
  yield* Effect.acquireRelease(hold(directory), (release) => Effect.sync(release))
})

/** Writes down where this platform listens; removed when the scope closes. */
export const publishRecord = (record: PlatformRecord) =>
  Effect.acquireRelease(
    Effect.sync(() => writeFileSync(recordPath(record.dataDirectory), `${JSON.stringify(record, null, 2)}\n`)),
    () => Effect.sync(() => rmSync(recordPath(record.dataDirectory), { force: true }))
  )
