/**
 * What can be seen without a running platform: this machine, the settings, the data directory.
 * @module
 */
import { MIN_FREE_BYTES, minFreeBytes } from "@argusiq/layers/bus/local/DiskSpace.ts"
import { inspectLeftover } from "@argusiq/layers/database/embedded/leftover.ts"
import { Config, Effect, Option } from "effect"
import { accessSync, constants, existsSync, realpathSync, statfsSync } from "node:fs"
import { dirname, join } from "node:path"
import { describePortFault, type ListeningPort, portFault } from "../ports.ts"
import { wrongSettings } from "../settings.ts"
import { fault, fine, type Finding, note } from "./Finding.ts"

const PROJECT_NODE_MAJOR = 24

const gibibytes = (bytes: number) => `${(bytes / 1_073_741_824).toFixed(1)} GiB`

export const node: Finding =
  Number(process.versions.node.split(".")[0]) === PROJECT_NODE_MAJOR
    ? fine("Node", process.versions.node)
    : fault("Node", `${process.versions.node}, not ${PROJECT_NODE_MAJOR}`, "Run: npm ci, then npx argusiq doctor")

export const settings: Effect.Effect<ReadonlyArray<Finding>, Config.ConfigError> = Effect.map(wrongSettings, (lines) =>
  lines.length === 0
    ? [fine("Settings", "all that are set are understood")]
    : lines.map((line) => fault("Settings", line, "Correct it and start again"))
)

const nearestExisting = (path: string): string => (existsSync(path) ? path : nearestExisting(dirname(path)))

const isWritable = (path: string): boolean => {
  try {
    accessSync(path, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

export const disk = Effect.fn("doctor.disk")(function* (directory: string) {
  // A wrong value is a finding about the settings.
  const needed = yield* Effect.orElseSucceed(minFreeBytes, () => MIN_FREE_BYTES)
  const existing = nearestExisting(directory)
  const { bavail, bsize } = statfsSync(existing)
  const free = bavail * bsize
  return [
    !isWritable(existing)
      ? fault(
          "Data directory",
          `${existing} cannot be written by this user`,
          "Set ARGUSIQ_DATA_DIR, or change its owner"
        )
      : existing === directory
        ? fine("Data directory", directory)
        : note("Data directory", `${directory} does not exist yet; the first start makes it`),
    free < needed
      ? fault(
          "Disk",
          `${gibibytes(free)} free, below ${gibibytes(needed)}: no message is acknowledged`,
          "Free some space; the platform then goes on by itself"
        )
      : fine("Disk", `${gibibytes(free)} free`)
  ]
})

/** For a platform that is not running: can it open its ports? */
export const freePorts = (ports: ReadonlyArray<ListeningPort>): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.forEach(ports, (one) =>
    Effect.map(portFault(one.host, one.port), (found) =>
      found === undefined
        ? fine(one.variable, `${one.port} is free`)
        : fault(one.variable, `${one.port} cannot be opened`, describePortFault(one, found))
    )
  )

/** For a platform that is not running: what the embedded PostgreSQL left. */
export const stoppedPostgres = Effect.fn("doctor.stoppedPostgres")(function* (directory: string) {
  if (Option.isSome(yield* Config.option(Config.Redacted("DATABASE_URL")))) {
    return note("PostgreSQL", "at DATABASE_URL; checked when the platform runs")
  }
  const cluster = join(directory, "postgres", "cluster")
  if (!existsSync(cluster)) return note("PostgreSQL", "embedded; made by the first start")
  if (!existsSync(join(cluster, "PG_VERSION"))) {
    return fault(
      "PostgreSQL",
      `${cluster} is not a PostgreSQL data directory`,
      "Restore it from a backup, or move the data directory away to start with an empty one"
    )
  }
  const leftover = inspectLeftover(realpathSync(cluster))
  if (leftover._tag === "None") return fine("PostgreSQL", "embedded, stopped")
  return leftover._tag === "Running"
    ? note("PostgreSQL", `process ${leftover.pid} has outlived its platform; the next start stops it and starts anew`)
    : note("PostgreSQL", `its pid file names process ${leftover.pid}, another program; the next start clears it`)
})
