import { SystemEvent } from "@argusiq/domain/system-event.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { relayEvents } from "@argusiq/jobs/Relay.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { randomUUID } from "node:crypto"
import { provideBus, recordsOf, refusing } from "../../layers/bus/ConsumerWorld.ts"
import { testDatabase } from "../../support/postgres.ts"
import { testBus } from "../dispatcher/topics.ts"

const decodeEvent = Schema.decodeUnknownSync(Schema.fromJsonString(SystemEvent))
const occurredAt = 1_763_700_000_000_123

const makeTenant = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const tenantId = randomUUID()
  yield* sql`insert into organizations (id, name, slug) values (${tenantId}, 'T', ${tenantId})`
  return tenantId
})

const writeEvents = Effect.fnUntraced(function* (tenantId: string, entityId: string, numbers: ReadonlyArray<number>) {
  const sql = yield* PipelineSql
  for (const number of numbers) {
    yield* sql`insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
      values (${randomUUID()}, ${tenantId}, 'DEVICE_ONLINE', 'device', ${entityId}, 'info',
        timestamptz 'epoch' + ${String(occurredAt + number)}::bigint * interval '1 microsecond',
        ${JSON.stringify({ number })}::text::jsonb)`
  }
})

const published = (entityId: string) =>
  Effect.map(recordsOf(Topics.events, entityId), (records) =>
    records.map(({ headers, value }) => ({ headers, event: decodeEvent(new TextDecoder().decode(value)) }))
  )
const numbersOf = (entityId: string) =>
  Effect.map(published(entityId), (events) => events.map(({ event }) => event.payload["number"]))

layer(Layer.merge(testBus, testDatabase), { excludeTestServices: true })("the relay", (it) => {
  it.effect("publishes events as their rows say, under the key of their entity, in their order and once", () =>
    Effect.gen(function* () {
      const [tenantId, one, other] = [yield* makeTenant, randomUUID(), randomUUID()]
      yield* writeEvents(tenantId, one, [1, 2])
      yield* writeEvents(tenantId, other, [7])
      yield* writeEvents(tenantId, one, [3])
      assert.strictEqual(yield* relayEvents, 4)
      assert.strictEqual(yield* relayEvents, 0)
      yield* writeEvents(tenantId, one, [4])
      assert.strictEqual(yield* relayEvents, 1)
      assert.deepStrictEqual(yield* numbersOf(one), [1, 2, 3, 4])
      const [first] = yield* published(other)
      assert.deepInclude(first?.event, {
        tenantId: tenantId as SystemEvent["tenantId"],
        entityType: "device",
        entityId: other,
        occurredAt: occurredAt + 7,
        eventType: "DEVICE_ONLINE",
        severity: "info",
        payload: { number: 7 }
      })
      assert.deepInclude(first?.headers, {
        "message-id": first?.event.id,
        "tenant-id": tenantId,
        "received-at": String(occurredAt + 7)
      })
    })
  )

  it.effect("more than fit one batch leave in one go and in order", () =>
    Effect.gen(function* () {
      const [tenantId, entityId] = [yield* makeTenant, randomUUID()]
      const sql = yield* PipelineSql
      yield* sql`insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
        select gen_random_uuid(), ${tenantId}::uuid, 'DEVICE_ONLINE', 'device', ${entityId}::uuid, 'info', now(),
          jsonb_build_object('number', number)
        from generate_series(0, 1200) as number order by number`
      assert.strictEqual(yield* relayEvents, 1_201)
      assert.deepStrictEqual(
        yield* numbersOf(entityId),
        Array.from({ length: 1_201 }, (_, number) => number)
      )
    })
  )

  it.effect("while the bus is away events wait, and leave when it is back", () =>
    Effect.gen(function* () {
      const [tenantId, entityId] = [yield* makeTenant, randomUUID()]
      const away = yield* refusing(() => true)
      yield* writeEvents(tenantId, entityId, [1])
      for (let tries = 0; tries < 3; tries++) {
        const error = yield* Effect.flip(provideBus(relayEvents, away))
        assert.strictEqual(error._tag, "BusUnavailable")
      }
      yield* writeEvents(tenantId, entityId, [2])
      assert.deepStrictEqual(yield* numbersOf(entityId), [])
      yield* relayEvents
      assert.deepStrictEqual(yield* numbersOf(entityId), [1, 2])
    })
  )

  it.effect("an event whose row was not marked is published again under its id", () =>
    Effect.gen(function* () {
      const [tenantId, entityId] = [yield* makeTenant, randomUUID()]
      const sql = yield* OwnerSql
      yield* writeEvents(tenantId, entityId, [1])
      yield* relayEvents
      yield* sql`update system_events set published_at = null where entity_id = ${entityId}`
      yield* relayEvents
      const ids = (yield* published(entityId)).map(({ event }) => event.id)
      assert.lengthOf(ids, 2)
      assert.strictEqual(ids[0], ids[1])
    })
  )

  it.effect("an event that no record can hold leaves without its payload, and holds nobody up", () =>
    Effect.gen(function* () {
      const [tenantId, entityId] = [yield* makeTenant, randomUUID()]
      const sql = yield* PipelineSql
      yield* sql`insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
        values (${randomUUID()}, ${tenantId}, 'DEVICE_ONLINE', 'device', ${entityId}, 'info', now(),
          jsonb_build_object('text', repeat('x', 17000000)))`
      yield* writeEvents(tenantId, entityId, [1])
      yield* relayEvents
      const [large, small] = yield* published(entityId)
      assert.isAbove(Number(large?.event.payload["omittedBytes"]), 17_000_000)
      assert.deepStrictEqual(small?.event.payload, { number: 1 })
    })
  )
})
