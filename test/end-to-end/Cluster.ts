/**
 * One platform of many processes: Kafka, Redis, mosquitto and a PostgreSQL from outside, two processes for each service.
 * @module
 */
import { type ServiceName } from "@argusiq/platform/services.ts"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { KafkaCluster } from "../support/components/kafka.ts"
import { Mosquitto } from "../support/components/mosquitto.ts"
import { RedisServer } from "../support/components/redis.ts"
import { PlatformProcess } from "../support/PlatformProcess.ts"

/** What is started twice; together all services, none of them in two. */
const shares: ReadonlyArray<ReadonlyArray<ServiceName>> = [
  ["bridge"],
  ["dispatcher", "normalizer"],
  ["telemetry-writer", "jobs"],
  ["api"]
]

export interface ClusterOptions {
  /** Program of the processes; the `argusiq` command when absent. */
  readonly entry?: string
  /** More settings of all processes. */
  readonly env?: Readonly<Record<string, string>>
  /** Within which all processes have to be ready; 120 when absent. */
  readonly startSeconds?: number
}

export class Cluster {
  readonly kafka: KafkaCluster
  readonly redis: RedisServer
  readonly mosquitto: Mosquitto
  readonly #secrets = mkdtempSync(join(tmpdir(), "argusiq-secrets-"))
  readonly #processes: Array<{ readonly services: ReadonlyArray<ServiceName>; readonly process: PlatformProcess }> = []

  private constructor(kafka: KafkaCluster, redis: RedisServer, mosquitto: Mosquitto) {
    this.kafka = kafka
    this.redis = redis
    this.mosquitto = mosquitto
  }

  /** All processes at the same time on an empty database: which of them migrates it is chance. */
  static async start(database: Readonly<Record<string, string>>, options: ClusterOptions = {}): Promise<Cluster> {
    const starting = [
      KafkaCluster.start(),
      RedisServer.started(),
      Mosquitto.prepare({ devices: [] }).then((prepared) => prepared.start())
    ] as const
    const [kafka, redis, mosquitto] = await Promise.all(starting).catch(async (error: unknown) => {
      const [startedKafka, startedRedis, startedMosquitto] = await Promise.allSettled(starting)
      if (startedKafka.status === "fulfilled") await startedKafka.value.remove()
      if (startedRedis.status === "fulfilled") await startedRedis.value.dispose()
      if (startedMosquitto.status === "fulfilled") await startedMosquitto.value.dispose()
      throw error
    })
    const cluster = new Cluster(kafka, redis, mosquitto)
    try {
      for (const services of [...shares, ...shares]) {
        const env = {
          ...database,
          KAFKA_BROKERS: kafka.addresses,
          REDIS_URL: redis.url,
          MQTT_URL: mosquitto.url,
          ARGUSIQ_SECRETS_DIR: cluster.#secrets,
          DATABASE_OWNER_CONNECTIONS: "2",
          DATABASE_PIPELINE_CONNECTIONS: "7",
          DATABASE_APP_CONNECTIONS: "2",
          ARGUSIQ_SERVICES: services.join(","),
          ...options.env
        }
        const entry = options.entry === undefined ? {} : { entry: options.entry }
        const process = await PlatformProcess.prepare({ services, env, ...entry })
        cluster.#processes.push({ services, process })
      }
      await Promise.all(cluster.#processes.map(({ process }) => process.start(options.startSeconds ?? 120)))
    } catch (error) {
      await cluster.dispose()
      throw error
    }
    return cluster
  }

  get processes(): ReadonlyArray<PlatformProcess> {
    return this.#processes.map(({ process }) => process)
  }

  /** The two processes that run a service. */
  both(service: ServiceName): readonly [PlatformProcess, PlatformProcess] {
    const [one, other] = this.#processes.filter(({ services }) => services.includes(service))
    if (one === undefined || other === undefined) throw new Error(`${service} is not run twice`)
    return [one.process, other.process]
  }

  /** Ends everything and removes its files. */
  async dispose(): Promise<void> {
    await Promise.all(this.processes.map((process) => process.dispose()))
    await Promise.all([this.kafka.remove(), this.redis.dispose(), this.mosquitto.dispose()])
    rmSync(this.#secrets, { recursive: true, force: true })
  }
}
