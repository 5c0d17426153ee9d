/**
 * A demultiplexer at work, what is sent to it, and what comes out.
 * @module
 */
import { demux } from "@argusiq/demux/Demux.ts"
import { type LogicalDevices } from "@argusiq/domain/readings.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { Bus, type BusRecord, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { assert } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { type TestDevice } from "../../layers/profiles/registry.ts"
import { testDatabase } from "../../support/postgres.ts"
import { rawRecord, recordsOf, testBus } from "../dispatcher/topics.ts"

const running = Layer.effectDiscard(Effect.flatMap(demux, (consumer) => Effect.forkScoped(runConsumer(consumer))))

export const demuxWorld = running.pipe(
  Layer.provideMerge(
    Layer.mergeAll(ProfileCache.layer({ size: 20_000 }), GatewayChildren.layer, Transactions.layer, testBus)
  ),
  Layer.provideMerge(testDatabase)
)

/** As the dispatcher publishes it. */
export const dispatched = (
  topic: string,
  device: TestDevice,
  payload: unknown,
  headers: Readonly<Record<string, string>> = {},
  receivedAt?: number
): BusRecord => ({
  ...rawRecord({
    ...device,
    ...(receivedAt !== undefined && { receivedAt }),
    payload: typeof payload === "string" || payload instanceof Uint8Array ? payload : JSON.stringify(payload),
    headers: { "device-type-id": device.deviceTypeId, "type-version": "1", ...headers }
  }),
  topic
})

export const valueOf = (record: StoredRecord): LogicalDevices => JSON.parse(Buffer.from(record.value).toString())

export interface TransactionRow {
  readonly id: string
  readonly correlation_id: string
  readonly status: string
  readonly total: number | null
  readonly error: string | null
}

/** Of the message; undefined when it has none. */
export const transactionOf = Effect.fnUntraced(function* ({ headers }: BusRecord) {
  const sql = yield* PipelineSql
  const [row] = yield* sql<TransactionRow>`
    select id, correlation_id, status, total_logical_devices as total, error_message as error
    from telemetry_transactions where id = ${headers["message-id"] ?? null}::uuid`
  return row
})

/** Whether everything up to the record is done with: its transactions are stored after it was published. */
const hasStored = Effect.fnUntraced(function* ({ headers }: StoredRecord) {
  const sql = yield* PipelineSql
  const rows = yield* sql`
    select from consumer_offsets where "group" = 'argusiq.demux' and topic = ${headers["dlq-topic"]!}
      and partition = ${Number(headers["dlq-partition"])} and next > ${headers["dlq-offset"]!}::bigint`
  return rows.length === 1
})

/**
 * Publishes the records and a last one of the same device behind them, and tells what came of all before it once that is
 * through: what was published and the dead letters, in order.
 */
export const outcomeOf = Effect.fnUntraced(function* (records: ReadonlyArray<BusRecord>) {
  const bus = yield* Bus
  const last = records.at(-1)!
  const marker: BusRecord = {
    ...last,
    value: Buffer.from("the end"),
    headers: { ...last.headers, "message-id": crypto.randomUUID(), "retry-group": "argusiq.demux" }
  }
  yield* bus.publish([...records, marker])
  const until = Date.now() + 30_000
  while (true) {
    const letters = (yield* recordsOf(deadLetterTopic(last.topic))).filter(({ key }) => key === last.key)
    const passed = letters.find(({ headers }) => headers["message-id"] === marker.headers["message-id"])
    if (passed !== undefined && (yield* hasStored(passed))) {
      const published = (yield* recordsOf(Topics.logicalDevices)).filter(({ key }) => key === last.key)
      const ofOthers = letters.filter(({ value }) => Buffer.from(value).toString() !== "the end")
      return { published, letters: ofOthers }
    }
    if (Date.now() > until) assert.fail("the records were not processed")
    yield* Effect.sleep(20)
  }
})
