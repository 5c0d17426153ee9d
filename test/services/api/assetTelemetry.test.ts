import { randomUUID } from "node:crypto"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { storeAssets } from "@argusiq/layers/asset-state/AssetStore.ts"
import type { AssetFrame } from "@argusiq/layers/asset-state/frameStatement.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { insertAsset, insertAssetType, link } from "../asset-health/world.ts"
import { addOrganization, Api, apiServer } from "./apiServer.ts"

const SECOND = 1_000_000
const START = Date.parse("2026-01-31T10:00:00Z") * 1_000
const iso = (seconds: number) => new Date(START / 1_000 + seconds * 1_000).toISOString()

const motor = {
  metricDefinitions: [
    { key: "temperature", displayName: "Temperature", dataType: "numeric", unit: "Cel" },
    { key: "voltage", displayName: "Voltage", dataType: "numeric" }
  ],
  transformationEngine: { mappings: { temperature: "temp_1" }, derived: { double: "voltage * 2" } },
  aggregationRules: { voltage: { windowSeconds: 120, fn: "avg" } },
  validationRules: { temperature: { max: 100 } },
  healthAlgorithm: {
    algorithm: "weighted_average",
    metrics: [{ metricKey: "temperature", weight: 1, direction: "lower_better", min: 0, max: 100 }]
  }
}

const health = (score: number) => ({
  score,
  algorithm: "weighted_average",
  contributions: [{ metricKey: "temperature", value: 100 - score, score, weight: 1, points: score }]
})

