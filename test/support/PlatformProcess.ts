/**
 * A real platform in a process of its own, as `npm start` runs it, on free ports and a data directory of its own.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { randomInt } from "node:crypto"
import { chmodSync, createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { type ServiceName } from "../../services/platform/services.ts"
import { nodeEnvironment, nodeFlags } from "../../services/platform/nodeFlags.mjs"
import { isAlive } from "./processes.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
export const nodeBinary = join(root, "node_modules/.bin/node")
export const ADMIN_EMAIL = "admin@example.com"
export const ADMIN_PASSWORD = "correct-horse-battery-staple"

/** Below the ports that systems give to connections and to servers that ask for any (from 32,768 on): one of those could be
 * taken between the look and its use, or while the server that has it is down. */
const [FIRST_PORT, LAST_PORT] = [12_000, 32_000]

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.on("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })

/** A port of 127.0.0.1 that nobody listens on. */
export const freePort = async (): Promise<number> => {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(FIRST_PORT, LAST_PORT)
    if (await isFree(port)) return port
  }
  throw new Error(`100 ports from ${FIRST_PORT} to ${LAST_PORT} were taken`)
}

/** Waits until `condition` gives a value. Fails with `what` after `seconds`. */
export const eventually = async <A>(
  what: string,
  seconds: number,
  condition: () => Promise<A | undefined> | A | undefined,
  everyMillis = 50
): Promise<A> => {
  const deadline = Date.now() + seconds * 1000
  let last: unknown
  for (;;) {
    try {
      const value = await condition()
      if (value !== undefined) return value
    } catch (error) {
      last = error
    }
    if (Date.now() > deadline) throw new Error(`${what} did not happen within ${seconds} s (${String(last)})`)
    await sleep(everyMillis)
  }
}

export interface Device {
  readonly id: string
  readonly key: string
}

export interface PlatformOptions {
  readonly entry?: string
  readonly dataDirectory?: string
  readonly env?: Readonly<Record<string, string>>
  /** Of several processes; all when absent. */
  readonly services?: ReadonlyArray<ServiceName>
}

/** One that PostgreSQL's account may enter when the test runs as root. */
const openTemporaryDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), "argusiq-test-"))
  chmodSync(directory, 0o755)
  return directory
}

export class PlatformProcess {
  readonly dataDirectory: string
  readonly httpPort: number
  readonly mqttPort: number
  readonly mqttsPort: number
  readonly metricsPort: number
  readonly logFile: string
  private readonly options: PlatformOptions
  private child: ChildProcess | undefined
  private token: string | undefined

  private constructor(
    options: PlatformOptions,
    dataDirectory: string,
    [httpPort, mqttPort, metricsPort, mqttsPort]: readonly [number, number, number, number]
  ) {
    this.options = options
    this.dataDirectory = dataDirectory
    this.httpPort = httpPort
    this.mqttPort = mqttPort
    this.metricsPort = metricsPort
    this.mqttsPort = mqttsPort
    this.logFile = `${dataDirectory}.log`
  }

  static async prepare(options: PlatformOptions = {}): Promise<PlatformProcess> {
    const directory = options.dataDirectory ?? join(openTemporaryDirectory(), "data")
    return new PlatformProcess(options, directory, [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort()
    ])
  }

  get url(): string {
    return `http://127.0.0.1:${this.httpPort}`
  }

  /** Base URL of health, readiness and metrics. */
  get healthUrl(): string {
    const { services } = this.options
    return services === undefined || services.includes("api") ? this.url : `http://127.0.0.1:${this.metricsPort}`
  }

  get pid(): number {
    if (this.child?.pid === undefined) throw new Error("the platform is not running")
    return this.child.pid
  }

  get isRunning(): boolean {
    return this.child?.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null
  }

  /** Of the embedded PostgreSQL's postmaster, as its pid file says. */
  get postgresPid(): number | undefined {
    const file = join(this.dataDirectory, "postgres", "cluster", "postmaster.pid")
    if (!existsSync(file)) return undefined
    const pid = Number(readFileSync(file, "utf8").split("\n")[0])
    return Number.isInteger(pid) && isAlive(pid) ? pid : undefined
  }

  private chosenServices(): ReadonlyArray<string> {
    const { services } = this.options
    return services === undefined ? [] : ["--services", services.join(",")]
  }

