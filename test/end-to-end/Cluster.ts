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
  static async start(database: Readonly<Record<string, string>>): Promise<Cluster> {
    const [kafka, redis, mosquitto] = await Promise.all([
      KafkaCluster.start(),
      RedisServer.started(),
      Mosquitto.prepare({ devices: [] }).then((prepared) => prepared.start())
    ])
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
          DATABASE_PIPELINE_CONNECTIONS: "6",
          DATABASE_APP_CONNECTIONS: "2"
        }
        const process = await PlatformProcess.prepare({ services, env })
        cluster.#processes.push({ services, process })
      }
      await Promise.all(cluster.#processes.map(({ process }) => process.start(120)))
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
