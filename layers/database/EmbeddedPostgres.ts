/**
 * A real PostgreSQL that this process starts, watches and stops. It listens on a Unix socket in its data directory, over which
 * this process speaks with it, and on 127.0.0.1, on a port found free at the first start and kept from then on; with passwords
 * made at the first start.
 *
 * - A server that dies is started again, with backoff; clients reconnect by themselves.
 * - A server that outlived its platform (which a killed platform's lifeline normally prevents) is recognised by pid,
 *   command and data directory, stopped, and started anew. One whose platform still runs is left alone: the start fails.
 * - A `postmaster.pid` whose pid belongs to another program by now is removed; that program is not touched.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { PgClient } from "@effect/sql-pg"
import { Context, Deferred, Effect, Layer, Redacted, Schedule } from "effect"
import { Reactivity } from "effect/reactivity"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { type Cluster, freePort, openCluster, type ServerRole, writeConnection } from "./embedded/cluster.ts"
import { inspectLeftover } from "./embedded/leftover.ts"
import { PostgresStartError } from "./embedded/PostgresStartError.ts"
import { becomesReady, type Server, socketDirectory, startServer, stopProcess } from "./embedded/server.ts"
import { makeServerRoles } from "./roles.ts"

export { PostgresStartError }

/** Where the product's tables lie on the embedded server. */
export const databaseName = "argusiq"

export class EmbeddedPostgres extends Context.Service<
  EmbeddedPostgres,
  {
    readonly port: number
    /** A `postgresql://` URL for the role. */
    readonly url: (role: ServerRole, database?: string) => Redacted.Redacted
    /** Fails while the server is down, with why. */
    readonly health: Effect.Effect<void, DatabaseUnavailable>
    /** The pid of the server while it is up. */
    readonly pid: Effect.Effect<number | undefined>
  }
>()("argusiq/layers/database/EmbeddedPostgres") {}

export interface EmbeddedPostgresOptions {
  /** Holds everything of this server; made where it is missing. */
  readonly directory: string
  /** Server settings over the usual ones. */
  readonly settings?: Readonly<Record<string, string>>
}

export const layer = (options: EmbeddedPostgresOptions): Layer.Layer<EmbeddedPostgres, PostgresStartError> =>
  Layer.effect(EmbeddedPostgres, make({ ...options, directory: Path.resolve(options.directory) }))

const make = Effect.fn("EmbeddedPostgres.make")(function* (options: EmbeddedPostgresOptions) {
  const { directory } = options
  const startError = (cause: unknown) =>
    new PostgresStartError({ directory, message: cause instanceof Error ? cause.message : String(cause), cause })
  const cluster = yield* Effect.tryPromise({ try: () => openCluster(directory), catch: startError })
  if (cluster.data !== Path.join(Fs.realpathSync(directory), "cluster")) {
    yield* Effect.logInfo(
      `The account ${cluster.account?.name} that runs PostgreSQL cannot enter ${directory}; its data lies in ${cluster.data}`
    )
  }
  yield* clearLeftover(cluster, directory)
  const logFile = Path.join(directory, "server.log")
  rotate(logFile)

  let port = cluster.connection.port
  let running: Server | undefined
  let lastEnd = "has not been started yet"
  const started = yield* Deferred.make<void, PostgresStartError>()

  const runOnce = Effect.scoped(
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.try({
          try: () => {
            Fs.writeFileSync(supervisorFile(directory), String(process.pid))
            return startServer({ cluster, port, logFile, settings: options.settings ?? {} })
          },
          catch: startError
        }),
        (server) =>
          Effect.promise(async () => {
            running = undefined
            if (server.isRunning()) await stopProcess(server.pid, cluster.data)
            server.endLifeline()
          })
      )
      if (!(yield* Effect.promise(() => becomesReady(server, cluster)))) {
        const how = yield* Effect.promise(() => server.ended)
        return yield* new PostgresStartError({ directory, message: `PostgreSQL ${how}. It said: ${server.logTail()}` })
      }
      running = server
      yield* Deferred.succeed(started, undefined)
      lastEnd = yield* Effect.promise(() => server.ended)
    })
  )

  /** Until the first success: what passes by itself is tried again, a port taken meanwhile is replaced. */
  const firstRun = runOnce.pipe(
    Effect.tapError((error) =>
      portTaken.test(error.message)
        ? Effect.promise(async () => {
            port = await freePort()
            writeConnection(directory, { ...cluster.connection, port })
          })
        : Effect.void
    ),
    Effect.retry({
      while: (error) => portTaken.test(error.message) || stillInUse.test(error.message),
      schedule: Schedule.spaced("300 millis").pipe(Schedule.upTo({ times: 40 }))
    })
  )
  const runAgain = Effect.suspend(() =>
    Effect.logError(`The embedded PostgreSQL ${lastEnd}; starting it again. Its log: ${logFile}`)
  ).pipe(
    Effect.andThen(Effect.sleep("200 millis")),
    Effect.andThen(runOnce),
    Effect.tapError((error) =>
      Effect.sync(() => {
        lastEnd = `cannot be started again (${error.message})`
      })
    ),
    Effect.retry(Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("10 seconds")]))
  )
  const supervise = Effect.andThen(firstRun, Effect.forever(runAgain))
  yield* supervise.pipe(
    Effect.catch((error) => Deferred.fail(started, error)),
    Effect.forkScoped
  )
  yield* Deferred.await(started)

  const socket = socketDirectory(cluster.data, port)
  const over = socket === undefined ? "" : `?host=${encodeURIComponent(socket)}`
  const url = (role: ServerRole, database = databaseName) =>
    Redacted.make(`postgresql://${role}:${cluster.connection.passwords[role]}@127.0.0.1:${port}/${database}${over}`)
  yield* prepareRoles(url("postgres", "postgres"), cluster.connection.passwords).pipe(Effect.mapError(startError))
  return EmbeddedPostgres.of({
    port,
    url,
    health: Effect.suspend(() =>
      running === undefined
        ? Effect.fail(new DatabaseUnavailable({ cause: new Error(`PostgreSQL ${lastEnd}`) }))
        : Effect.void
    ),
    pid: Effect.sync(() => running?.pid)
  })
})

