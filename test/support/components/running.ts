/**
 * Where the components of tests run: as processes of this machine, or, where TEST_COMPONENTS is the URL of a module, as that
 * one's `components` start them (`npm run test:containers`: in containers).
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync, openSync } from "node:fs"
import { join } from "node:path"
import { freeze } from "../processes.ts"
import { debianProgram } from "./debian.ts"
import { kafkaJars } from "./kafkaJars.ts"

/** A component that a test has started. */
export interface Running {
  readonly pid: number
  /** The exit code or signal with which it ended; undefined while it runs. */
  ended(): string | undefined
  signal(signal: NodeJS.Signals): Promise<void>
  /** Ends it by a signal; returns when it has ended, at once when it had before. */
  end(signal: NodeJS.Signals): Promise<void>
  /** It stands still when this returns: its connections stay open, nothing answers. */
  freeze(): void
  thaw(): void
}

export interface KafkaBroker {
  /** Holds its server.properties and its data; made by one who starts it as a process. */
  readonly directory: string
  readonly port: number
  /** How many the cluster has. */
  readonly brokers: number
  /** What its server.properties have besides the usual. */
  readonly properties: Readonly<Record<string, string>>
}

export interface OutsidePostgres {
  readonly port: number
  /** Of the superuser `postgres`. */
  readonly password: string
  readonly stop: () => Promise<void>
}

export interface Components {
  /** Starts a program whose files lie in `directory`; its output goes to the file `output` there. */
  start(
    program: "redis-server" | "mosquitto",
    options: { readonly directory: string; readonly parameters: ReadonlyArray<string> }
  ): Promise<Running>
  startKafka(broker: KafkaBroker): Promise<Running>
  /** Replaces the passwords in mosquitto's file of users by their hashes. */
  hashMosquittoPasswords(file: string): Promise<void>
  /** The PostgreSQL of a test run, with these settings; absent: the platform's embedded one. */
  startPostgres?(settings: Readonly<Record<string, string>>): Promise<OutsidePostgres>
}

class RunningProcess implements Running {
  readonly #child: ChildProcess
  #failure: string | undefined

  constructor(program: string, parameters: ReadonlyArray<string>, directory: string) {
    const output = openSync(join(directory, "output"), "a")
    this.#child = spawn(program, parameters, { stdio: ["ignore", output, output] })
    this.#child.once("error", (error) => (this.#failure = error.message))
    closeSync(output)
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(this.#failure ?? "The program could not be started")
    return this.#child.pid
  }

  ended(): string | undefined {
    return this.#failure ?? (this.#child.exitCode ?? this.#child.signalCode)?.toString()
  }

  async signal(signal: NodeJS.Signals): Promise<void> {
    this.#child.kill(signal)
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.ended() !== undefined) return
    const ended = once(this.#child, "exit")
    this.#child.kill(signal)
    await ended
  }

  freeze(): void {
    freeze(this.pid)
  }

  thaw(): void {
    this.#child.kill("SIGCONT")
  }
}

const java = ["-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]

const processes: Components = {
  start: async (program, { directory, parameters }) =>
    new RunningProcess(debianProgram(program, program), parameters, directory),
  startKafka: async ({ directory }) =>
    new RunningProcess(
      debianProgram("java", "openjdk-17-jre-headless"),
      [...java, "-cp", join(kafkaJars(), "*"), "kafka.Kafka", join(directory, "server.properties")],
      directory
    ),
  hashMosquittoPasswords: async (file) => {
    execFileSync(debianProgram("mosquitto_passwd", "mosquitto"), ["-U", file])
  }
}

const module = process.env["TEST_COMPONENTS"]

export const components: Components =
  module === undefined ? processes : ((await import(module)) as { readonly components: Components }).components
