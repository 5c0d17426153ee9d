/**
 * Real Kafka brokers (KRaft) for tests: on free ports of the loopback interface, in fresh directories, removed afterwards.
 * @module
 */
import { randomBytes } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { eventually, freePort } from "../PlatformProcess.ts"
import { components, type Running } from "./running.ts"

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
  running: Running | undefined
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
  readonly #properties: Readonly<Record<string, string>>

  private constructor(directory: string, brokers: ReadonlyArray<Broker>, properties: Readonly<Record<string, string>>) {
    this.#directory = directory
    this.#brokers = brokers
    this.#properties = properties
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
      return { port, directory: home, running: undefined }
    })
    const cluster = new KafkaCluster(directory, brokers, properties)
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
    const { running } = this.#broker(id)
    if (running === undefined) throw new Error(`Broker ${id} is not running`)
    return running.pid
  }

  /** Starts a broker, again after `kill` with what it had stored, and waits until it listens. */
  async start(id = 1): Promise<void> {
    const broker = this.#broker(id)
    const { directory, port } = broker
    const running = await components.startKafka({
      directory,
      port,
      brokers: this.#brokers.length,
      properties: this.#properties
    })
    broker.running = running
    const up = await eventually(`Kafka broker ${id} listening`, 60, async () => running.ended() ?? listens(port))
    if (up !== true) {
      throw new Error(
        `Kafka broker ${id} ended with ${up}\n${readFileSync(join(directory, "output"), "utf8").slice(-4_000)}`
      )
    }
  }

  /** SIGKILL, or another signal that ends it; waits for the end. */
  async kill(id = 1, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const broker = this.#broker(id)
    const { running } = broker
    broker.running = undefined
    await running?.end(signal)
  }

  /** It answers nothing and closes nothing. */
  pause(id = 1): void {
    this.#broker(id).running?.freeze()
  }

  resume(id = 1): void {
    this.#broker(id).running?.thaw()
  }

  async remove(): Promise<void> {
    await Promise.all(this.#brokers.map((_, index) => this.kill(index + 1)))
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
