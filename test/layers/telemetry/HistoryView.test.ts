import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { framesTable, makePartition } from "@argusiq/layers/database/partitions.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { insertFrames } from "../database/telemetryRows.ts"
import { insertEndpoint } from "../profiles/registry.ts"

const at = Date.UTC(2026, 2, 2)
const week = 7 * 86_400_000

layer(testDatabase, { excludeTestServices: true })("telemetry_history", (it) => {
  const rowsOf = Effect.fnUntraced(function* (entityId: string) {
    const sql = yield* PipelineSql
    const rows = yield* sql`select entity_type, metric_key, value, value_text, value_json, unit, quality, timestamp
      from telemetry_history where entity_id = ${entityId}::uuid order by timestamp, metric_key`
    return rows.map((row) => Object.values(row))
  })

  it.effect(
    "has one row per metric, whatever its type, with its unit, of every frame there is, also the late and the far",
    () =>
      Effect.gen(function* () {
        const owner = yield* OwnerSql
        const pipeline = yield* PipelineSql
        const config = {
          processingMode: "endpoint",
          extractionRules: { n: { path: "$.n", type: "numeric", unit: "Cel" } }
        }
        const { deviceId, tenantId } = yield* insertEndpoint(config)
        yield* makePartition(owner, framesTable, at)
        const device = { tenantId, entityId: deviceId }
        const metrics = { n: 1.5, on: true, s: "x", list: [1] }
        yield* insertFrames(pipeline, [at + 1_000], { ...device, metrics, quality: { n: "bad" } })
        yield* insertFrames(pipeline, [at], { ...device, metrics: { n: 2 } }) // late
        yield* insertFrames(pipeline, [at - week, at + 500 * week], { ...device, metrics: { n: 3 } }) // in no partition
        const expected = [
          ["device", "n", 3, null, null, "Cel", "good", new Date(at - week)],
          ["device", "n", 2, null, null, "Cel", "good", new Date(at)],
          ["device", "list", null, null, [1], null, "good", new Date(at + 1_000)],
          ["device", "n", 1.5, null, null, "Cel", "bad", new Date(at + 1_000)],
          ["device", "on", 1, "true", null, null, "good", new Date(at + 1_000)],
          ["device", "s", null, "x", null, null, "good", new Date(at + 1_000)],
          ["device", "n", 3, null, null, "Cel", "good", new Date(at + 500 * week)]
        ]
        assert.deepStrictEqual(yield* rowsOf(deviceId), expected)
        yield* makePartition(owner, framesTable, at - week)
        assert.deepStrictEqual(yield* rowsOf(deviceId), expected, "a row that moves into its partition stays one")
      })
  )

  it.effect("has the frames of assets, which have no device type", () =>
    Effect.gen(function* () {
      const pipeline = yield* PipelineSql
      const { deviceId, tenantId } = yield* insertEndpoint()
      const assetId = randomUUID()
      yield* pipeline`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
          source_device_id, config_version, metrics)
        values (${tenantId}::uuid, 'asset', ${assetId}::uuid, ${new Date(at)}, ${randomUUID()}::uuid, ${randomUUID()}::uuid,
          now(), ${deviceId}::uuid, 1, '{"health": 80}')`
      assert.deepStrictEqual(yield* rowsOf(assetId), [["asset", "health", 80, null, null, null, "good", new Date(at)]])
    })
  )
})
