import { PgClient } from "@effect/sql-pg"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, References } from "effect"
import { Reactivity } from "effect/reactivity"
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import * as EmbeddedPostgres from "../../../layers/database/EmbeddedPostgres.ts"
import { isAlive } from "../../../layers/database/embedded/leftover.ts"
import { NICENESS } from "../../../layers/database/embedded/niceness.ts"

const root = Fs.mkdtempSync(Path.join(Os.tmpdir(), "argusiq-embedded-"))
Fs.chmodSync(root, 0o755)
const directory = Path.join(root, "postgres")
const clusterDirectory = Path.join(directory, "cluster")
const started: Array<ChildProcess> = []
afterAll(() => {
  for (const child of started) child.kill("SIGKILL")
  Fs.rmSync(root, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
})

const layer = (at = directory) =>
  EmbeddedPostgres.layer({ directory: at, settings: { shared_buffers: "16MB" } }).pipe(
    Layer.provide(Layer.succeed(References.MinimumLogLevel, "None"))
  )
const withServer = <A, E>(
  use: (server: EmbeddedPostgres.EmbeddedPostgres["Service"]) => Effect.Effect<A, E, Reactivity.Reactivity>,
  at?: string
) =>
  Effect.flatMap(EmbeddedPostgres.EmbeddedPostgres, use).pipe(
    Effect.provide([layer(at), Reactivity.layer, Logger.layer([])])
  )
const query = (server: EmbeddedPostgres.EmbeddedPostgres["Service"], statement: string) =>
  Effect.scoped(
    Effect.flatMap(PgClient.makeClient({ url: server.url("argusiq_owner") }), (sql) =>
      sql.unsafe<Record<string, unknown>>(statement)
    )
  )
const until = async (holds: () => boolean, what: string) => {
  for (let waited = 0; !holds(); waited += 20) {
    assert.isBelow(waited, 20_000, `waited 20 s for ${what}`)
    await delay(20)
  }
}
const startPlatform = async () => {
  const child = spawn(process.execPath, [Path.join(import.meta.dirname, "serverProcess.ts"), directory], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  started.push(child)
  let said = ""
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()))
  return { child, said: () => said }
}
const startReadyPlatform = async () => {
  const { child, said } = await startPlatform()
  await until(() => said().includes("ready "), "the platform in miniature")
  return { child, postgres: Number(/ready (\d+)/.exec(said())?.[1]) }
}
const childrenOf = (parent: number) =>
  Fs.readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const ppid = Fs.readFileSync(`/proc/${name}/stat`, "utf8").split(")").at(-1)?.trim().split(" ")[1]
        return Number(ppid) === parent
          ? [{ pid: Number(name), command: Fs.readFileSync(`/proc/${name}/cmdline`, "utf8") }]
          : []
      } catch {
        return []
      }
    })

const unfinished = () =>
  Fs.existsSync(directory) && Fs.readdirSync(directory).some((name) => name.startsWith("initdb-"))

