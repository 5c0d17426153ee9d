import { assert, layer } from "@effect/vitest"
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { type TransactionAdvance, Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { insertOrganization } from "../profiles/registry.ts"
import { normalizedMessage } from "./messages.ts"

const receivedAt = 1_763_725_301_123_457

interface Gateway {
  readonly tenantId: string
  readonly gatewayId: string
  readonly children: ReadonlyArray<string>
}
const newGateway = Effect.fnUntraced(function* (children: number) {
  const tenantId = yield* insertOrganization()
  const gateway: Gateway = {
    tenantId,
    gatewayId: randomUUID(),
    children: Array.from({ length: children }, () => randomUUID())
  }
  return gateway
})

/** With a reading of each of these children. */
const message = (
  { gatewayId, tenantId }: Gateway,
  messageId: string,
  children: ReadonlyArray<string>,
  metrics: object = { rssi: -65 }
) => {
  const { readings: _, ...envelope } = normalizedMessage({ deviceId: gatewayId, tenantId, receivedAt, messageId })
  const readings = children.map((deviceId, index) => {
    const [reading] = normalizedMessage({
      deviceId,
      tenantId,
      receivedAt,
      metrics,
      readingId: `${deviceId.slice(0, -12)}${messageId.slice(-10)}${String(index).padStart(2, "0")}`
    }).readings
    return { ...reading, sourceGatewayId: gatewayId }
  })
  return { ...envelope, correlationId: "c", readings } as unknown as NormalizedMessage // ids are branded
}

const advanceOf = (gateway: Gateway, id: string, status: TransactionAdvance["status"]): TransactionAdvance => ({
  id,
  tenantId: gateway.tenantId,
  gatewayId: gateway.gatewayId,
  correlationId: "c",
  status,
  startedAt: receivedAt
})

const rowOf = Effect.fnUntraced(function* (id: string) {
  const sql = yield* PipelineSql
  const [row] = yield* sql<Record<string, unknown>>`
    select status, total_logical_devices as total, processed_devices as processed, chunk_count as chunks, generation, missing,
      error_message as error, correlation_id as correlation, completed_at is not null as ended,
      (extract(epoch from started_at) * 1000000)::float8 as started from telemetry_transactions where id = ${id}`
  return row
})

const permutations = <A>(items: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  items.length < 2
    ? [items]
    : items.flatMap((item, at) => permutations(items.toSpliced(at, 1)).map((others) => [item, ...others]))

const advance = Effect.fnUntraced(function* (...advances: ReadonlyArray<TransactionAdvance>) {
  yield* (yield* Transactions).advance(advances)
})
const store = Effect.fnUntraced(function* (...messages: ReadonlyArray<NormalizedMessage>) {
  yield* (yield* TelemetryStore).storeReadings(messages)
})

layer(Layer.provideMerge(Layer.merge(Transactions.layer, TelemetryStore.layer), testDatabase), {
  excludeTestServices: true
})("a gateway's transaction", (it) => {
  it.effect("comes to the same whoever tells of it first, and however often", () =>
    Effect.gen(function* () {
      const steps = (gateway: Gateway, id: string) => [
        advance({ ...advanceOf(gateway, id, "pending"), chunkCount: 3, generation: 1 }),
        advance({
          ...advanceOf(gateway, id, "processing"),
          startedAt: receivedAt + 5,
          totalLogicalDevices: 3,
          error: "one failed"
        }),
        store(message(gateway, id, gateway.children.slice(0, 2)))
      ]
      for (const order of permutations([0, 1, 2, 1, 2])) {
        const gateway = yield* newGateway(3)
        const id = randomUUID()
        for (const step of order) yield* steps(gateway, id)[step]!
        assert.deepStrictEqual(
          yield* rowOf(id),
          {
            status: "completed",
            total: 3,
            processed: 2,
            chunks: 3,
            generation: 1,
            missing: null,
            error: "one failed",
            correlation: "c",
            ended: true,
            started: receivedAt
          },
          order.join(" ")
        )
      }
    })
  )

  it.effect("moves only forward, and fails with what is missing", () =>
    Effect.gen(function* () {
      const gateway = yield* newGateway(0)
      const id = randomUUID()
      const seen: Array<unknown> = []
      const told: ReadonlyArray<TransactionAdvance> = [
        advanceOf(gateway, id, "pending"),
        advanceOf(gateway, id, "processing"),
        advanceOf(gateway, id, "pending"),
        { ...advanceOf(gateway, id, "failed"), missing: [2, 7], error: "a NUL \0 in it" },
        advanceOf(gateway, id, "processing"),
        advanceOf(gateway, id, "pending")
      ]
      for (const one of told) {
        yield* advance(one)
        seen.push((yield* rowOf(id))?.["status"])
      }
      assert.deepStrictEqual(seen, ["pending", "processing", "processing", "failed", "failed", "failed"])
      assert.deepInclude(yield* rowOf(id), { missing: [2, 7], error: "a NUL \uFFFD in it", ended: true })
      const together = randomUUID()
      yield* advance(...told.map((one) => ({ ...one, id: together })))
      assert.deepInclude(yield* rowOf(together), { status: "failed", missing: [2, 7] })
    })
  )

  it.effect("has failed when nothing of it was stored, and is completed by a retry that stores something", () =>
    Effect.gen(function* () {
      const gateway = yield* newGateway(2)
      for (const order of [
        [0, 1],
        [1, 0]
      ]) {
        const id = randomUUID()
        const steps = [
          advance({ ...advanceOf(gateway, id, "processing"), totalLogicalDevices: 2, error: "both failed" }),
          store(message(gateway, id, []))
        ]
        for (const step of order) yield* steps[step]!
        assert.deepInclude(yield* rowOf(id), { status: "failed", processed: 0, error: "both failed" })
        yield* store(message(gateway, id, gateway.children.slice(0, 1)), message(gateway, id, []))
        yield* store(message(gateway, id, gateway.children.slice(0, 1)))
        assert.deepInclude(yield* rowOf(id), { status: "completed", processed: 1 })
        yield* store(message(gateway, id, gateway.children))
        assert.deepInclude(yield* rowOf(id), { status: "completed", processed: 2, error: null })
      }
      const empty = randomUUID()
      yield* store(message(gateway, empty, []))
      yield* advance({ ...advanceOf(gateway, empty, "processing"), totalLogicalDevices: 0 })
      assert.deepInclude(yield* rowOf(empty), { status: "completed", processed: 0, total: 0 })
      const undecodable = randomUUID()
      yield* advance({ ...advanceOf(gateway, undecodable, "failed"), error: "no JSON" })
      assert.deepInclude(yield* rowOf(undecodable), { status: "failed", total: null, ended: true })
    })
  )

  it.effect("counts the devices of a message whose readings came in another message before, too", () =>
    Effect.gen(function* () {
      const gateway = yield* newGateway(3)
      const [first, again] = [randomUUID(), randomUUID()]
      const readings = message(gateway, first, gateway.children)
      yield* store(readings)
      yield* advance({ ...advanceOf(gateway, again, "processing"), totalLogicalDevices: 3 })
      yield* store({ ...readings, messageId: again } as NormalizedMessage)
      assert.deepInclude(yield* rowOf(again), { status: "completed", processed: 3 })
    })
  )

  it.effect("ends in the transaction that stores the readings, or not at all", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const gateway = yield* newGateway(2)
      const id = randomUUID()
      yield* Effect.ignore(
        sql.withTransaction(Effect.andThen(store(message(gateway, id, gateway.children)), Effect.fail("rolled back")))
      )
      assert.isUndefined(yield* rowOf(id))
    })
  )

  it.effect("children and gateway are seen; a message counts once for each of them, however often it comes", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const gateway = yield* newGateway(3)
      const [a, b, c] = gateway.children as [string, string, string]
      const [first, second] = [randomUUID(), randomUUID()]
      const later = { ...message(gateway, second, [a, a, c]), receivedAt: receivedAt + 1_000 } as NormalizedMessage
      yield* store(message(gateway, first, [a, b]), later)
      yield* store(message(gateway, first, [a, b]), later, {
        ...message(gateway, randomUUID(), []),
        receivedAt: receivedAt + 2_000
      } as NormalizedMessage)
      const rows = yield* sql<{ device_id: string; messages: number; seen: number }>`
        select device_id, messages_total::int as messages, (extract(epoch from last_seen_at) * 1000000)::float8 as seen
        from device_status where tenant_id = ${gateway.tenantId}`
      assert.deepStrictEqual(
        Object.fromEntries(rows.map(({ device_id, messages, seen }) => [device_id, [messages, seen - receivedAt]])),
        {
          [a]: [2, 1_000],
          [b]: [1, 0],
          [c]: [1, 1_000],
          [gateway.gatewayId]: [2, 2_000]
        }
      )
      assert.deepInclude(yield* rowOf(second), { processed: 2 })
      const frames = yield* sql<{ entity_id: string }>`
        select entity_id from telemetry_frames where source_device_id = ${gateway.gatewayId}`
      assert.lengthOf(frames, 5)
      const latest = yield* sql`select entity_id from entity_latest where tenant_id = ${gateway.tenantId}`
      assert.lengthOf(latest, 3)
    })
  )

  it.effect("a gateway that was a device of its own a moment ago counts both kinds of messages", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const gateway = yield* newGateway(1)
      const { gatewayId: deviceId, tenantId } = gateway
      yield* store(
        normalizedMessage({ deviceId, tenantId, receivedAt: receivedAt - 1_000 }),
        message(gateway, randomUUID(), gateway.children)
      )
      const [row] = yield* sql<{ messages: number; seen: number }>`
        select messages_total::int as messages, (extract(epoch from last_seen_at) * 1000000)::float8 as seen
        from device_status where device_id = ${deviceId}`
      assert.deepStrictEqual(row, { messages: 2, seen: receivedAt })
    })
  )
})
