import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { showOverdue } from "@argusiq/layers/asset-state/visibility.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { insertEndpoint, insertGateway, insertChild } from "../../layers/profiles/registry.ts"
import { message } from "../jobs/pipelineWorld.ts"
import { recordsOf } from "../dispatcher/topics.ts"
import {
  assetWorld,
  eventually,
  framesOf,
  insertAsset,
  insertAssetType,
  latestOf,
  link,
  publishAssetType
} from "./world.ts"
import { randomUUID } from "node:crypto"

const SECOND = 1_000_000
const numeric = (...keys: ReadonlyArray<string>) =>
  Object.fromEntries(keys.map((key) => [key, { path: `$.${key}`, type: "numeric" }]))
const defined = (...keys: ReadonlyArray<string>) => keys.map((key) => ({ key, displayName: key, dataType: "numeric" }))

const now = () => Math.floor(Date.now() / 1_000) * SECOND
const send = (records: ReadonlyArray<BusRecord>) => Effect.flatMap(Bus, (bus) => bus.publish(records))

const motor = {
  metricDefinitions: defined("temperature", "voltage", "current"),
  transformationEngine: { mappings: { temperature: "temp_1" }, derived: { power: "voltage * current" } },
  validationRules: { temperature: { max: 200 } },
  healthAlgorithm: {
    algorithm: "weighted_average",
    metrics: [{ metricKey: "temperature", weight: 1, direction: "lower_better", min: 0, max: 100 }]
  }
}
const endpoint = {
  processingMode: "endpoint",
  extractionRules: numeric("temp_1", "temp_2", "temp_3", "voltage", "current")
}

