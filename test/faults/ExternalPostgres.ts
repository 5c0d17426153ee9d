/**
 * A PostgreSQL that a platform uses by `DATABASE_URL` and that the test stops, freezes and starts as it likes. It lies where
 * an embedded one would, so that what looks into a platform's data finds it.
 * @module
 */
import * as EmbeddedPostgres from "@argusiq/layers/database/EmbeddedPostgres.ts"
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { chmodSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { descendantsOf } from "../support/processes.ts"

export class ExternalPostgres {
  readonly #directory: string
  #scope: Scope.Closeable | undefined
  #pid = 0
  #environment: Readonly<Record<string, string>> = {}

  constructor(dataDirectory: string) {
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
    const server = EmbeddedPostgres.layer({ directory: this.#directory })
    const context = await Effect.runPromise(Layer.buildWithScope(server, scope))
    const { pid, url } = Context.get(context, EmbeddedPostgres.EmbeddedPostgres)
    this.#pid = Effect.runSync(pid) ?? 0
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

  /** Every process of it stands still: connections stay open and nothing answers. */
  freeze(): void {
    for (const pid of [this.#pid, ...descendantsOf(this.#pid)]) process.kill(pid, "SIGSTOP")
  }

  thaw(): void {
    for (const pid of [...descendantsOf(this.#pid), this.#pid]) process.kill(pid, "SIGCONT")
  }
}
