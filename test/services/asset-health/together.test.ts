import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { insertGateway } from "../../layers/profiles/registry.ts"
import { message } from "../jobs/pipelineWorld.ts"
import { assetWorld, eventually, insertAssetType } from "./world.ts"

const BEACONS = 2_000
const OF_AN_ASSET = 10
const ASSETS = BEACONS / OF_AN_ASSET
const MESSAGES = 6

const keyOf = (place: number) => `beacon_${place}`
const keys = Array.from({ length: OF_AN_ASSET }, (_, place) => keyOf(place))
const type = {
  metricDefinitions: keys.map((key) => ({ key, displayName: key, dataType: "numeric" })),
  transformationEngine: { derived: { total: keys.join(" + ") } },
  healthAlgorithm: {
    algorithm: "weighted_average",
    metrics: [{ metricKey: "beacon_0", weight: 1, direction: "higher_better", min: 0, max: 100 }]
  }
}
const beacon = { processingMode: "endpoint", extractionRules: { signal: { path: "$.signal", type: "numeric" } } }

/** A gateway's beacons as devices, ten of them linked to each asset under metrics of their own. */
const insertBeacons = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const gateway = yield* insertGateway({ childConfig: beacon })
  const { tenantId } = gateway
  const typeId = yield* insertAssetType(tenantId, type)
  const assets = Array.from({ length: ASSETS }, () => randomUUID())
  const devices = Array.from({ length: BEACONS }, () => randomUUID())
  const owners = devices.map((_, index) => assets[Math.floor(index / OF_AN_ASSET)]!)
  yield* sql`insert into devices (id, tenant_id, name, device_type_id, parent_device_id, logical_identifier)
    select id, ${tenantId}, 'b' || place, ${gateway.childTypeId}, ${gateway.deviceId}, 'b' || place
    from unnest(${devices}::uuid[]) with ordinality t (id, place)`
  yield* sql`insert into assets (id, tenant_id, name, asset_type_id)
    select id, ${tenantId}, id::text, ${typeId} from unnest(${assets}::uuid[]) id`
  yield* sql`insert into entity_edges (id, tenant_id, source_entity_type, source_entity_id, target_entity_type,
      target_entity_id, relationship_type, valid_from, metadata)
    select gen_random_uuid(), ${tenantId}, 'device', device, 'asset', asset, 'MONITORED_BY', now() - interval '1 day',
      jsonb_build_object('role', 'primary', 'metrics_mapping',
        jsonb_build_object('beacon_' || (place - 1) % ${OF_AN_ASSET}::int, 'signal'))
    from unnest(${devices}::uuid[], ${owners}::uuid[]) with ordinality linked (device, asset, place)`
  return { gateway, assets }
})

interface Look {
  /** Different values of beacons, over all assets and metrics. */
  readonly values: ReadonlyArray<number>
  readonly missing: number
  /** Different scores; each follows from a value. */
  readonly scores: ReadonlyArray<number>
  /** Assets that have history of the newest message. */
  readonly stored: number
}

layer(assetWorld, { excludeTestServices: true, timeout: 60_000 })("200 assets of one gateway message", (it) => {
  it.effect(
    "are at all times shown as before it or as after it, though their history comes piece by piece",
    () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const bus = yield* Bus
        const { assets, gateway } = yield* insertBeacons
        /** What `/latest` and health of all of them show at one moment. */
        const look = (round: number) =>
          sql.unsafe<Look>(
            `select
              coalesce((select array_agg(distinct value::float8) from entity_latest held
                cross join lateral jsonb_each_text(held.metrics) m (key, value)
                where held.entity_id = any($1::uuid[]) and key like 'beacon%'), '{}') as values,
              (select ${BEACONS} - count(*)::int from entity_latest held cross join lateral jsonb_object_keys(held.metrics) key
                where held.entity_id = any($1::uuid[]) and key like 'beacon%') as missing,
              coalesce((select array_agg(distinct health_score) from asset_status where asset_id = any($1::uuid[])), '{}') as scores,
              (select count(distinct entity_id)::int from telemetry_frames
                where entity_id = any($1::uuid[]) and metrics ->> 'beacon_0' = '${round}') as stored`,
            [`{${assets.join(",")}}`]
          )
        let halfStored = 0
        let looks = 0
        for (let round = 1; round <= MESSAGES; round++) {
          const devices = Array.from({ length: BEACONS }, (_, place) => ({ id: `b${place + 1}`, signal: round }))
          yield* bus.publish([message(gateway, randomUUID(), Date.now() * 1_000, { devices })])
          yield* eventually(
            `message ${round}`,
            Effect.map(look(round), ([seen]) => {
              looks += 1
              if (seen!.stored > 0 && seen!.stored < ASSETS) halfStored += 1
              const told = `of message ${round}: ${JSON.stringify(seen)}`
              assert.isAtMost(seen!.values.length, 1, told)
              assert.isTrue(seen!.missing === 0 || (round === 1 && seen!.missing === BEACONS), told)
              assert.isAtMost(seen!.scores.length, 1, told)
              const [value] = seen!.values
              if (value !== undefined) assert.closeTo(seen!.scores[0]!, value, 1e-9, told)
              return seen!
            }),
            ({ values }) => values[0] === round
          )
        }
        // Control: whoever looks so often sees what is not held back half done.
        assert.isAbove(halfStored, 0, `of ${looks} looks none fell into the storing of a message`)
      }),
    60_000
  )
})