  launch(): void {
    const log = createWriteStream(this.logFile, { flags: "a" })
    const child = spawn(
      nodeBinary,
      [...nodeFlags, join(root, this.options.entry ?? "services/platform/main.ts"), "start", ...this.chosenServices()],
      {
        cwd: root,
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          ...nodeEnvironment,
          ...process.env,
          ARGUSIQ_DATA_DIR: this.dataDirectory,
          HTTP_PORT: String(this.httpPort),
          MQTT_PORT: String(this.mqttPort),
          MQTTS_PORT: String(this.mqttsPort),
          METRICS_PORT: String(this.metricsPort),
          ARGUSIQ_ADMIN_EMAIL: ADMIN_EMAIL,
          ARGUSIQ_ADMIN_PASSWORD: ADMIN_PASSWORD,
          TELEMETRY_RATE_LIMIT_PER_MINUTE: "0",
          ...this.options.env
        }
      }
    )
    child.stdout.pipe(log, { end: false })
    child.stderr.pipe(log, { end: false })
    this.child = child
  }

  async start(seconds = 120): Promise<this> {
    this.launch()
    await this.ready(seconds)
    return this
  }

  async ready(seconds = 120): Promise<void> {
    await eventually(`the platform becoming ready (log: ${this.logFile})`, seconds, async () => {
      if (!this.isRunning) return true
      const answer = await fetch(`${this.healthUrl}/ready`, { signal: AbortSignal.timeout(2000) })
      return answer.status === 200 ? true : undefined
    })
    if (!this.isRunning) throw new Error(`the platform ended: ${this.log().slice(-2000)}`)
  }

  log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, "utf8") : ""
  }

  private exited(): Promise<number | null> {
    const { child } = this
    if (child === undefined || !this.isRunning) return Promise.resolve(child?.exitCode ?? null)
    return new Promise((resolve) => child.once("exit", (code) => resolve(code)))
  }

  /** SIGKILL; the embedded PostgreSQL stays behind as an orphan. */
  async kill(): Promise<void> {
    const exited = this.exited()
    this.child?.kill("SIGKILL")
    await exited
  }

  /** SIGTERM; the exit code, within `seconds`. */
  async stop(seconds = 30): Promise<number | null> {
    const exited = this.exited()
    this.child?.kill("SIGTERM")
    const late = sleep(seconds * 1000, "late" as const, { ref: false })
    const outcome = await Promise.race([exited, late])
    if (outcome !== "late") return outcome
    this.child?.kill("SIGKILL")
    throw new Error(`the platform did not stop within ${seconds} s: ${this.log().slice(-2000)}`)
  }

  /** Ends everything this platform started and removes its files. */
  async dispose(options?: { readonly keepFiles?: boolean }): Promise<void> {
    if (this.isRunning) await this.stop().catch(() => this.kill())
    const postgres = this.postgresPid
    if (postgres !== undefined) {
      process.kill(postgres, "SIGQUIT")
      await eventually("the end of PostgreSQL", 30, () => (isAlive(postgres) ? undefined : true)).catch(() => undefined)
    }
    if (options?.keepFiles === true) return
    rmSync(this.dataDirectory, { recursive: true, force: true })
    rmSync(this.logFile, { force: true })
  }

  async request(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
    const text = await response.text()
    const json: unknown =
      text.length > 0 && /json/.test(response.headers.get("content-type") ?? "") ? JSON.parse(text) : text
    return { status: response.status, headers: response.headers, body: json }
  }

  /** A request of the administrator, who is logged in first. Fails unless the answer is 2xx. */
  async api<A>(method: string, path: string, body?: unknown): Promise<A> {
    this.token ??= await this.login()
    const call = () => this.request(method, `/api/v1${path}`, body, { authorization: `Bearer ${this.token}` })
    let answer = await call()
    if (answer.status === 401) {
      this.token = await this.login()
      answer = await call()
    }
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body as A
  }

  private async login(): Promise<string> {
    const { status, body } = await this.request("POST", "/api/v1/auth/login", {
      email: ADMIN_EMAIL,
      password: ADMIN_PASSWORD
    })
    if (status >= 300) throw new Error(`login: ${status} ${JSON.stringify(body)}`)
    return (body as { accessToken: string }).accessToken
  }

  async createDeviceType(name: string, config: unknown): Promise<string> {
    return (await this.api<{ id: string }>("POST", "/device-types", { name, config })).id
  }

  async createDevice(name: string, deviceTypeId: string): Promise<Device> {
    const { id } = await this.api<{ id: string }>("POST", "/devices", { name, deviceTypeId })
    const { key } = await this.api<{ key: string }>("POST", `/devices/${id}/api-keys`, {})
    return { id, key }
  }
}
