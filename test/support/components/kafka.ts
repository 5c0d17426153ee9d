/**
 * Real Kafka brokers (KRaft) for tests, from the jars of Maven Central: on free ports of the loopback interface, in fresh
 * directories, stopped by their process ids and removed.
 * @module
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { eventually, freePort } from "../PlatformProcess.ts"
import { freeze } from "../processes.ts"
import { debianProgram } from "./debian.ts"

const pom = fileURLToPath(new URL("kafka-pom.xml", import.meta.url))
const cache = fileURLToPath(new URL("../../../node_modules/.cache/argusiq-kafka", import.meta.url))

/** The directory of the jars, filled by Maven at the first use and kept. */
export const kafkaJars = (): string => {
  const version = /<version>(\d+\.\d+\.\d+)<\/version>/.exec(readFileSync(pom, "utf8"))?.[1] ?? "unknown"
  const directory = join(cache, version)
  if (existsSync(directory)) return directory
  mkdirSync(cache, { recursive: true })
  const partial = mkdtempSync(join(cache, "partial-"))
  const { status, error, stdout, stderr } = spawnSync(
    debianProgram("mvn", "maven"),
    ["-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", `-DoutputDirectory=${partial}`],
    { encoding: "utf8" }
  )
  if (status !== 0) {
    rmSync(partial, { recursive: true })
    const why = error?.message ?? `${stdout}${stderr}`
    throw new Error(`Kafka's jars could not be had with Maven: ${why}`)
  }
  // Whoever is first wins; what another process has put there meanwhile is the same.
  if (existsSync(directory)) rmSync(partial, { recursive: true })
  else renameSync(partial, directory)
  return directory
}

export interface KafkaOptions {
  /** 1, or 3 with replication factor 3 and a minimum of 2 in-sync replicas. */
  readonly brokers?: 1 | 3
  /** More lines of server.properties. `{"log.flush.interval.messages": "1"}`: each append is flushed, as one broker alone needs to be
   * durable through a crash of its machine. */
  readonly properties?: Readonly<Record<string, string>>
}

interface Broker {
  readonly port: number
  readonly directory: string
  process: ChildProcess | undefined
}

const listens = (port: number): Promise<true | undefined> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.on("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.on("error", () => resolve(undefined))
  })

export class KafkaCluster {
  /** As `KAFKA_BROKERS` has them. */
  readonly addresses: string
  readonly #brokers: ReadonlyArray<Broker>
  readonly #directory: string

  private constructor(directory: string, brokers: ReadonlyArray<Broker>) {
    this.#directory = directory
    this.#brokers = brokers
    this.addresses = brokers.map(({ port }) => `127.0.0.1:${port}`).join(",")
  }

  static async start({ brokers: count = 1, properties = {} }: KafkaOptions = {}): Promise<KafkaCluster> {
    const directory = mkdtempSync(join(tmpdir(), "argusiq-kafka-"))
    const clusterId = randomBytes(16).toString("base64url")
    const ids = Array.from({ length: count }, (_, index) => index + 1)
    const ports: Array<number> = []
    while (ports.length < 2 * count) {
      const port = await freePort()
      if (!ports.includes(port)) ports.push(port)
    }
    const controllers = ports.slice(count)
    const voters = ids.map((id) => `${id}@127.0.0.1:${controllers[id - 1]}`).join(",")
    const brokers = ids.map((id): Broker => {
      const port = ports[id - 1] as number
      const home = join(directory, String(id))
      const data = join(home, "data")
      mkdirSync(data, { recursive: true })
      const settings = {
        "process.roles": "broker,controller",
        "node.id": id,
        listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllers[id - 1]}`,
        "advertised.listeners": `PLAINTEXT://127.0.0.1:${port}`,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": voters,
        "log.dirs": data,
        "auto.create.topics.enable": false,
        "offsets.topic.num.partitions": 3,
        "offsets.topic.replication.factor": count,
        "transaction.state.log.replication.factor": count,
        "default.replication.factor": count,
        "min.insync.replicas": count === 3 ? 2 : 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1_000,
        "broker.session.timeout.ms": 6_000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        ...properties
      }
      const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}`)
      writeFileSync(join(home, "server.properties"), `${lines.join("\n")}\n`)
      // What formatting the storage writes; the rest is the release's defaults.
      const identity = ["version=1", `cluster.id=${clusterId}`, `node.id=${id}`]
      identity.push(`directory.id=${randomBytes(16).toString("base64url").replace(/^-/, "A")}`)
      writeFileSync(join(data, "meta.properties"), `${identity.join("\n")}\n`)
      return { port, directory: home, process: undefined }
    })
    const cluster = new KafkaCluster(directory, brokers)
    try {
      await Promise.all(ids.map((id) => cluster.start(id)))
    } catch (error) {
      await cluster.remove()
      throw error
    }
    return cluster
  }

  #broker(id: number): Broker {
    const broker = this.#brokers[id - 1]
    if (broker === undefined) throw new Error(`There is no broker ${id}`)
    return broker
  }

  pid(id = 1): number {
    const pid = this.#broker(id).process?.pid
    if (pid === undefined) throw new Error(`Broker ${id} is not running`)
    return pid
  }

  /** Starts a broker, again after `kill` with what it had stored, and waits until it listens. */
  async start(id = 1): Promise<void> {
    const broker = this.#broker(id)
    const output = openSync(join(broker.directory, "output"), "a")
    const java = ["-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", join(kafkaJars(), "*")]
    const child = spawn(
      debianProgram("java", "openjdk-17-jre-headless"),
      [...java, "kafka.Kafka", join(broker.directory, "server.properties")],
      {
        stdio: ["ignore", output, output]
      }
    )
    broker.process = child
    let gone: string | undefined
    child.on(
      "error",
      (error) => (gone = `${error.message}. Install Java with: apt-get install -y openjdk-17-jre-headless`)
    )
    child.on("exit", (code, signal) => (gone ??= `it ended (${code ?? signal})`))
    const up = await eventually(`Kafka broker ${id} listening`, 60, async () =>
      gone === undefined ? listens(broker.port) : gone
    )
    if (up !== true) {
      throw new Error(
        `Kafka broker ${id}: ${up}\n${readFileSync(join(broker.directory, "output"), "utf8").slice(-4_000)}`
      )
    }
  }

  /** SIGKILL, or another signal that ends it; waits for the end. */
  async kill(id = 1, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const broker = this.#broker(id)
    const child = broker.process
    broker.process = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once("exit", resolve))
    child.kill(signal)
    await ended
  }

  /** SIGSTOP: it answers nothing and closes nothing. */
  pause(id = 1): void {
    const pid = this.#broker(id).process?.pid
    if (pid !== undefined) freeze(pid)
  }

  resume(id = 1): void {
    this.#broker(id).process?.kill("SIGCONT")
  }

  async remove(): Promise<void> {
    await Promise.all(this.#brokers.map((_, index) => this.kill(index + 1)))
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
