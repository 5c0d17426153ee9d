/**
 * Two processes of each service on Kafka, Redis, mosquitto and a PostgreSQL from outside, under steady load over MQTT and HTTP,
 * with the ledger kept. What ends is started again, as whoever runs a cluster does; faults are done to it from outside.
 * @module
 */
import { type Bus } from "@argusiq/layers/bus/Bus.ts"
import * as KafkaBus from "@argusiq/layers/bus/kafka/KafkaBus.ts"
import { type SafeguardSwitches } from "@argusiq/layers/Safeguards.ts"
import { type ServiceName } from "@argusiq/platform/services.ts"
import { type Effect, Layer, Logger, ManagedRuntime } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { Cluster } from "../end-to-end/Cluster.ts"
import { type Device, eventually, type PlatformProcess } from "../support/PlatformProcess.ts"
import { freeze } from "../support/processes.ts"
import { connectSuperuser } from "../support/superuser.ts"
import { ExternalPostgres } from "./ExternalPostgres.ts"
import { startHttpSender } from "./httpSender.ts"
import { inspectStages } from "./inspection.ts"
import { createLedgerType, type Kill, ledgerTypeConfig, prepareDevices, readHoldings, startSender } from "./kills.ts"
import { randomFrom } from "../support/random.ts"
import { joined, judge, type Ledger, readLedger, total, type Verdict } from "./ledger.ts"

export interface ClusterLoad {
  readonly seed: number
  readonly overMqtt: number
  readonly overHttp: number
  /** Over MQTT. */
  readonly messagesPerSecond: number
  /** The safeguards to turn off. */
  readonly unsafe?: ReadonlyArray<keyof SafeguardSwitches>
  readonly env?: Readonly<Record<string, string>>
}

export interface ClusterReport {
  readonly sent: number
  readonly repeatedByDevices: number
  readonly acknowledged: number
  readonly stored: number
  readonly redelivered: number
  /** Versions of the device type that were published during the run. */
  readonly versions: number
  /** Processes that ended without having been killed, with the end of their log. */
  readonly endedByThemselves: ReadonlyArray<string>
  readonly verdict: Verdict
}

/** What a process of these services writes to; stalled, a kill finds it with work in its hands. */
const sinkOf = (service: ServiceName): "kafka" | "postgres" =>
  service === "telemetry-writer" || service === "api" ? "postgres" : "kafka"

/** Of a machine that may be busy with other things. */
const START_SECONDS = 400
const HTTP_PAUSE_MILLIS = 50
const STALL_MILLIS = 300
const LOOK_EVERY_MILLIS = 250

export class ClusterUnderLoad {
  readonly cluster: Cluster
  readonly random: () => number
  readonly #load: ClusterLoad
  readonly #directory: string
  readonly #postgres: ExternalPostgres
  readonly #log: ManagedRuntime.ManagedRuntime<Bus, unknown>
  readonly #killed = new Set<PlatformProcess>()
  readonly #frozen = new Set<PlatformProcess>()
  readonly #endedByThemselves: Array<string> = []
  #typeId = ""
  #version = 1
  #devices: ReadonlyArray<Device> = []
  #sender: ReturnType<typeof startSender> | undefined
  #httpSender: ReturnType<typeof startHttpSender> | undefined
  #watch: NodeJS.Timeout | undefined

