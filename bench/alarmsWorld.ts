/**
 * What the bench of assets and alarms sets up on a platform: a type with derived metrics and health, an asset for each device,
 * parents above some of them, rules, and a template that makes an activity of each breach.
 * @module
 */
import { randomUUID } from "node:crypto"
import { breachKinds, quietRule } from "./breaches.ts"
import { type World } from "./world.ts"

const CHILDREN_OF_A_PARENT = 10

const metricDefinitions = ["temperature", "pressure", "vibration"].map((key) => ({
  key,
  displayName: key,
  dataType: "numeric"
}))
const machine = {
  metricDefinitions,
  transformationEngine: {
    mappings: { temperature: "metric_0", pressure: "metric_1", vibration: "metric_2" },
    derived: { power: "temperature * pressure", load: "power / 500" }
  },
  healthAlgorithm: {
    algorithm: "weighted_average",
    metrics: [
      { metricKey: "temperature", weight: 2, direction: "lower_better", min: 0, max: 120 },
      { metricKey: "load", weight: 1, direction: "lower_better", min: 0, max: 10 }
    ]
  }
}
const line = { rollup: { metrics: { load: "avg" }, health: "avg" } }

export interface AssetTypeIds {
  readonly machine: string
  readonly line: string
}

/** @param withParent so many of the assets have one, {@link CHILDREN_OF_A_PARENT} each */
export const setUpAssets = async (
  { devices, platform, sql }: World,
  { rules, withParent }: { readonly rules: number; readonly withParent: number }
): Promise<AssetTypeIds> => {
  const make = async (path: string, body: object) => (await platform.api<{ id: string }>("POST", path, body)).id
  const types = {
    machine: await make("/asset-types", { name: "Machine", config: machine }),
    line: await make("/asset-types", { name: "Line", config: line })
  }
  const parents = Array.from({ length: Math.ceil(withParent / CHILDREN_OF_A_PARENT) }, () => randomUUID())
  const linked = JSON.stringify(
    devices.map(({ id }, index) => ({
      device: id,
      asset: randomUUID(),
      parent: index < withParent ? parents[Math.floor(index / CHILDREN_OF_A_PARENT)] : null
    }))
  )
  await sql.query(
    `with type as (select id, tenant_id from asset_types where id = '${types.line}')
    insert into assets (id, tenant_id, name, asset_type_id)
    select parent::uuid, type.tenant_id, 'Line ' || parent, type.id
    from json_array_elements_text('${JSON.stringify(parents)}') parent, type`
  )
  await sql.query(
    `with type as (select id, tenant_id from asset_types where id = '${types.machine}'
    ), linked as (
      select * from json_to_recordset('${linked}') as t (device uuid, asset uuid, parent uuid)
    ), asset as (
      insert into assets (id, tenant_id, name, asset_type_id, parent_id)
      select linked.asset, type.tenant_id, 'Machine ' || linked.asset, type.id, linked.parent from linked, type)
    insert into entity_edges (id, tenant_id, source_entity_type, source_entity_id, target_entity_type,
      target_entity_id, relationship_type, valid_from, metadata)
    select gen_random_uuid(), type.tenant_id, 'device', device, 'asset', asset, 'MONITORED_BY', now() - interval '1 day',
      '{"role": "primary"}' from linked, type`
  )
  await sql.query("analyze assets, entity_edges")
  const ofAssets = breachKinds.filter(({ rule }) => rule.entityType === "asset")
  for (const { rule } of breachKinds) await make("/rules", rule)
  for (let index = ofAssets.length; index < rules; index++) await make("/rules", quietRule(index))
  const activityTypeId = await make("/activity-types", { name: "Inspection" })
  await make("/activity-templates", {
    name: "Look after the breach",
    activityTypeId,
    triggerEventType: "THRESHOLD_BREACH"
  })
  await noteCommits(sql)
  return types
}

/** Rows of events are updated when they are published, so that their own commit times are no use. */
const noteCommits = async (sql: World["sql"]) => {
  const noted = [
    { table: "bench_events", of: "system_events", column: "id", when: "when (new.event_type = 'THRESHOLD_BREACH')" },
    { table: "bench_activities", of: "activity_events", column: "event_id", when: "" }
  ]
  for (const { column, of, table, when } of noted) {
    await sql.query(`create table ${table} (event_id uuid primary key)`)
    await sql.query(
      `create function note_${table}() returns trigger language plpgsql security definer as
      $$ begin insert into public.${table} values (new.${column}) on conflict do nothing; return null; end $$`
    )
    await sql.query(
      `create trigger ${table} after insert on ${of} for each row ${when} execute function note_${table}()`
    )
  }
}
