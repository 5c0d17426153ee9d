/**
 * The demultiplexer: one message of a gateway, or of a device with several ports, becomes one record with an entry for each
 * child or port. It keeps the sender's key, so that a message stays one unit and a device's messages stay in order.
 * @module
 */
import { type FailedEntry, resolveChildren } from "@argusiq/domain/demultiplex.ts"
import type { Poison } from "@argusiq/domain/errors.ts"
import { entryLetters, failureOf } from "@argusiq/domain/failed-entries.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import type { LogicalDevices } from "@argusiq/domain/readings.ts"
import { jsonBytes } from "@argusiq/domain/record-json.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { BusRecord, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { makePauses } from "@argusiq/layers/bus/pauses.ts"
import { type DeviceTypeVersions, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { stampOf, typesOfVersions } from "@argusiq/layers/profiles/stampedVersions.ts"
import type { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { type TransactionAdvance, Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { Effect, Metric, Result } from "effect"
import { makeResolver } from "./children.ts"
import { Failpoints } from "./Failpoints.ts"
import { type GatewayMessage, openGatewayMessage, retriedEntry } from "./gatewayMessages.ts"
import { splitPortsMessage } from "./ports.ts"

const SERVICE = "demux"

const counter = (name: string) =>
  Metric.withAttributes(Metric.counter(name, { incremental: true }), { service: SERVICE })
const demultiplexed = counter("argusiq_demultiplexed_messages_total")
const logicalDevices = counter("argusiq_logical_devices_total")
const failures = counter("argusiq_failed_messages_total")

type Types = ReadonlyMap<string, DeviceTypeVersions>

/** What becomes of a batch, collected message by message. */
interface Collected {
  readonly publish: Array<BusRecord>
  readonly deadLetters: Array<Outcome["deadLetters"][number]>
  readonly transactions: Array<TransactionAdvance>
  entries: number
}
const nothingYet = (): Collected => ({ publish: [], deadLetters: [], transactions: [], entries: 0 })

/** As the messages came, whatever was found out first. */
const inOrder = (deadLetters: Collected["deadLetters"]) =>
  deadLetters.toSorted((one, other) => Number(one.record.offset - other.record.offset))

const logicalDevicesRecord = (record: StoredRecord, value: LogicalDevices): BusRecord => {
  const { "retry-group": _, ...headers } = record.headers
  return { topic: Topics.logicalDevices, key: record.key, value: jsonBytes(value), headers }
}

/** A message of which nothing goes on. */
const failedTransaction = ({ headers }: StoredRecord, { message }: Poison): TransactionAdvance => ({
  id: headers["message-id"]!,
  tenantId: headers["tenant-id"]!,
  gatewayId: headers["device-id"]!,
  correlationId: headers["message-id"]!,
  status: "failed",
  startedAt: Number(headers["received-at"]),
  error: message
})

const runningTransaction = (message: GatewayMessage, failed: ReadonlyArray<FailedEntry>) => {
  const { correlationId, gatewayId, logicalDevices, receivedAt, record, tenantId } = message
  const advance: TransactionAdvance = {
    id: record.headers["message-id"]!,
    tenantId,
    gatewayId,
    correlationId,
    status: "processing",
    startedAt: receivedAt,
    totalLogicalDevices: logicalDevices,
    ...(failed.length > 0 && { error: failureOf(failed) })
  }
  return advance
}

export const demux: Effect.Effect<Consumer, never, Profiles | GatewayChildren | Transactions> = Effect.gen(
  function* () {
    const profiles = yield* Profiles
    const transactions = yield* Transactions
    const reach = yield* Failpoints
    const resolverOf = yield* makeResolver

    const splitPorts = Effect.fnUntraced(function* (records: ReadonlyArray<StoredRecord>, types: Types) {
      const collected = nothingYet()
      const pause = makePauses()
      for (const record of records) {
        const split = splitPortsMessage(record, types)
        if (Result.isFailure(split)) {
          collected.deadLetters.push({ record, error: split.failure })
          continue
        }
        const { failed, value } = split.success
        collected.deadLetters.push(...entryLetters(record, failed))
        if (value.entries.length > 0) collected.publish.push(logicalDevicesRecord(record, value))
        collected.entries += value.entries.length
        yield* pause(value.entries.length)
      }
      return collected
    })

    /** Opened, as far as they can be. The others are dead letters. */
    const openGateways = Effect.fnUntraced(function* (
      records: ReadonlyArray<StoredRecord>,
      types: Types,
      collected: Collected
    ) {
      const opened: Array<GatewayMessage> = []
      const pause = makePauses()
      for (const record of records) {
        const message = openGatewayMessage(record, types)
        if (Result.isFailure(message)) {
          collected.deadLetters.push({ record, error: message.failure })
          collected.transactions.push(failedTransaction(record, message.failure))
          continue
        }
        opened.push(message.success)
        yield* pause(message.success.demultiplexed.entries.length)
      }
      return opened
    })

    const splitGateways = Effect.fnUntraced(function* (records: ReadonlyArray<StoredRecord>, types: Types) {
      const collected = nothingYet()
      const messages = yield* openGateways(records, types, collected)
      reach("read")
      const resolve = yield* resolverOf(messages)
      reach("registered")
      const pause = makePauses()
      for (const message of messages) {
        const { correlationId, record } = message
        const { failed, value } = resolveChildren(message.demultiplexed, correlationId, (identifier) =>
          resolve(message, identifier)
        )
        collected.deadLetters.push(...entryLetters(record, failed))
        collected.transactions.push(runningTransaction(message, failed))
        // Also without an entry: the gateway was heard, and its transaction comes to an end. A retried entry has no such tail.
        if (value.entries.length > 0 || retriedEntry(record) === undefined) {
          collected.publish.push(logicalDevicesRecord(record, value))
        }
        collected.entries += value.entries.length
        yield* pause(value.entries.length)
      }
      return collected
    })

    const process: Consumer["process"] = Effect.fnUntraced(function* ({ records, topic }) {
      const types = yield* typesOfVersions(profiles, records.map(stampOf))
      const split = topic === Topics.rtu ? splitPorts : splitGateways
      const { deadLetters, entries, publish, transactions: advances } = yield* split(records, types)
      yield* Metric.update(demultiplexed, publish.length)
      yield* Metric.update(logicalDevices, entries)
      for (const [reason, letters] of Map.groupBy(deadLetters, ({ error }) => error.reason)) {
        yield* Metric.update(Metric.withAttributes(failures, { reason }), letters.length)
      }
      const outcome = { publish, deadLetters: inOrder(deadLetters) }
      if (advances.length === 0) return outcome
      return {
        ...outcome,
        store: Effect.gen(function* () {
          reach("published")
          yield* transactions.advance(advances)
          reach("stored")
        }),
        stored: () => reach("committed")
      }
    })

    return {
      service: SERVICE,
      group: Groups.demux,
      topics: [Topics.gateway, Topics.rtu],
      offsets: "postgres",
      process
    }
  }
)