  private constructor(load: ClusterLoad, directory: string, postgres: ExternalPostgres, cluster: Cluster) {
    this.#load = load
    this.random = randomFrom(load.seed)
    this.#directory = directory
    this.#postgres = postgres
    this.cluster = cluster
    this.#log = ManagedRuntime.make(
      Layer.provide(KafkaBus.layer({ brokers: cluster.kafka.addresses.split(","), clientId: "test" }), Logger.layer([]))
    )
  }

  /** Runs `disturb` on a cluster that stores what it is sent; afterwards everything is stored, counted and removed. */
  static async run(load: ClusterLoad, disturb: (world: ClusterUnderLoad) => Promise<void>): Promise<ClusterReport> {
    const directory = mkdtempSync(join(tmpdir(), "argusiq-cluster-faults-"))
    const postgres = new ExternalPostgres(directory, { max_connections: "120" })
    let world: ClusterUnderLoad | undefined
    try {
      await postgres.start()
      const { unsafe = [] } = load
      const cluster = await Cluster.start(postgres.environment, {
        ...(unsafe.length > 0 && { entry: "test/faults/unsafe-platform.ts" }),
        startSeconds: START_SECONDS,
        env: { ...(unsafe.length > 0 && { UNSAFE: unsafe.join(",") }), ...load.env }
      })
      world = new ClusterUnderLoad(load, directory, postgres, cluster)
      await world.#begin()
      await disturb(world)
      return await world.#conclude()
    } finally {
      if (world !== undefined) await world.#dispose()
      await postgres.stop()
      rmSync(directory, { recursive: true, force: true })
    }
  }

  get #ledgers(): readonly [string, string] {
    return [join(this.#directory, "mqtt.ledger"), join(this.#directory, "http.ledger")]
  }

  async #begin(): Promise<void> {
    const { overHttp, overMqtt, messagesPerSecond } = this.#load
    const [api] = this.cluster.both("api")
    this.#typeId = await createLedgerType(api)
    this.#devices = await prepareDevices(api, overMqtt + overHttp, this.#typeId)
    const devices = this.#devices.slice(0, overMqtt)
    await this.cluster.mosquitto.admit(devices)
    const [overMqttLedger, overHttpLedger] = this.#ledgers
    this.#sender = startSender({
      port: this.cluster.mosquitto.port,
      ledger: overMqttLedger,
      devices,
      messagesPerSecond,
      maxOutstanding: 200,
      drainMillis: 120_000
    })
    this.#httpSender = startHttpSender({
      devices: this.#devices.slice(overMqtt),
      bridges: this.cluster.both("bridge"),
      ledger: overHttpLedger,
      pauseMillis: HTTP_PAUSE_MILLIS
    })
    await eventually("the first readings", 60, async () => ((await this.storedCount()) > 200 ? true : undefined))
    this.#watch = setInterval(() => this.#startWhatHasEnded(), LOOK_EVERY_MILLIS)
  }

  #startWhatHasEnded(): void {
    for (const process of this.cluster.processes) {
      if (process.isRunning) continue
      if (!this.#killed.delete(process)) this.#endedByThemselves.push(process.log().slice(-1_500))
      process.launch()
    }
  }

  book(): Ledger {
    const { overHttp, overMqtt } = this.#load
    const [overMqttLedger, overHttpLedger] = this.#ledgers
    return joined(readLedger(overMqttLedger, overMqtt), readLedger(overHttpLedger, overHttp))
  }

  async #query<Row extends object>(statement: string): Promise<ReadonlyArray<Row>> {
    const sql = await connectSuperuser(this.#directory)
    try {
      return await sql.query<Row>(statement)
    } finally {
      await sql.close()
    }
  }

  async storedCount(): Promise<number> {
    const [row] = await this.#query<{ count: number }>("select count(*)::int as count from telemetry_frames")
    return row?.count ?? 0
  }

  readonly #onLog = <A, E>(effect: Effect.Effect<A, E, Bus>): Promise<A> => this.#log.runPromise(effect)

  /** Does something that kills, and says what it found on the way at that moment. */
  async kill(victim: string, strike: () => Promise<void>): Promise<Kill> {
    const found = await eventually("a look at the stages", 120, () =>
      this.#onLog(inspectStages((statement) => this.#query(statement)))
    )
    const { acknowledged, sent } = this.book()
    await strike()
    return {
      victim,
      notStored: total(sent) - found.stored,
      notAcknowledged: total(sent) - total(acknowledged),
      ...found.backlog,
      // The stages were not at rest: the difference of two of them at different moments says nothing.
      redelivered: undefined
    }
  }

  /** While what it writes to stands still for a moment, so that what it was doing is under way. */
  async #amidWork(service: ServiceName, strike: () => Promise<void>): Promise<void> {
    const { kafka } = this.cluster
    const sink = sinkOf(service)
    if (sink === "kafka") kafka.pause()
    else this.#postgres.freeze()
    try {
      await sleep(STALL_MILLIS)
      await strike()
    } finally {
      if (sink === "kafka") kafka.resume()
      else this.#postgres.thaw()
    }
  }

  /** SIGKILL of some of the processes that run a service. */
  killProcesses(service: ServiceName, processes: ReadonlyArray<PlatformProcess>, amidWork: boolean): Promise<void> {
    const strike = async () => {
      for (const process of processes) if (process.isRunning) this.#killed.add(process)
      await Promise.all(processes.map((process) => process.kill()))
    }
    return amidWork ? this.#amidWork(service, strike) : strike()
  }

  killPostgres(): Promise<void> {
    return this.#postgres.kill()
  }

  async killRedis(downMillis: number): Promise<void> {
    await this.cluster.redis.kill()
    await sleep(downMillis)
    await this.cluster.redis.start()
  }

  async killKafka(downMillis: number): Promise<void> {
    await this.cluster.kafka.kill()
    await sleep(downMillis)
    await this.cluster.kafka.start()
  }

  /** SIGSTOP amid its work, and SIGCONT after `millis`. */
  async freezeProcess(service: ServiceName, process: PlatformProcess, millis: number): Promise<void> {
    await eventually("a running process", 60, () => (process.isRunning ? true : undefined))
    const { pid } = process
    this.#frozen.add(process)
    try {
      await this.#amidWork(service, async () => freeze(pid))
      await sleep(millis)
    } finally {
      this.#frozen.delete(process)
      globalThis.process.kill(pid, "SIGCONT")
    }
  }

  /** Publishes the next version of the devices' type, through whichever api answers; takes as long as that takes. */
  async publishVersion(): Promise<void> {
    const next = this.#version + 1
    const path = `/device-types/${this.#typeId}`
    let turn = 0
    await eventually("the publishing of a version", 120, async () => {
      const apis = this.cluster.both("api").filter((api) => !this.#frozen.has(api) && api.isRunning)
      const api = apis[turn++ % Math.max(1, apis.length)]
      if (api === undefined) return undefined
      const { items } = await api.api<{ items: ReadonlyArray<{ number: number; state: string }> }>(
        "GET",
        `${path}/versions`
      )
      if (items.some(({ number, state }) => number === next && state === "published")) return true
      await api.api("PUT", `${path}/draft`, { config: ledgerTypeConfig(next) })
      await api.api("POST", `${path}/publish`)
      return true
    })
    this.#version = next
  }

  async #conclude(): Promise<ClusterReport> {
    const { outstanding } = (await this.#sender?.finish()) ?? { outstanding: 0 }
    if (outstanding > 0) throw new Error(`mosquitto did not acknowledge ${outstanding} messages`)
    await this.#httpSender?.finish()
    await eventually("an empty pipeline", 300, async () => {
      const { backlog } = await this.#onLog(inspectStages((statement) => this.#query(statement)))
      return Object.values(backlog).every((records) => records === 0) && (await this.#standsStill()) ? true : undefined
    })
    const book = this.book()
    const { redelivered } = await this.#onLog(inspectStages((statement) => this.#query(statement)))
    const holdings = await readHoldings(
      { query: (statement) => this.#query(statement), onLog: (reading) => this.#onLog(reading) },
      this.#devices
    )
    return {
      sent: total(book.sent),
      repeatedByDevices: book.repeated,
      acknowledged: total(book.acknowledged),
      stored: holdings.stored.reduce((sum, sequences) => sum + sequences.length, 0),
      redelivered,
      versions: this.#version - 1,
      endedByThemselves: this.#endedByThemselves,
      verdict: judge(book, holdings)
    }
  }

  /** Whether everything that mosquitto holds has been read: nothing comes any more. */
  async #standsStill(): Promise<boolean> {
    const before = await this.storedCount()
    await sleep(5_000)
    return (await this.storedCount()) === before
  }

  async #dispose(): Promise<void> {
    clearInterval(this.#watch)
    this.#sender?.kill()
    this.#httpSender?.stop()
    await this.#log.dispose()
    await this.cluster.dispose()
  }
}