layer(apiServer, { excludeTestServices: true })("an asset's telemetry", (it) => {
  const world = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const tenantId = api.firstDevice.organizationId
    const type = yield* insertAssetType(tenantId, motor)
    const asset = yield* insertAsset(tenantId, type)
    const get = (path: string, headers = {}) => api.call("GET", `/api/v1${path}`, { token, headers })
    const post = (path: string, body: object) => api.call("POST", `/api/v1${path}`, { token, body })
    return { api, asset, get, post, tenantId, token, type }
  })
  const frame = (asset: string, tenantId: string, seconds: number, score: number): AssetFrame => ({
    assetId: asset,
    tenantId,
    readingId: randomUUID(),
    revision: 1,
    output: {
      ts: START + seconds * SECOND,
      receivedAt: START + seconds * SECOND,
      assetTypeVersion: 1,
      metrics: { temperature: 100 - score, health_score: score },
      health: health(score),
      sourceDevices: []
    }
  })

  it.effect("is answered as history, as CSV, as latest values and as health", () =>
    Effect.gen(function* () {
      const { asset, get, tenantId } = yield* world
      const sql = yield* OwnerSql
      const frames = [0, 10, 20].map((seconds) => frame(asset, tenantId, seconds, 60 + seconds))
      yield* sql.withTransaction(storeAssets(sql, { frames, aside: [], gone: [] }))
      const period = `startTime=${iso(0)}&endTime=${iso(60)}`
      const one = yield* get(`/telemetry/asset/${asset}?metricKey=health_score&${period}`)
      assert.strictEqual(one.status, 200, one.text)
      assert.strictEqual(one.body.assetId, asset)
      assert.deepStrictEqual(
        one.body.data.map(({ value }: { value: number }) => value),
        [60, 70, 80]
      )
      const buckets = yield* get(`/telemetry/asset/${asset}?metricKey=temperature&aggregation=1m&${period}`)
      assert.deepStrictEqual(buckets.body.data, [{ timestamp: iso(0), value: 30 }])
      const csv = yield* get(`/telemetry/asset/${asset}?metricKey=temperature&${period}`, { accept: "text/csv" })
      assert.deepStrictEqual(csv.text.trim().split(/\r?\n/).slice(0, 2), [
        "timestamp,metricKey,value,quality",
        `${iso(0)},temperature,40,good`
      ])
      const latest = yield* get(`/telemetry/asset/${asset}/latest`)
      assert.deepStrictEqual(latest.body, {
        assetId: asset,
        metrics: {
          temperature: { value: 20, timestamp: iso(20), quality: "good", unit: "Cel" },
          health_score: { value: 80, timestamp: iso(20), quality: "good", unit: "%" }
        },
        updating: false,
        lastTelemetryAt: iso(20),
        healthScore: 80
      })
      const { body } = yield* get(`/assets/${asset}/health?${period}`)
      assert.deepStrictEqual(body, {
        assetId: asset,
        ...health(80),
        version: 1,
        inputs: { temperature: 20 },
        devices: 0,
        updatedAt: iso(20),
        history: [
          { timestamp: iso(20), score: 80 },
          { timestamp: iso(10), score: 70 },
          { timestamp: iso(0), score: 60 }
        ]
      })
    })
  )

  it.effect("is empty before the first reading: no score is null, never 0", () =>
    Effect.gen(function* () {
      const { asset, get } = yield* world
      const { body } = yield* get(`/assets/${asset}/health`)
      assert.deepStrictEqual([body.score, body.history, body.updatedAt], [null, [], null])
      assert.deepStrictEqual((yield* get(`/telemetry/asset/${asset}/latest`)).body.metrics, {})
      assert.deepStrictEqual((yield* get(`/telemetry/asset/${asset}`)).body.series, [])
    })
  )

  it.effect("is nobody else's", () =>
    Effect.gen(function* () {
      const { api, asset, type } = yield* world
      const { email } = yield* addOrganization(`other-${randomUUID().slice(0, 8)}`)
      const token = yield* api.login(email)
      for (const path of [`/telemetry/asset/${asset}`, `/telemetry/asset/${asset}/latest`, `/assets/${asset}/health`]) {
        assert.strictEqual((yield* api.call("GET", `/api/v1${path}`, { token })).status, 404, path)
      }
      const tried = { readings: [{ metrics: { temp_1: 1 } }] }
      assert.strictEqual(
        (yield* api.call("POST", `/api/v1/asset-types/${type}/telemetry-config/test`, { token, body: tried })).status,
        404
      )
    })
  )

  it.effect("can be tried step by step, and is stored nowhere", () =>
    Effect.gen(function* () {
      const { post, type } = yield* world
      const sql = yield* OwnerSql
      const before = yield* sql`select count(*)::int as frames from telemetry_frames`
      const readings = [
        { timestamp: iso(30), metrics: { temp_1: 400, voltage: 4 } },
        { timestamp: iso(0), metrics: { temp_1: 40, voltage: 2 } }
      ]
      const { body, status, text } = yield* post(`/asset-types/${type}/telemetry-config/test`, { readings })
      assert.strictEqual(status, 200, text)
      assert.deepStrictEqual(body.steps[1], {
        timestamp: iso(30),
        mapped: { temperature: 400, voltage: 4 },
        refused: { temperature: "400 is above 100" },
        windowed: { voltage: { fn: "avg", windowSeconds: 120, value: 3 } },
        derived: { double: { value: 6 } },
        health: health(60),
        metrics: { temperature: 400, voltage: 3, double: 6, health_score: 60 },
        quality: { temperature: "bad" }
      })
      const cyclic = { ...motor, transformationEngine: { derived: { a: "b", b: "a" } } }
      const refused = yield* post(`/asset-types/${type}/telemetry-config/test`, { readings, config: cyclic })
      assert.strictEqual(refused.status, 422)
      assert.deepStrictEqual(refused.body.errors, [
        { path: "config.transformationEngine.derived", message: "the derived metrics a → b → a depend on themselves" }
      ])
      assert.deepStrictEqual(yield* sql`select count(*)::int as frames from telemetry_frames`, before)
    })
  )

  it.effect("can be previewed over the history of its devices", () =>
    Effect.gen(function* () {
      const { api, asset, tenantId, token, type } = yield* world
      const sql = yield* OwnerSql
      const device = randomUUID()
      yield* link(tenantId, device, asset, { metrics_mapping: { temperature: "$.temp_2" } }, { from: START / 1_000 })
      for (const seconds of [-1, 0, 30]) {
        const metrics = sql.json({ temp_1: 1, temp_2: 50 + seconds, voltage: 10 + seconds })
        yield* sql`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
            source_device_id, config_version, metrics)
          values (${tenantId}::uuid, 'device', ${device}::uuid, ${iso(seconds)}::timestamptz, ${randomUUID()}::uuid,
            ${randomUUID()}::uuid, ${iso(seconds)}::timestamptz, ${device}::uuid, 1, ${metrics})`
      }
      const response = yield* Effect.promise(() =>
        fetch(`${api.url}/api/v1/asset-types/${type}/telemetry-config/preview`, {
          method: "POST",
          headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
          body: JSON.stringify({ assetId: asset, startTime: iso(10), endTime: iso(60) })
        }).then(async (answer) => [answer.status, await answer.text()] as const)
      )
      assert.deepStrictEqual(
        response[1]
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line)),
        [
          {
            timestamp: iso(30),
            metrics: { temperature: 80, voltage: 25, double: 50, health_score: 20 },
            quality: {},
            health: health(20)
          }
        ]
      )
    })
  )
})
