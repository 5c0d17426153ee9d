/**
 * A connection to a Kafka cluster that one user has to itself: brokers answer the requests of a connection one after the
 * other, so who waits long in one must not hold up another.
 * @module
 */
import { type Broker, type ClientSettings, type Cluster, makeCluster, typeOf } from "./kafkajs.ts"

/** A coordinator has moved, or reads what it has stored before it answers: seconds, on a busy machine. */
const coordinatorErrors: ReadonlySet<string> = new Set([
  "GROUP_LOAD_IN_PROGRESS",
  "GROUP_COORDINATOR_NOT_AVAILABLE",
  "NOT_COORDINATOR_FOR_GROUP"
])

/** Answers after which the same request is to be made again, of whoever leads by then. */
const movedErrors: ReadonlySet<string> = new Set([
  ...coordinatorErrors,
  "LEADER_NOT_AVAILABLE",
  "NOT_LEADER_FOR_PARTITION",
  "UNKNOWN_TOPIC_OR_PARTITION",
  "REPLICA_NOT_AVAILABLE",
  "OFFSET_NOT_AVAILABLE"
])

export const isCoordinatorAway = (error: unknown): boolean => coordinatorErrors.has(typeOf(error))

/** Answers that are neither a matter of where to ask nor of the connection. */
export const isAnswer = (error: unknown): boolean =>
  error instanceof Error && error.name === "KafkaJSProtocolError" && !movedErrors.has(typeOf(error))

export class Connection {
  readonly #settings: ClientSettings
  readonly #topics: ReadonlyArray<string>
  #cluster: Promise<Cluster> | undefined
  #connected: Cluster | undefined
  #closed = false

  constructor(settings: ClientSettings, topics: ReadonlyArray<string>) {
    this.#settings = settings
    this.#topics = topics
  }

  /** Connects where that has not been done yet. */
  cluster(): Promise<Cluster> {
    if (this.#closed) return Promise.reject(new Error("the connection to Kafka is closed: the platform is stopping"))
    this.#cluster ??= this.#connect()
    return this.#cluster
  }

  async #connect(): Promise<Cluster> {
    const cluster = makeCluster(this.#settings)
    try {
      await cluster.connect()
      await cluster.addMultipleTargetTopics(this.#topics)
      this.#connected = cluster
      return cluster
    } catch (error) {
      this.#cluster = undefined
      abandon(cluster)
      throw error
    }
  }

  /** By what is known, which may be old; undefined: nobody, or not known yet. */
  leaderOf(topic: string, partition: number): number | undefined {
    if (this.#connected === undefined) return undefined
    const leader = this.#connected
      .findTopicPartitionMetadata(topic)
      .find(({ partitionId }) => partitionId === partition)?.leader
    return leader === undefined || leader < 0 ? undefined : leader
  }

  async broker(nodeId: number): Promise<Broker> {
    return (await this.cluster()).findBroker({ nodeId })
  }

  async anyBroker(): Promise<Broker> {
    const cluster = await this.cluster()
    let last: unknown = new Error("the Kafka cluster has no broker")
    for (const nodeId of cluster.getNodeIds()) {
      try {
        return await cluster.findBroker({ nodeId: Number(nodeId) })
      } catch (error) {
        last = error
      }
    }
    throw last
  }

  async coordinator(groupId: string): Promise<Broker> {
    return (await this.cluster()).findGroupCoordinator({ groupId })
  }

  /** Learns who leads what. */
  async refresh(): Promise<void> {
    await (await this.cluster()).refreshMetadata()
  }

  /** After `error`: looks again where that helps, and else gives the connections up, so that the next request makes new ones. */
  async recover(error: unknown): Promise<void> {
    if (isAnswer(error)) return
    if (movedErrors.has(typeOf(error))) {
      try {
        return await this.refresh()
      } catch {
        // It is the connection after all.
      }
    }
    this.reset()
  }

  reset(): void {
    const cluster = this.#connected
    this.#cluster = undefined
    this.#connected = undefined
    if (cluster !== undefined) abandon(cluster)
  }

  close(): void {
    this.#closed = true
    const connecting = this.#cluster
    this.reset()
    connecting?.then(abandon, () => undefined)
  }
}

/** Nobody waits for it: kafkajs closes a connection when the last request on it has been answered or has timed out. */
const abandon = (cluster: Cluster): void => {
  cluster.disconnect().catch(() => undefined)
}
