/**
 * A real redis-server of a test's own: free port, fresh directory. It outlives its kill: `start` after `kill` finds what it
 * had saved.
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { eventually, freePort } from "../PlatformProcess.ts"
import { components, type Running } from "./running.ts"

export interface RedisServerOptions {
  readonly password?: string
}

export class RedisServer {
  readonly port: number
  readonly directory: string
  readonly #password: string | undefined
  #running: Running | undefined

  private constructor(port: number, directory: string, password: string | undefined) {
    this.port = port
    this.directory = directory
    this.#password = password
  }

  /** Not started yet. */
  static async prepare(options: RedisServerOptions = {}): Promise<RedisServer> {
    const directory = mkdtempSync(join(tmpdir(), "argusiq-redis-"))
    return new RedisServer(await freePort(), directory, options.password)
  }

  static async started(options: RedisServerOptions = {}): Promise<RedisServer> {
    return (await RedisServer.prepare(options)).start()
  }

  /** As `REDIS_URL` of a platform. */
  get url(): string {
    const user = this.#password === undefined ? "" : `:${encodeURIComponent(this.#password)}@`
    return `redis://${user}127.0.0.1:${this.port}`
  }

  get pid(): number {
    return this.#started.pid
  }

  get #started(): Running {
    if (this.#running === undefined) throw new Error("redis-server is not running")
    return this.#running
  }

  async start(): Promise<this> {
    const running = await components.start("redis-server", {
      directory: this.directory,
      parameters: `--port ${this.port} --bind 127.0.0.1 --dir ${this.directory} --appendonly no --daemonize no`
        .split(" ")
        .concat(["--save", ""], this.#password === undefined ? [] : ["--requirepass", this.#password])
    })
    this.#running = running
    await eventually("redis-server answering", 30, async () => {
      const ended = running.ended()
      if (ended !== undefined) throw new Error(`redis-server ended with ${ended}`)
      return (await this.command("PING")) === "" ? undefined : true
    })
    return this
  }

  /** Sends an inline command and gives the raw answer, without the product's client. */
  command(line: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.port, "127.0.0.1")
      let answer = ""
      socket.setEncoding("utf8")
      socket.on("data", (text: string) => (answer += text))
      socket.once("end", () => resolve(answer))
      socket.once("error", reject)
      const login = this.#password === undefined ? "" : `AUTH ${this.#password}\r\n`
      socket.write(`${login}${line}\r\nQUIT\r\n`)
    })
  }

  /** SIGKILL: what it has not saved is gone. */
  async kill(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    await running?.end("SIGKILL")
  }

  /** It accepts connections and answers nothing. */
  hang(): void {
    this.#started.freeze()
  }

  goOn(): void {
    this.#started.thaw()
  }

  /** Lets it write all it holds to its file, from which `start` after `kill` begins. */
  async save(): Promise<void> {
    await this.command("SAVE")
  }

  /** Ends it and removes its files. */
  async dispose(): Promise<void> {
    await this.kill()
    rmSync(this.directory, { recursive: true, force: true })
  }
}
