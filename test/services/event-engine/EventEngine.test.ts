import { Topics } from "@argusiq/domain/topics.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { randomInt, randomUUID } from "node:crypto"
import { until } from "../../layers/bus/ConsumerWorld.ts"
import {
  accepted,
  asStored,
  log,
  makeEngine,
  recordOf,
  register,
  type Registry,
  statusesOf,
  toldTo,
  world,
  writeLastSeen
} from "./EngineWorld.ts"
import {
  below,
  inOrder,
  LIMIT_SECONDS,
  makeTimeline,
  type Random,
  type Step,
  type Told,
  toldOfAll
} from "./timelines.ts"
import { randomFrom } from "../../support/random.ts"

const RUNS = 6
const SECOND = 1_000_000
const startOfTime = () => (Math.floor(Date.now() / 1000) - 3_600) * SECOND
const everything = 1n << 60n

const isMessage = ({ kind }: Step) => kind === "message"

/** Stretches of one kind, cut at random places besides; of different devices' steps in one of them the order does not matter. */
const cut = (random: Random, steps: ReadonlyArray<Step>): ReadonlyArray<ReadonlyArray<Step>> => {
  const stretches: Array<Array<Step>> = []
  for (const step of steps) {
    const last = stretches.at(-1)
    if (last === undefined || isMessage(last[0]!) !== isMessage(step) || random() < 0.15) stretches.push([step])
    else last.push(step)
  }
  return stretches.map((stretch) => {
    const byDevice = [...Map.groupBy(stretch, ({ deviceId }) => deviceId).values()].map((own) => [...own])
    const shuffled: Array<Step> = []
    while (shuffled.length < stretch.length) {
      const own = byDevice[below(random, byDevice.length)]!
      const next = own.shift()
      if (next !== undefined) shuffled.push(next)
    }
    return shuffled
  })
}

const message = (deviceId: string, at: number, children: ReadonlyArray<string> = []): Step => ({
  kind: "message",
  deviceId,
  at,
  messageId: randomUUID(),
  children
})
const shortly = (told: ReadonlyArray<Told>) => told.map(({ reason, type }) => `${type} ${reason}`)

/** Everything has come until then, and nothing more. */
const passTo = Effect.fnUntraced(function* (engine: Effect.Success<typeof makeEngine>, at: number) {
  yield* accepted(at)
  yield* engine.tick(Topics.connections, at)
  yield* engine.tick(Topics.normalized, at)
})
const store = Effect.fnUntraced(function* (
  engine: Effect.Success<typeof makeEngine>,
  registry: Registry,
  steps: ReadonlyArray<Step>
) {
  const messages = steps.filter(isMessage)
  const connections = steps.filter((step) => !isMessage(step))
  if (connections.length > 0) yield* engine.process(connections.map((step) => asStored(recordOf(registry, step))))
  if (messages.length > 0) yield* engine.process(yield* log(messages.map((step) => recordOf(registry, step))))
})