layer(assetWorld, { excludeTestServices: true })("assets", (it) => {
  it.effect("store what their device measured, derived metrics and health, and show the latest", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint(endpoint)
      const type = yield* insertAssetType(device.tenantId, motor)
      const asset = yield* insertAsset(device.tenantId, type)
      yield* link(device.tenantId, device.deviceId, asset)
      const at = now()
      yield* send([
        message(device, randomUUID(), at, { temp_1: 40, voltage: 230, current: 2 }),
        message(device, randomUUID(), at + SECOND, { temp_1: 250 })
      ])
      const frames = yield* eventually("two frames", framesOf(asset), ({ length }) => length === 2)
      assert.deepStrictEqual(frames, [
        {
          ts: at,
          metrics: { temperature: 40, voltage: 230, current: 2, power: 460, health_score: 60 },
          quality: null,
          late: false
        },
        {
          ts: at + SECOND,
          metrics: { temperature: 250, health_score: 60 },
          quality: { temperature: "bad" },
          late: false
        }
      ])
      assert.deepStrictEqual(yield* latestOf(asset), {
        temperature: 250,
        voltage: 230,
        current: 2,
        power: 460,
        health_score: 60
      })
      const sql = yield* OwnerSql
      const [status] =
        yield* sql`select health_score, health_score_computed_by as by from asset_status where asset_id = ${asset}`
      assert.deepStrictEqual(status, { health_score: 60, by: "weighted_average, version 1" })
      const [first] = yield* sql<{ made: object }>`
        select metadata #> '{health,contributions,0}' as made from telemetry_frames where entity_id = ${asset} order by ts limit 1`
      assert.deepStrictEqual(first?.made, { metricKey: "temperature", value: 40, score: 60, weight: 1, points: 60 })
      const told = (yield* recordsOf(Topics.asset)).filter(({ key }) => key === asset)
      assert.strictEqual(told.length, 2)
      assert.deepStrictEqual(JSON.parse(Buffer.from(told[0]!.value).toString()).health.score, 60)
    })
  )

  it.effect("of one device are as many as it is linked to, each with its own mapping", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint(endpoint)
      const type = yield* insertAssetType(device.tenantId, motor)
      const assets = yield* Effect.forEach([1, 2, 3], (number) =>
        Effect.tap(insertAsset(device.tenantId, type), (asset) =>
          link(device.tenantId, device.deviceId, asset, { metrics_mapping: { temperature: `temp_${number}` } })
        )
      )
      yield* send([message(device, randomUUID(), now(), { temp_1: 10, temp_2: 20, temp_3: 30 })])
      for (const [index, asset] of assets.entries()) {
        const [frame] = yield* eventually("a frame", framesOf(asset), ({ length }) => length === 1)
        assert.deepStrictEqual(frame?.metrics, { temperature: 10 * (index + 1), health_score: 90 - 10 * index })
      }
    })
  )

  it.effect("of a unit with four ports are four, each told of its own port", () =>
    Effect.gen(function* () {
      const rtu = yield* insertEndpoint({
        processingMode: "rtu_multiport",
        demuxStrategy: { portsPath: "$.ports" },
        extractionRules: numeric("temp_1", "voltage")
      })
      const type = yield* insertAssetType(rtu.tenantId, motor)
      const assets = yield* Effect.forEach(["1", "2", "3", "4"], (port) =>
        Effect.tap(insertAsset(rtu.tenantId, type), (asset) => link(rtu.tenantId, rtu.deviceId, asset, { port }))
      )
      const ports = Object.fromEntries([1, 2, 3, 4].map((port) => [port, { temp_1: port, voltage: 200 + port }]))
      yield* send([message(rtu, randomUUID(), now(), { ports })])
      for (const [index, asset] of assets.entries()) {
        const frames = yield* eventually("a frame", framesOf(asset), ({ length }) => length > 0)
        assert.deepStrictEqual(
          frames.map(({ metrics }) => metrics),
          [{ temperature: index + 1, voltage: 201 + index, health_score: 99 - index }]
        )
      }
    })
  )

  it.effect("roll up through three levels", () =>
    Effect.gen(function* () {
      const one = yield* insertEndpoint(endpoint)
      const { tenantId } = one
      const other = { ...one, deviceId: randomUUID() }
      const sql = yield* OwnerSql
      yield* sql`insert into devices (id, tenant_id, name, device_type_id) values (${other.deviceId}, ${tenantId}, 'other', ${one.deviceTypeId})`
      const leaf = yield* insertAssetType(tenantId, motor)
      const rollup = { rollup: { metrics: { power: "sum", temperature: "max" }, health: "worst" } }
      const level = yield* insertAssetType(tenantId, rollup)
      const site = yield* insertAsset(tenantId, level)
      const building = yield* insertAsset(tenantId, level, site)
      const rooms = [yield* insertAsset(tenantId, leaf, building), yield* insertAsset(tenantId, leaf, building)]
      yield* link(tenantId, one.deviceId, rooms[0]!)
      yield* link(tenantId, other.deviceId, rooms[1]!)
      const at = now()
      yield* send([
        message(one, randomUUID(), at, { temp_1: 30, voltage: 10, current: 2 }),
        message(other, randomUUID(), at, { temp_1: 80, voltage: 10, current: 3 })
      ])
      const expected = { power: 50, temperature: 80, health_score: 20 }
      for (const asset of [building, site]) {
        const frames = yield* eventually("the sum", framesOf(asset), ([frame]) => frame?.metrics["power"] === 50)
        assert.deepStrictEqual(
          frames.map(({ metrics, ts }) => [ts, metrics]),
          [[at, expected]]
        )
        assert.deepStrictEqual(
          yield* eventually("the latest", latestOf(asset), (latest) => latest?.["power"] === 50),
          expected
        )
      }
    })
  )

  it.effect("change over to a backup once the primary is silent for the window, and back", () =>
    Effect.gen(function* () {
      const primary = yield* insertEndpoint(endpoint)
      const { tenantId } = primary
      const backup = { ...primary, deviceId: randomUUID() }
      const sql = yield* OwnerSql
      yield* sql`insert into devices (id, tenant_id, name, device_type_id) values (${backup.deviceId}, ${tenantId}, 'backup', ${primary.deviceTypeId})`
      const type = yield* insertAssetType(tenantId, {
        ...motor,
        aggregationRules: { temperature: { windowSeconds: 120, fn: "latest" } }
      })
      const asset = yield* insertAsset(tenantId, type)
      yield* link(tenantId, primary.deviceId, asset)
      yield* link(tenantId, backup.deviceId, asset, { role: "backup" })
      const at = now() - 600 * SECOND
      const say = (device: typeof primary, seconds: number, temp_1: number) =>
        Effect.andThen(send([message(device, randomUUID(), at + seconds * SECOND, { temp_1 })]), Effect.sleep(60))
      yield* say(primary, 0, 10)
      yield* say(backup, 5, 90)
      yield* say(backup, 119, 91)
      yield* say(backup, 120, 92)
      yield* say(primary, 130, 11)
      yield* say(backup, 140, 93)
      yield* say(primary, 150, 12)
      const frames = yield* eventually("the last", framesOf(asset), (all) => all.at(-1)?.metrics["temperature"] === 12)
      assert.deepStrictEqual(
        frames.map(({ metrics, ts }) => [(ts - at) / SECOND, metrics["temperature"]]),
        [
          [0, 10],
          [120, 92],
          [130, 11],
          [150, 12]
        ]
      )
    })
  )

  it.effect("have one value of a message that is delivered twice, and correct one another's order", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint(endpoint)
      const type = yield* insertAssetType(device.tenantId, {
        ...motor,
        aggregationRules: { voltage: { windowSeconds: 60, fn: "count" } }
      })
      const asset = yield* insertAsset(device.tenantId, type)
      yield* link(device.tenantId, device.deviceId, asset)
      const at = Math.floor(now() / (60 * SECOND)) * 60 * SECOND - 60 * SECOND
      const of = (seconds: number) => message(device, randomUUID(), at + seconds * SECOND, { voltage: seconds })
      const [first, second, third] = [of(1), of(2), of(3)]
      yield* send([first, first])
      yield* eventually("a frame", framesOf(asset), ({ length }) => length === 1)
      yield* send([third, first])
      yield* eventually("a frame", framesOf(asset), ({ length }) => length === 2)
      yield* send([second, third, second])
      const frames = yield* eventually("all", framesOf(asset), ({ length }) => length === 3)
      assert.deepStrictEqual(
        frames.map(({ metrics, ts }) => [(ts - at) / SECOND, metrics["voltage"]]),
        [
          [1, 1],
          [2, 2],
          [3, 3]
        ]
      )
      yield* eventually("the correction", latestOf(asset), (latest) => latest?.["voltage"] === 3)
      const told = (yield* recordsOf(Topics.asset))
        .filter(({ key }) => key === asset)
        .map(({ value }) => JSON.parse(Buffer.from(value).toString()))
      const last = told.filter(({ ts }) => ts === at + 3 * SECOND)
      assert.isTrue(last.every(({ readingId }) => readingId === last[0].readingId))
      assert.isTrue(last.length === 2 && last[1].revision > last[0].revision, JSON.stringify(last))
    })
  )

  it.effect("judge by the version of their type that was in force when it was measured", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint(endpoint)
      const type = yield* insertAssetType(device.tenantId, motor)
      const asset = yield* insertAsset(device.tenantId, type)
      yield* link(device.tenantId, device.deviceId, asset)
      const at = now()
      yield* publishAssetType(
        device.tenantId,
        type,
        2,
        { ...motor, transformationEngine: { mappings: { temperature: "temp_2" } } },
        (at - 10 * SECOND) / 1_000
      )
      yield* Effect.sleep(1_500)
      const payload = { temp_1: 1, temp_2: 2 }
      yield* send([
        message(device, randomUUID(), at - 11 * SECOND, payload),
        message(device, randomUUID(), at - 10 * SECOND, payload)
      ])
      const frames = yield* eventually("both", framesOf(asset), ({ length }) => length === 2)
      assert.deepStrictEqual(
        frames.map(({ metrics }) => metrics["temperature"]),
        [1, 2]
      )
    })
  )

  it.effect("of a gateway's message are shown together, or after a while as far as they are", () =>
    Effect.gen(function* () {
      const gateway = yield* insertGateway({ childConfig: endpoint })
      const { tenantId } = gateway
      const sql = yield* OwnerSql
      const type = yield* insertAssetType(tenantId, motor)
      const children = [yield* insertChild(gateway, "a"), yield* insertChild(gateway, "b")]
      const assets = [yield* insertAsset(tenantId, type), yield* insertAsset(tenantId, type)]
      yield* link(tenantId, children[0]!, assets[0]!)
      yield* link(tenantId, children[1]!, assets[1]!)
      const at = now()
      const whole = randomUUID()
      yield* send([
        message(gateway, whole, at, {
          devices: [
            { id: "a", temp_1: 1 },
            { id: "b", temp_1: 2 }
          ]
        })
      ])
      for (const [index, asset] of assets.entries()) {
        yield* eventually("the latest", latestOf(asset), (latest) => latest?.["temperature"] === index + 1)
      }
      const transaction = (id: string) =>
        sql<{ visible: string | null; assets: number; done: number }>`
          select metadata ->> 'assetsVisible' as visible, cardinality(assets) as assets, cardinality(done) as done
          from telemetry_transactions where id = ${id}`
      assert.deepStrictEqual(yield* transaction(whole), [{ visible: "complete", assets: 2, done: 2 }])
      // An asset more belongs to the next message, of which nothing comes.
      const halting = randomUUID()
      yield* sql`insert into telemetry_transactions (id, tenant_id, gateway_device_id, correlation_id, status, started_at, assets, metadata)
        values (${halting}, ${tenantId}, ${gateway.deviceId}, 'x', 'processing', now(), ${[randomUUID()]}::uuid[], ${sql.json({ assetsAt: Date.now() / 1_000 })})`
      yield* send([
        message(gateway, halting, at + SECOND, {
          devices: [
            { id: "a", temp_1: 3 },
            { id: "b", temp_1: 4 }
          ]
        })
      ])
      yield* eventually("the history", framesOf(assets[1]!), ({ length }) => length === 2)
      yield* eventually("both are done", transaction(halting), ([row]) => row?.done === 2)
      assert.strictEqual((yield* latestOf(assets[0]!))?.["temperature"], 1)
      yield* sql`update telemetry_transactions set metadata = metadata || '{"assetsAt": 0}' where id = ${halting}`
      yield* eventually("the latest", latestOf(assets[0]!), (latest) => latest?.["temperature"] === 3)
      assert.strictEqual((yield* latestOf(assets[1]!))?.["temperature"], 4)
      assert.deepStrictEqual(yield* transaction(halting), [{ visible: "partial", assets: 3, done: 2 }])
      const [held] = yield* sql`select count(*)::int as count from entity_latest where held is not null`
      assert.deepStrictEqual(held, { count: 0 })
      assert.strictEqual(yield* showOverdue(sql), 0)
    })
  )

  it.effect("keep what is of the future aside, and dead-letter what cannot be read", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint({
        ...endpoint,
        timestamp: { path: ["$.t"], format: "s", maxAheadSeconds: 3_600 }
      })
      const type = yield* insertAssetType(device.tenantId, motor)
      const asset = yield* insertAsset(device.tenantId, type)
      yield* link(device.tenantId, device.deviceId, asset)
      const at = now()
      yield* send([
        message(device, randomUUID(), at, { temp_1: 5, t: at / SECOND + 61 }),
        message(device, randomUUID(), at, { temp_1: 6, t: at / SECOND }),
        {
          topic: Topics.assetReadings,
          key: asset,
          value: Buffer.from("no json"),
          headers: { "message-id": randomUUID(), "received-at": String(at) }
        }
      ])
      const frames = yield* eventually("both", framesOf(asset), ({ length }) => length === 2)
      assert.deepStrictEqual(
        frames.map(({ metrics, quality }) => [metrics["temperature"], quality]),
        [
          [6, null],
          [5, { temperature: "uncertain" }]
        ]
      )
      assert.strictEqual((yield* latestOf(asset))?.["temperature"], 6)
      yield* eventually(
        "the dead letter",
        recordsOf(deadLetterTopic(Topics.assetReadings)),
        ({ length }) => length === 1
      )
    })
  )
})
