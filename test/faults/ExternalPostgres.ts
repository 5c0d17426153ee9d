/**
 * A PostgreSQL that a platform uses by `DATABASE_URL` and that the test stops, freezes and starts as it likes. It lies where
 * an embedded one would, so that what looks into a platform's data finds it.
 * @module
 */
import * as EmbeddedPostgres from "@argusiq/layers/database/EmbeddedPostgres.ts"
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { chmodSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { eventually } from "../support/PlatformProcess.ts"
import { descendantsOf, freeze } from "../support/processes.ts"

/** A backend whose connection was closed ends by itself. */
const unlessGone = (signal: () => void) => {
  try {
    signal()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}

export class ExternalPostgres {
  readonly #directory: string
  readonly #settings: Readonly<Record<string, string>>
  #scope: Scope.Closeable | undefined
  #pid: Effect.Effect<number | undefined> = Effect.succeed(undefined)
  #environment: Readonly<Record<string, string>> = {}

  /** `settings` of the server over the usual ones. */
  constructor(dataDirectory: string, settings: Readonly<Record<string, string>> = {}) {
    this.#settings = settings
    mkdirSync(dataDirectory, { recursive: true })
    chmodSync(dataDirectory, 0o755)
    this.#directory = join(dataDirectory, "postgres")
  }

  /** The settings by which a platform finds it; known once it has been started, and the same from then on. */
  get environment() {
    return this.#environment
  }

  async start(): Promise<void> {
    const scope = Effect.runSync(Scope.make())
    this.#scope = scope
    const server = EmbeddedPostgres.layer({ directory: this.#directory, settings: this.#settings })
    const context = await Effect.runPromise(Layer.buildWithScope(server, scope))
    const { pid, url } = Context.get(context, EmbeddedPostgres.EmbeddedPostgres)
    this.#pid = pid
    this.#environment = {
      DATABASE_URL: Redacted.value(url("argusiq_owner")),
      DATABASE_PIPELINE_URL: Redacted.value(url("argusiq_pipeline")),
      DATABASE_APP_URL: Redacted.value(url("argusiq_app"))
    }
  }

  async stop(): Promise<void> {
    const scope = this.#scope
    this.#scope = undefined
    if (scope !== undefined) await Effect.runPromise(Scope.close(scope, Exit.void))
  }

  get #server(): number {
    const pid = Effect.runSync(this.#pid)
    if (pid === undefined) throw new Error("PostgreSQL is not running")
    return pid
  }

  /** SIGKILL of the postmaster; it is started again, and `kill` returns when it is. */
  async kill(): Promise<void> {
    const killed = this.#server
    process.kill(killed, "SIGKILL")
    await eventually("PostgreSQL's return", 60, () => {
      const pid = Effect.runSync(this.#pid)
      return pid === undefined || pid === killed ? undefined : true
    })
  }

  /** Every process of it stands still: connections stay open and nothing answers. */
  freeze(): void {
    freeze(this.#server)
    for (const pid of descendantsOf(this.#server)) unlessGone(() => freeze(pid))
  }

  thaw(): void {
    for (const pid of descendantsOf(this.#server)) unlessGone(() => process.kill(pid, "SIGCONT"))
    process.kill(this.#server, "SIGCONT")
  }
}