layer(world, { excludeTestServices: true, timeout: 120_000 })("the event engine", (it) => {
  it.effect(`tells the same whatever the batches, and wherever it is restarted: ${RUNS} random timelines`, () =>
    Effect.gen(function* () {
      for (let run = 0; run < RUNS; run++) {
        const seed = Number(process.env["CONNECTIVITY_SEED"] ?? randomInt(1_000_000_000))
        const random = randomFrom(seed)
        const registry = yield* register(5)
        const { devices, gateways, tenantId } = registry
        const timeline = makeTimeline(random, startOfTime(), devices, gateways)
        const expected = toldOfAll([...devices, ...[...gateways.values()].flat()], timeline)
        const engine = yield* makeEngine
        const stretches = cut(random, timeline.steps)
        const messages = stretches.filter(([first]) => isMessage(first!)).flat()
        const logged = yield* log(messages.map((step) => recordOf(registry, step)))
        let read = 0
        let written = 0
        const past: Array<ReadonlyArray<StoredRecord>> = []
        for (const stretch of stretches) {
          const isTelemetry = isMessage(stretch[0]!)
          const until = Math.max(...stretch.map(({ at }) => at))
          // The other topic has come as far, since nothing is in it until then; and so have those who accept.
          yield* accepted(until, timeline.gaps)
          yield* engine.tick(
            isTelemetry ? Topics.normalized : Topics.connections,
            Math.min(...stretch.map(({ at }) => at)) - 1
          )
          yield* engine.tick(isTelemetry ? Topics.connections : Topics.normalized, until)
          const records = isTelemetry
            ? logged.slice(read, (read += stretch.length))
            : stretch.map((step) => asStored(recordOf(registry, step)))
          yield* engine.process(records)
          past.push(records)
          if (random() < 0.1) yield* engine.process(past[below(random, past.length)]!)
          if (random() > 0.15) continue
          // The telemetry writer is as far, or somewhat behind.
          written = Math.max(written, read - (random() < 0.5 ? 0 : below(random, 8)))
          yield* writeLastSeen(tenantId, logged.slice(0, written), everything)
          yield* writeLastSeen(tenantId, [], logged[written]?.offset ?? (logged.at(-1)?.offset ?? -1n) + 1n)
          yield* random() < 0.7 ? engine.restart : engine.reassign
        }
        yield* accepted(timeline.end, timeline.gaps)
        yield* engine.tick(Topics.connections, timeline.end)
        yield* engine.tick(Topics.normalized, timeline.end)
        assert.deepStrictEqual(inOrder(yield* toldTo(tenantId)), expected, `CONNECTIVITY_SEED=${seed}`)
        const statuses = yield* statusesOf(tenantId)
        for (const [deviceId, told] of Map.groupBy(expected, (one) => one.deviceId)) {
          const last = told.at(-1)!
          const status = last.type === "DEVICE_ONLINE" ? "online" : "offline"
          assert.deepStrictEqual(statuses.get(deviceId), { status, changedAt: last.at }, `CONNECTIVITY_SEED=${seed}`)
        }
        console.log(`CONNECTIVITY_SEED=${seed}: ${timeline.steps.length} steps, ${expected.length} events`)
      }
    })
  )

  it.effect("comes to the same status when one topic is read long before the other, and tells no change twice", () =>
    Effect.gen(function* () {
      const seed = Number(process.env["CONNECTIVITY_SEED"] ?? randomInt(1_000_000_000))
      const random = randomFrom(seed)
      const registry = yield* register(5)
      const { devices, gateways, tenantId } = registry
      const timeline = { ...makeTimeline(random, startOfTime(), devices, gateways), gaps: [] }
      const engine = yield* makeEngine
      yield* accepted(timeline.end)
      const messages = yield* log(timeline.steps.filter(isMessage).map((step) => recordOf(registry, step)))
      const connections = timeline.steps.filter((step) => !isMessage(step))
      const kinds = [messages, connections.map((step) => asStored(recordOf(registry, step)))]
      for (const records of random() < 0.5 ? kinds : kinds.toReversed()) yield* engine.process(records)
      yield* passTo(engine, timeline.end)
      const told = yield* toldTo(tenantId)
      const expected = toldOfAll([...devices, ...[...gateways.values()].flat()], timeline)
      const statuses = yield* statusesOf(tenantId)
      for (const [deviceId, own] of Map.groupBy(expected, (one) => one.deviceId)) {
        const last = own.at(-1)!.type === "DEVICE_ONLINE" ? "online" : "offline"
        assert.strictEqual(statuses.get(deviceId)?.status, last, `CONNECTIVITY_SEED=${seed}`)
        const types = told.filter((one) => one.deviceId === deviceId).map(({ type }) => type)
        types.forEach((type, index) => assert.notStrictEqual(type, types[index - 1], `CONNECTIVITY_SEED=${seed}`))
      }
    })
  )

  it.effect("keeps what is stored of one topic while the rows are read for the other", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const registry = yield* register(2)
      const [deviceId] = registry.devices as [string]
      const engine = yield* makeEngine
      const start = startOfTime()
      yield* accepted(start)
      const records = yield* log([0, 10].map((after) => recordOf(registry, message(deviceId, start + after * SECOND))))
      const conclude = yield* engine.begin(records.slice(0, 1))
      // The rows are read by then, and what is asked for next is held up.
      const mayGoOn = yield* Deferred.make<void>()
      const heldUp = yield* Deferred.make<void>()
      const holding = yield* Effect.forkChild(
        sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`lock table ingest_heartbeat in access exclusive mode`
            yield* Deferred.succeed(heldUp, undefined)
            yield* Deferred.await(mayGoOn)
          })
        )
      )
      yield* Deferred.await(heldUp)
      const ticking = yield* Effect.forkChild(engine.tick(Topics.connections, start))
      yield* until(
        "the rows are read",
        Effect.map(
          sql<{ n: number }>`
            select count(*)::int as n from pg_locks where not granted and relation = 'ingest_heartbeat'::regclass`,
          ([row]) => row!.n > 0
        )
      )
      yield* conclude
      yield* Deferred.succeed(mayGoOn, undefined)
      yield* Effect.all([Fiber.join(ticking), Fiber.join(holding)])
      yield* engine.process(records.slice(1))
      assert.deepStrictEqual(shortly(yield* toldTo(registry.tenantId)), ["DEVICE_ONLINE message"])
    })
  )

  it.effect("judges no silence of time of which no bridge has told that it accepted messages", () =>
    Effect.gen(function* () {
      const registry = yield* register(2)
      const [deviceId] = registry.devices as [string]
      const engine = yield* makeEngine
      const start = startOfTime()
      const limit = LIMIT_SECONDS * SECOND
      yield* passTo(engine, start)
      yield* store(engine, registry, [message(deviceId, start)])
      yield* engine.restart
      yield* engine.tick(Topics.connections, start + 10 * limit)
      yield* engine.tick(Topics.normalized, start + 10 * limit)
      assert.deepStrictEqual(shortly(yield* toldTo(registry.tenantId)), ["DEVICE_ONLINE message"])
      const gap = { from: start, to: start + 10 * limit }
      yield* accepted(gap.to + limit - 1, [gap])
      yield* engine.tick(Topics.connections, gap.to + 2 * limit)
      yield* engine.tick(Topics.normalized, gap.to + 2 * limit)
      assert.lengthOf(yield* toldTo(registry.tenantId), 1)
      yield* accepted(gap.to + limit)
      yield* engine.tick(Topics.normalized, gap.to + 2 * limit)
      assert.deepInclude((yield* toldTo(registry.tenantId)).at(-1), { reason: "silence", at: gap.to + limit })
    })
  )

  it.effect("does not take what the telemetry writer has not stored yet for silence", () =>
    Effect.gen(function* () {
      const registry = yield* register(2)
      const [deviceId] = registry.devices as [string]
      const engine = yield* makeEngine
      const start = startOfTime()
      const messages = Array.from({ length: 10 }, (_, index) => message(deviceId, start + index * 30 * SECOND))
      yield* passTo(engine, start - 1)
      const records = yield* log(messages.map((step) => recordOf(registry, step)))
      yield* engine.process(records)
      yield* writeLastSeen(registry.tenantId, records.slice(0, 2), records[2]!.offset)
      yield* engine.restart
      yield* passTo(engine, start + 290 * SECOND)
      assert.deepStrictEqual(shortly(yield* toldTo(registry.tenantId)), ["DEVICE_ONLINE message"])
    })
  )

  it.effect("passes replays and retries by", () =>
    Effect.gen(function* () {
      const registry = yield* register(2)
      const [deviceId, gateway] = registry.devices as [string, string]
      const engine = yield* makeEngine
      const children = registry.gateways.get(gateway)!
      const records = [
        recordOf(registry, message(deviceId, startOfTime()), { "replay-job": randomUUID() }),
        recordOf(registry, message(gateway, startOfTime(), children), { "retry-of": randomUUID() })
      ]
      yield* engine.process(yield* log(records))
      assert.deepStrictEqual(yield* toldTo(registry.tenantId), [])
    })
  )

  it.effect("dead-letters what it cannot read, and takes the rest", () =>
    Effect.gen(function* () {
      const registry = yield* register(2)
      const [deviceId, gateway] = registry.devices as [string, string]
      const engine = yield* makeEngine
      const broken = { ...recordOf(registry, message(gateway, startOfTime())), value: Buffer.from("{") }
      const records = yield* log([broken, recordOf(registry, message(deviceId, startOfTime()))])
      const { deadLetters } = yield* engine.process(records)
      assert.deepStrictEqual(
        deadLetters.map(({ error, record }) => [error.reason, record.offset]),
        [["Undecodable", records[0]!.offset]]
      )
      assert.lengthOf(yield* toldTo(registry.tenantId), 2)
    })
  )

  it.effect(
    "tells nothing of a decommissioned device, whose status changes all the same, and stores none of a deleted one",
    () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const registry = yield* register(3)
        const [retired, deleted] = registry.devices as [string, string]
        const engine = yield* makeEngine
        const start = startOfTime()
        yield* passTo(engine, start - 1)
        yield* store(engine, registry, [message(retired, start), message(deleted, start + 1)])
        yield* sql`update devices set status = 'decommissioned' where id = ${retired}`
        yield* sql`delete from devices where id = ${deleted}`
        yield* sql`delete from device_status where device_id = ${deleted}`
        yield* passTo(engine, start + 2 * LIMIT_SECONDS * SECOND)
        assert.deepStrictEqual(shortly(yield* toldTo(registry.tenantId)), [
          "DEVICE_ONLINE message",
          "DEVICE_ONLINE message"
        ])
        const statuses = yield* statusesOf(registry.tenantId)
        assert.strictEqual(statuses.get(retired)?.status, "offline")
        assert.isFalse(statuses.has(deleted))
      })
  )

  it.effect("writes nothing for a message of a device that is online", () =>
    Effect.gen(function* () {
      const registry = yield* register(2)
      const [deviceId] = registry.devices as [string]
      const engine = yield* makeEngine
      const start = startOfTime()
      const records = yield* log(
        Array.from({ length: 20 }, (_, index) => recordOf(registry, message(deviceId, start + index * SECOND)))
      )
      assert.isDefined((yield* engine.process(records.slice(0, 1))).store)
      assert.isUndefined((yield* engine.process(records.slice(1))).store)
    })
  )
})
