/**
 * What is used of kafkajs: its connections, its authentication and the requests that are no hot path. Neither its producer
 * nor its consumer: docs/decisions/0005-kafkajs.md says why. This file alone knows its insides.
 * @module
 */
import { Kafka, type KafkaConfig, logLevel } from "kafkajs"
import { createRequire } from "node:module"

/** A request in kafkajs' terms, with an encoder and a decoder of our own. */
export interface WireRequest<A> {
  readonly request: {
    readonly apiKey: number
    readonly apiVersion: number
    readonly apiName: string
    readonly encode: () => Promise<ReturnType<typeof encoded>>
  }
  readonly response: {
    readonly decode: (payload: Buffer) => Promise<A & { readonly clientSideThrottleTime: number }>
    readonly parse: (decoded: A) => Promise<A>
  }
  readonly requestTimeout?: number
}

interface PartitionOffsets {
  readonly topic: string
  readonly partitions: ReadonlyArray<{ readonly partition: number; readonly offset: string }>
}

/** One node of the cluster. Every call may throw a {@link KafkaError}. */
export interface Broker {
  readonly nodeId: number
  readonly versions: Readonly<Record<number, { readonly maxVersion: number }>> | null
  readonly connectionPool: { send<A>(request: WireRequest<A>): Promise<A> }
  initProducerId(request: {
    readonly transactionTimeout: number
  }): Promise<{ readonly producerId: string; readonly producerEpoch: number }>
  listOffsets(request: {
    readonly topics: ReadonlyArray<{
      readonly topic: string
      readonly partitions: ReadonlyArray<{ readonly partition: number; readonly timestamp: number }>
    }>
  }): Promise<{ readonly responses: ReadonlyArray<PartitionOffsets> }>
  joinGroup(request: {
    readonly groupId: string
    readonly memberId: string
    readonly sessionTimeout: number
    readonly rebalanceTimeout: number
    readonly groupProtocols: ReadonlyArray<{ readonly name: string; readonly metadata: Buffer }>
  }): Promise<{
    readonly generationId: number
    readonly leaderId: string
    readonly memberId: string
    readonly members: ReadonlyArray<{ readonly memberId: string; readonly memberMetadata: Buffer }>
  }>
  syncGroup(request: {
    readonly groupId: string
    readonly generationId: number
    readonly memberId: string
    readonly groupAssignment: ReadonlyArray<{ readonly memberId: string; readonly memberAssignment: Buffer }>
  }): Promise<{ readonly memberAssignment: Buffer }>
  heartbeat(request: {
    readonly groupId: string
    readonly groupGenerationId: number
    readonly memberId: string
  }): Promise<unknown>
  leaveGroup(request: { readonly groupId: string; readonly memberId: string }): Promise<unknown>
  listGroups(): Promise<{ readonly groups: ReadonlyArray<{ readonly groupId: string }> }>
  offsetCommit(request: {
    readonly groupId: string
    readonly groupGenerationId: number
    readonly memberId: string
    readonly topics: ReadonlyArray<PartitionOffsets>
  }): Promise<unknown>
}

export interface Cluster {
  connect(): Promise<void>
  disconnect(): Promise<void>
  refreshMetadata(): Promise<void>
  refreshMetadataIfNecessary(): Promise<void>
  addMultipleTargetTopics(topics: ReadonlyArray<string>): Promise<void>
  findTopicPartitionMetadata(topic: string): ReadonlyArray<{ readonly partitionId: number; readonly leader: number }>
  findBroker(node: { readonly nodeId: number }): Promise<Broker>
  findGroupCoordinator(group: { readonly groupId: string }): Promise<Broker>
  getNodeIds(): ReadonlyArray<string>
}

/** What kafkajs throws: `type` is the protocol's name of an error that a broker answered. */
export interface KafkaError extends Error {
  readonly type?: string
  readonly retriable?: boolean
}

export const typeOf = (error: unknown): string =>
  error instanceof Error ? ((error as KafkaError).type ?? error.name) : String(error)

type MakeCluster = (options: { readonly metadataMaxAge: number; readonly allowAutoTopicCreation: boolean }) => Cluster

export type ClientSettings = Omit<KafkaConfig, "brokers" | "logLevel" | "retry"> & {
  readonly brokers: ReadonlyArray<string>
}

const requestTimeoutMillis = 10_000

/** A client whose waiting and trying again is left to its callers. */
export const makeClient = (settings: ClientSettings): Kafka =>
  new Kafka({
    connectionTimeout: 3_000,
    requestTimeout: requestTimeoutMillis,
    ...settings,
    // Clusters made later must not all begin with the broker that happens to be first, and away.
    brokers: settings.brokers.toSorted(() => Math.random() - 0.5),
    logLevel: logLevel.NOTHING,
    retry: { retries: 2, initialRetryTime: 100, maxRetryTime: 500 }
  })

/** The client's own notion of a cluster, which its producers, consumers and administrators stand on. */
export const makeCluster = (settings: ClientSettings): Cluster => {
  const client = makeClient(settings)
  const symbol = Object.getOwnPropertySymbols(client).find(
    ({ description }) => description === "private:Kafka:createCluster"
  )
  const make = symbol === undefined ? undefined : (Reflect.get(client, symbol) as MakeCluster)
  if (make === undefined) throw new Error("This version of kafkajs is not the one that the adapter was written for")
  return make({ metadataMaxAge: 60_000, allowAutoTopicCreation: false })
}

const require = createRequire(import.meta.url)

/** What kafkajs would have thrown, for answers that are decoded without it. */
export const { createErrorFromCode: protocolError } = require("kafkajs/src/protocol/error") as {
  readonly createErrorFromCode: (code: number) => KafkaError
}

/** The bytes of a request, as kafkajs takes them. */
interface Encoder {
  buf: Buffer
  offset: number
}
const encoderClass = require("kafkajs/src/protocol/encoder") as new (size: number) => Encoder
export const encoded = (bytes: Buffer): Encoder =>
  Object.assign(new encoderClass(1), { buf: bytes, offset: bytes.length })

interface RequestQueue {
  pending: { readonly length: number }
  throttledUntil: number
  throttleCheckTimeoutId: NodeJS.Timeout | null
  checkPendingRequests(): void
  scheduleCheckPendingRequests(): void
}

/**
 * kafkajs sets a timer for requests that wait even when none does, with a negative delay: it fires every millisecond for
 * as long as there is a connection, and Node warns of it. Without a waiting request there is nothing to come back for:
 * whoever makes one wait sets the timer.
 */
const queueClass = createRequire(import.meta.url)("kafkajs/src/network/requestQueue") as {
  readonly prototype: RequestQueue
}
queueClass.prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
  if (this.throttleCheckTimeoutId !== null || this.pending.length === 0) return
  const throttledMillis = this.throttledUntil - Date.now()
  this.throttleCheckTimeoutId = setTimeout(
    () => {
      this.throttleCheckTimeoutId = null
      this.checkPendingRequests()
    },
    throttledMillis > 0 ? throttledMillis : 10
  )
}