describe("the embedded PostgreSQL", () => {
  it.live("makes a cluster killed during initdb anew", () =>
    Effect.gen(function* () {
      yield* Effect.promise(async () => {
        const { child } = await startPlatform()
        await until(unfinished, "initdb")
        await delay(150)
        child.kill("SIGKILL")
        assert.isFalse(Fs.existsSync(clusterDirectory), "the kill came during initdb")
      })
      const rows = yield* withServer((server) => query(server, "select 1 as one"))
      assert.deepStrictEqual(rows, [{ one: 1 }])
      assert.deepStrictEqual(
        Fs.readdirSync(directory).filter((name) => name.startsWith("initdb-")),
        []
      )
    })
  )

  it.live("keeps data, port and passwords over a stop and a start, and its passwords to itself", () =>
    Effect.gen(function* () {
      const first = yield* withServer((server) =>
        Effect.as(query(server, "create table kept as select 42 as answer"), server)
      )
      const rows = yield* withServer((server) => {
        assert.strictEqual(server.port, first.port)
        return query(server, "select answer from kept")
      })
      assert.deepStrictEqual(rows, [{ answer: 42 }])
      assert.strictEqual(Fs.statSync(Path.join(directory, "connection.json")).mode & 0o777, 0o600)
    })
  )

  it.live("is spoken with over its Unix socket, and over TCP where its path is too long for one", () =>
    Effect.gen(function* () {
      const way = "select inet_server_addr() is null as is_unix"
      assert.deepStrictEqual(yield* withServer((server) => query(server, way)), [{ is_unix: true }])
      const deep = Path.join(root, "a-name-of-fifty-characters-as-people-give-them-to-it".repeat(2), "postgres")
      Fs.mkdirSync(Path.dirname(deep), { mode: 0o755 })
      assert.deepStrictEqual(yield* withServer((server) => query(server, way), deep), [{ is_unix: false }])
    })
  )

  it.live("goes after the platform where both want a core, with each of its processes", () =>
    withServer((server) =>
      Effect.gen(function* () {
        const isLow = (pid: number) => {
          if (!isAlive(pid)) return true // it has done what it was started for
          const niceness = Fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(")").at(-1)!.trim().split(" ")[16]
          const group = `/proc/${pid}/autogroup`
          return (
            Number(niceness) === NICENESS && (!isGrouped || Fs.readFileSync(group, "utf8").endsWith(` ${NICENESS}\n`))
          )
        }
        const grouping = "/proc/sys/kernel/sched_autogroup_enabled"
        const isGrouped = Fs.existsSync(grouping) && Fs.readFileSync(grouping, "utf8").trim() === "1"
        const postgres = (yield* server.pid)!
        yield* Effect.scoped(
          Effect.gen(function* () {
            const sql = yield* PgClient.makeClient({ url: server.url("argusiq_owner") })
            const [backend] = yield* sql<{ pid: number }>`select pg_backend_pid() as pid`
            const pids = childrenOf(postgres).map(({ pid }) => pid)
            assert.include(pids, backend!.pid)
            yield* Effect.promise(() => until(() => pids.every(isLow), "their niceness"))
          })
        )
      })
    )
  )

  it.live("starts over a postmaster.pid whose process is gone", () =>
    Effect.gen(function* () {
      const gone = spawn("true")
      yield* Effect.promise(() => new Promise((resolve) => gone.on("exit", resolve)))
      Fs.writeFileSync(Path.join(clusterDirectory, "postmaster.pid"), `${gone.pid}\n${clusterDirectory}\n`)
      yield* withServer((server) => query(server, "select 1"))
    })
  )

  it.live(
    "starts over a postmaster.pid and the lock of a socket whose pid is another program's by now, and leaves that alone",
    () =>
      Effect.gen(function* () {
        const { gid, uid } = Fs.statSync(clusterDirectory)
        // Under the server's account: PostgreSQL itself takes such a process for a running server.
        const other = spawn("sleep", ["60"], { uid, gid, cwd: "/" })
        started.push(other)
        const { port } = JSON.parse(Fs.readFileSync(Path.join(directory, "connection.json"), "utf8"))
        for (const name of ["postmaster.pid", `.s.PGSQL.${port}.lock`]) {
          const file = Path.join(clusterDirectory, name)
          Fs.writeFileSync(file, `${other.pid}\n${clusterDirectory}\n`)
          Fs.chownSync(file, uid, gid)
        }
        yield* withServer((server) => query(server, "select 1"))
        assert.isTrue(isAlive(other.pid ?? -1))
      })
  )

  it.live("leaves the server of a running platform alone and says whose it is", () =>
    Effect.gen(function* () {
      const { child, postgres } = yield* Effect.promise(startReadyPlatform)
      const error = yield* Effect.flip(withServer(() => Effect.void))
      assert.match(error.message, new RegExp(`Another ArgusIQ \\(process ${child.pid}\\) is running`))
      assert.isTrue(isAlive(postgres))
      child.kill("SIGTERM")
      yield* Effect.promise(() => until(() => !isAlive(postgres), "the clean stop"))
    })
  )

  it.live("stops by itself when its platform is SIGKILLed", () =>
    Effect.promise(async () => {
      const { child, postgres } = await startReadyPlatform()
      child.kill("SIGKILL")
      await until(() => !isAlive(postgres), "the server's end")
      assert.isFalse(Fs.existsSync(Path.join(clusterDirectory, "postmaster.pid")), "it shut down in order")
    })
  )

  it.live.skipIf(process.platform !== "linux")(
    "that outlived its platform is recognised, stopped and started anew",
    () =>
      Effect.gen(function* () {
        const { child, postgres } = yield* Effect.promise(startReadyPlatform)
        const lifeline = childrenOf(child.pid ?? -1).find(({ command }) =>
          command.includes("argusiq-postgres-lifeline")
        )
        assert.isDefined(lifeline)
        process.kill(lifeline.pid, "SIGKILL")
        child.kill("SIGKILL")
        yield* Effect.promise(() => new Promise((resolve) => child.on("exit", resolve)))
        yield* Effect.sleep("300 millis")
        assert.isTrue(isAlive(postgres), "it has outlived the platform")
        const { pid, rows } = yield* withServer((server) =>
          Effect.all({ pid: server.pid, rows: query(server, "select answer from kept") })
        )
        assert.deepStrictEqual(rows, [{ answer: 42 }])
        assert.notStrictEqual(pid, postgres)
        // Its new parent may take a moment to bury it.
        yield* Effect.promise(() => until(() => !isAlive(postgres), "the old server's end"))
      })
  )

  it.live("that is SIGKILLed is started again, and a pool that was in use goes on", () =>
    withServer((server) =>
      Effect.scoped(
        Effect.gen(function* () {
          const sql = yield* PgClient.make({ url: server.url("argusiq_owner"), maxConnections: 4 })
          yield* sql`create table if not exists survived (n int)`
          const before = yield* server.pid
          yield* sql`insert into survived values (1)`
          process.kill(before ?? -1, "SIGKILL")
          const rows = yield* sql`select n from survived`.pipe(
            Effect.retry({ while: () => Effect.as(Effect.sleep("50 millis"), true), times: 200 })
          )
          // A last answer of the dying backends would prove nothing.
          yield* Effect.sleep("100 millis")
          const after = yield* Effect.repeat(Effect.andThen(Effect.sleep("50 millis"), server.pid), {
            until: (pid) => pid !== undefined && pid !== before,
            times: 200
          })
          assert.notStrictEqual(after, before)
          assert.strictEqual(rows.length, 1)
          assert.strictEqual((yield* sql`select n from survived`.pipe(Effect.retry({ times: 20 }))).length, 1)
          yield* server.health
        })
      )
    )
  )

  it.live("says it is down while it is down", () =>
    withServer((server) =>
      Effect.gen(function* () {
        process.kill((yield* server.pid) ?? -1, "SIGKILL")
        const error = yield* Effect.flip(server.health).pipe(
          Effect.retry({ while: () => Effect.as(Effect.sleep("1 millis"), true), times: 500 })
        )
        assert.match(String(error.cause), /was ended by SIGKILL/)
      })
    )
  )

  it.live.skipIf(process.getuid?.() !== 0)(
    "of root in a closed directory keeps its data where its account can go",
    () =>
      Effect.gen(function* () {
        const closed = Path.join(root, "closed")
        Fs.mkdirSync(closed, { mode: 0o700 })
        const at = Path.join(closed, "postgres")
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            const link = Path.join(at, "cluster")
            if (Fs.existsSync(link)) Fs.rmSync(Path.dirname(Fs.realpathSync(link)), { recursive: true })
          })
        )
        yield* withServer((server) => query(server, "create table kept as select 43 as answer"), at)
        assert.isFalse(Fs.realpathSync(Path.join(at, "cluster")).startsWith(Fs.realpathSync(root)))
        const rows = yield* withServer((server) => query(server, "select answer from kept"), at)
        assert.deepStrictEqual(rows, [{ answer: 43 }])
      })
  )

  it.live("refuses a cluster of another major version, one without its passwords, and what is no cluster", () =>
    Effect.gen(function* () {
      const refusal = Effect.flip(withServer(() => Effect.void))
      const version = Path.join(clusterDirectory, "PG_VERSION")
      Fs.writeFileSync(version, "15\n")
      assert.match((yield* refusal).message, /made by PostgreSQL 15; this release brings PostgreSQL 18/)
      Fs.rmSync(version)
      assert.match((yield* refusal).message, /is not a PostgreSQL data directory/)
      Fs.writeFileSync(version, "18\n")
      Fs.renameSync(Path.join(directory, "connection.json"), Path.join(directory, "elsewhere.json"))
      assert.match((yield* refusal).message, /connection.json with the passwords of the database is missing/)
    })
  )
})