const portTaken = /could not create any TCP\/IP sockets/
/** The former server's last processes have not ended yet. */
const stillInUse = /pre-existing shared memory block|lock file "postmaster.pid" already exists/

const prepareRoles = (url: Redacted.Redacted, passwords: Cluster["connection"]["passwords"]) =>
  Effect.scoped(
    Effect.flatMap(PgClient.makeClient({ url }), (sql) => makeServerRoles(sql, passwords, databaseName))
  ).pipe(Effect.provide(Reactivity.layer))

/** Says which platform the server belongs to: a server whose parent is another process has outlived it. */
const supervisorFile = (directory: string) => Path.join(directory, "supervisor.pid")

const clearLeftover = Effect.fn("EmbeddedPostgres.clearLeftover")(function* (cluster: Cluster, directory: string) {
  const leftover = inspectLeftover(cluster.data)
  if (leftover._tag === "None") return
  if (leftover._tag === "Foreign") {
    yield* Effect.logWarning(
      `${cluster.data}/postmaster.pid names process ${leftover.pid}, which is another program by now; removing the file`
    )
    return Fs.rmSync(Path.join(cluster.data, "postmaster.pid"), { force: true })
  }
  const file = supervisorFile(directory)
  const supervisor = Fs.existsSync(file) ? Number(Fs.readFileSync(file, "utf8")) : undefined
  if (leftover.parent === supervisor) {
    return yield* new PostgresStartError({
      directory,
      message:
        `Another ArgusIQ (process ${supervisor}) is running on ${directory}. ` +
        "Stop it first, or give this one its own ARGUSIQ_DATA_DIR."
    })
  }
  yield* Effect.logWarning(
    `PostgreSQL (process ${leftover.pid}) has outlived the platform that started it; stopping it to start anew`
  )
  if (!(yield* Effect.promise(() => stopProcess(leftover.pid, cluster.data)))) {
    return yield* new PostgresStartError({
      directory,
      message: `PostgreSQL (process ${leftover.pid}) of an earlier run on ${cluster.data} cannot be stopped. Stop it by hand.`
    })
  }
})

/** Keeps one older log; a log is begun anew past 10 MB, at a start. */
const rotate = (logFile: string) => {
  if ((Fs.statSync(logFile, { throwIfNoEntry: false })?.size ?? 0) > 10_000_000) Fs.renameSync(logFile, `${logFile}.1`)
}
