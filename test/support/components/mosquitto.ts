/**
 * A real mosquitto of a test's own: free port, fresh directory, password file, and an access list by which a device
 * publishes to its own topics only. It outlives its kill: `start` after `kill` or `stop` finds what it had saved.
 * @module
 */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { eventually, freePort } from "../PlatformProcess.ts"
import { components, type Running } from "./running.ts"

/** User of the platform: reads all telemetry. */
export const BRIDGE_USER = "bridge"
export const BRIDGE_PASSWORD = "p@ss/word#1"

export interface MosquittoDevice {
  readonly id: string
  readonly key: string
  /** Topics that it may publish to besides its own. */
  readonly topics?: ReadonlyArray<string>
}

export interface MosquittoOptions {
  readonly devices: ReadonlyArray<MosquittoDevice>
  /** More lines of its configuration. */
  readonly configuration?: ReadonlyArray<string>
}

const accessList = (devices: ReadonlyArray<MosquittoDevice>) =>
  [
    `user ${BRIDGE_USER}`,
    "topic read v1/telemetry/#",
    "topic read devices/+/telemetry",
    ...devices.flatMap(({ id, topics = [] }) => [`user ${id}`, ...topics.map((topic) => `topic write ${topic}`)]),
    "pattern write devices/%u/telemetry",
    "pattern write v1/telemetry/+/%u"
  ].join("\n")

const writeUsers = async (directory: string, devices: ReadonlyArray<MosquittoDevice>) => {
  const passwords = join(directory, "passwords")
  const users = [{ id: BRIDGE_USER, key: BRIDGE_PASSWORD }, ...devices]
  writeFileSync(passwords, `${users.map(({ id, key }) => `${id}:${key}`).join("\n")}\n`, { mode: 0o600 })
  await components.hashMosquittoPasswords(passwords)
  writeFileSync(join(directory, "access"), `${accessList(devices)}\n`, { mode: 0o600 })
}

export class Mosquitto {
  readonly port: number
  readonly directory: string
  #running: Running | undefined

  private constructor(port: number, directory: string) {
    this.port = port
    this.directory = directory
  }

  /** Not started yet. */
  static async prepare(options: MosquittoOptions): Promise<Mosquitto> {
    const directory = mkdtempSync(join(tmpdir(), "argusiq-mosquitto-"))
    const port = await freePort()
    await writeUsers(directory, options.devices)
    writeFileSync(
      join(directory, "mosquitto.conf"),
      [
        ...(process.getuid?.() === 0 ? ["user root"] : []), // else it could not read a directory of root's
        `listener ${port} 127.0.0.1`,
        "allow_anonymous false",
        `password_file ${join(directory, "passwords")}`,
        `acl_file ${join(directory, "access")}`,
        "persistence true",
        `persistence_location ${directory}/`,
        "max_queued_messages 0",
        "max_inflight_messages 0",
        "set_tcp_nodelay true",
        `log_dest file ${join(directory, "log")}`,
        ...(options.configuration ?? []),
        ""
      ].join("\n")
    )
    return new Mosquitto(port, directory)
  }

  /** As `MQTT_URL` of a platform. */
  get url(): string {
    return `mqtt://${BRIDGE_USER}:${encodeURIComponent(BRIDGE_PASSWORD)}@127.0.0.1:${this.port}`
  }

  get pid(): number {
    return this.#started.pid
  }

  get #started(): Running {
    if (this.#running === undefined) throw new Error("mosquitto is not running")
    return this.#running
  }

  async start(): Promise<this> {
    const running = await components.start("mosquitto", {
      directory: this.directory,
      parameters: ["-c", join(this.directory, "mosquitto.conf")]
    })
    this.#running = running
    await eventually("mosquitto answering", 30, () => {
      const ended = running.ended()
      if (ended !== undefined) throw new Error(`mosquitto ended with ${ended}: ${this.log()}`)
      return new Promise<true>((resolve, reject) => {
        const socket = connect(this.port, "127.0.0.1")
        socket.once("connect", () => {
          socket.destroy()
          resolve(true)
        })
        socket.once("error", reject)
      })
    })
    return this
  }

  log(): string {
    return readFileSync(join(this.directory, "log"), "utf8")
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const running = this.#running
    this.#running = undefined
    await running?.end(signal)
  }

  /** SIGKILL: what it has not saved is gone. */
  kill(): Promise<void> {
    return this.#end("SIGKILL")
  }

  /** SIGTERM: it saves what it holds. */
  stop(): Promise<void> {
    return this.#end("SIGTERM")
  }

  /** Knows these devices from now on, and no others. */
  async admit(devices: ReadonlyArray<MosquittoDevice>): Promise<void> {
    const reloads = () => this.log().split("Reloading config").length
    const before = reloads()
    await writeUsers(this.directory, devices)
    await this.#started.signal("SIGHUP")
    await eventually("mosquitto reading its users", 30, () => (reloads() > before ? true : undefined), 10)
  }

  /** Lets it write all it holds to its file; what it has acknowledged until now survives a kill. */
  async save(): Promise<void> {
    const file = join(this.directory, "mosquitto.db")
    const savedAt = () => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
    const before = savedAt()
    await this.#started.signal("SIGUSR1")
    await eventually("mosquitto saving", 30, () => (savedAt() > before ? true : undefined), 10)
  }

  /** Ends it and removes its files. */
  async dispose(): Promise<void> {
    await this.kill()
    rmSync(this.directory, { recursive: true, force: true })
  }
}
