-- The demo organisation's assets: a warehouse with two cold rooms, and what makes alarms of them. As the devices, under fixed
-- ids: loading it again adds what is missing and leaves alone what is there.

insert into spaces (id, tenant_id, name, kind, parent_id) values
  ('d0000000-0000-4000-8000-000000000401', 'd0000000-0000-4000-8000-000000000001', 'Warehouse Hamburg', 'site', null),
  ('d0000000-0000-4000-8000-000000000402', 'd0000000-0000-4000-8000-000000000001', 'Hall 1', 'building',
   'd0000000-0000-4000-8000-000000000401')
on conflict do nothing;

insert into asset_types (id, tenant_id, name, description, category, icon, color, custom_fields, published_version) values
  ('d0000000-0000-4000-8000-000000000501', 'd0000000-0000-4000-8000-000000000001', 'Warehouse',
   'A site with cold rooms: as healthy as the worst of them', 'Sites', 'warehouse', '#4a5568', '{}', 1),
  ('d0000000-0000-4000-8000-000000000502', 'd0000000-0000-4000-8000-000000000001', 'Cold room',
   'Kept between 2 and 6 °C', 'Refrigeration', 'snowflake', '#2b6cb0',
   '{"type": "object", "properties": {"volume": {"type": "number", "minimum": 0}}}', 1)
on conflict do nothing;

insert into asset_type_versions (id, tenant_id, asset_type_id, number, state, effective_at, config, resolved, note)
select demo.id, 'd0000000-0000-4000-8000-000000000001', demo.asset_type_id, 1, 'published', '2024-01-01T00:00:00Z',
  demo.config, demo.config, 'Demo'
from (values
  ('d0000000-0000-4000-8000-000000000511'::uuid, 'd0000000-0000-4000-8000-000000000501'::uuid, $${
    "metricDefinitions": [
      { "key": "temperature", "displayName": "Mean of the cold rooms", "dataType": "numeric", "unit": "Cel", "precision": 1 }
    ],
    "rollup": { "metrics": { "temperature": "avg" }, "health": "worst" }
  }$$::jsonb),
  ('d0000000-0000-4000-8000-000000000512', 'd0000000-0000-4000-8000-000000000502', $${
    "metricDefinitions": [
      { "key": "temperature", "displayName": "Temperature", "dataType": "numeric", "unit": "Cel", "precision": 1 },
      { "key": "temperature_average", "displayName": "Temperature, 15 minutes", "dataType": "numeric", "unit": "Cel", "precision": 1 },
      { "key": "humidity", "displayName": "Humidity", "dataType": "numeric", "unit": "%", "precision": 0 },
      { "key": "door_open", "displayName": "Door open", "dataType": "boolean" }
    ],
    "transformationEngine": {
      "mappings": { "door_open": "$.door", "temperature": "$.temperature", "temperature_average": "$.temperature" },
      "derived": { "above_target": "temperature - 4" }
    },
    "aggregationRules": { "temperature_average": { "windowSeconds": 900, "fn": "avg" } },
    "validationRules": {
      "temperature": { "min": -40, "max": 40, "maxRatePerSecond": 2 },
      "humidity": { "min": 0, "max": 100 }
    },
    "healthAlgorithm": {
      "algorithm": "weighted_average",
      "metrics": [
        { "metricKey": "temperature", "weight": 3, "direction": "band", "min": -2, "max": 14, "band": [2, 6] },
        { "metricKey": "humidity", "weight": 1, "direction": "lower_better", "min": 40, "max": 100 }
      ]
    },
    "thresholdRules": [
      { "metricKey": "temperature", "direction": "above", "warning": 8, "critical": 12, "hysteresis": 0.5, "debounceSeconds": 60 }
    ],
    "eventRules": [
      {
        "key": "door", "if": "door_open = true and temperature > 6", "eventType": "DOOR_LEFT_OPEN", "severity": "medium",
        "message": "The door of {{asset.name}} is open and it gets warm", "cooldownSeconds": 600
      }
    ],
    "testVectors": [
      {
        "name": "a good day",
        "readings": [{ "atSeconds": 0, "metrics": { "temperature": 4, "humidity": 40 } }],
        "expected": { "metrics": { "temperature": 4, "above_target": 0 }, "healthScore": 100 }
      }
    ]
  }$$)
) as demo (id, asset_type_id, config)
join asset_types on asset_types.id = demo.asset_type_id
on conflict do nothing;

insert into asset_profiles (id, tenant_id, name, description, asset_type_id, device_mode, location_mode, default_attributes,
  health_thresholds) values
  ('d0000000-0000-4000-8000-000000000521', 'd0000000-0000-4000-8000-000000000001', 'Walk-in cold room',
   'Forty cubic metres, one sensor and a spare one', 'd0000000-0000-4000-8000-000000000502', 'many', 'floor_plan',
   '{"volume": 40}', '{"warning": 80, "critical": 50}')
on conflict do nothing;

insert into assets (id, tenant_id, name, asset_type_id, profile_id, parent_id, space_id, lat, lon, custom_attributes) values
  ('d0000000-0000-4000-8000-000000000601', 'd0000000-0000-4000-8000-000000000001', 'Warehouse Hamburg',
   'd0000000-0000-4000-8000-000000000501', null, null, 'd0000000-0000-4000-8000-000000000401', 53.5396, 9.9995, '{}'),
  ('d0000000-0000-4000-8000-000000000602', 'd0000000-0000-4000-8000-000000000001', 'Cold room 1',
   'd0000000-0000-4000-8000-000000000502', 'd0000000-0000-4000-8000-000000000521',
   'd0000000-0000-4000-8000-000000000601', 'd0000000-0000-4000-8000-000000000402', null, null, '{"volume": 40}'),
  ('d0000000-0000-4000-8000-000000000603', 'd0000000-0000-4000-8000-000000000001', 'Cold room 2',
   'd0000000-0000-4000-8000-000000000502', 'd0000000-0000-4000-8000-000000000521',
   'd0000000-0000-4000-8000-000000000601', 'd0000000-0000-4000-8000-000000000402', null, null, '{"volume": 55}')
on conflict do nothing;

insert into entity_edges (id, tenant_id, source_entity_type, source_entity_id, target_entity_type, target_entity_id,
  relationship_type, valid_from, metadata)
select demo.id, 'd0000000-0000-4000-8000-000000000001', 'device', devices.id, 'asset', assets.id, 'MONITORED_BY',
  '2024-01-01T00:00:00Z', demo.metadata
from (values
  ('d0000000-0000-4000-8000-000000000701'::uuid, 'd0000000-0000-4000-8000-000000000301'::uuid, 'd0000000-0000-4000-8000-000000000602'::uuid, '{"role": "primary"}'::jsonb),
  ('d0000000-0000-4000-8000-000000000702', 'd0000000-0000-4000-8000-000000000302', 'd0000000-0000-4000-8000-000000000603', '{"role": "primary"}'),
  ('d0000000-0000-4000-8000-000000000703', 'd0000000-0000-4000-8000-000000000303', 'd0000000-0000-4000-8000-000000000603', '{"role": "backup"}')
) as demo (id, device_id, asset_id, metadata)
join devices on devices.id = demo.device_id
join assets on assets.id = demo.asset_id
on conflict do nothing;

insert into asset_groups (id, tenant_id, name, description, filter) values
  ('d0000000-0000-4000-8000-000000000801', 'd0000000-0000-4000-8000-000000000001', 'Cold rooms in use', 'Every active cold room',
   '{"assetTypeId": "d0000000-0000-4000-8000-000000000502", "status": "active"}')
on conflict do nothing;

-- Two stand in the configuration of the type; the third is somebody's own.
insert into threshold_rules (id, tenant_id, name, description, owner_type_id, owner_key) values
  ('d0000000-0000-4000-8000-000000000901', 'd0000000-0000-4000-8000-000000000001', 'Cold room: temperature above 8', '',
   'd0000000-0000-4000-8000-000000000502', 'threshold:above:temperature'),
  ('d0000000-0000-4000-8000-000000000902', 'd0000000-0000-4000-8000-000000000001', 'Cold room: door', '',
   'd0000000-0000-4000-8000-000000000502', 'event:door'),
  ('d0000000-0000-4000-8000-000000000903', 'd0000000-0000-4000-8000-000000000001', 'Cold rooms fall silent',
   'Nothing measured for fifteen minutes', null, null)
on conflict do nothing;

insert into threshold_rule_versions (rule_id, tenant_id, number, effective_at, config, type_version)
select demo.rule_id, 'd0000000-0000-4000-8000-000000000001', 1, '2024-01-01T00:00:00Z', demo.config, demo.type_version
from (values
  ('d0000000-0000-4000-8000-000000000901'::uuid, $${
    "name": "Cold room: temperature above 8", "entityType": "asset",
    "scope": { "kind": "type", "id": "d0000000-0000-4000-8000-000000000502" }, "metricKey": "temperature",
    "condition": { "operator": "above", "warning": 8, "critical": 12, "durationSeconds": 0 },
    "hysteresis": 0.5, "debounceSeconds": 60, "cooldownSeconds": 300, "severity": "warning",
    "messageTemplate": "{{asset.name}}: temperature is {{value}}, above {{threshold}}",
    "actions": [], "notifyWhenSettled": false, "isActive": true
  }$$::jsonb, 1),
  ('d0000000-0000-4000-8000-000000000902', $${
    "name": "Cold room: door", "entityType": "asset",
    "scope": { "kind": "type", "id": "d0000000-0000-4000-8000-000000000502" },
    "condition": { "operator": "expression", "expression": "door_open = true and temperature > 6", "durationSeconds": 0 },
    "hysteresis": 0, "debounceSeconds": 0, "cooldownSeconds": 600, "severity": "medium", "eventType": "DOOR_LEFT_OPEN",
    "messageTemplate": "The door of {{asset.name}} is open and it gets warm",
    "actions": [], "notifyWhenSettled": false, "isActive": true
  }$$, 1),
  ('d0000000-0000-4000-8000-000000000903', $${
    "name": "Cold rooms fall silent", "entityType": "asset",
    "scope": { "kind": "group", "id": "d0000000-0000-4000-8000-000000000801" },
    "condition": { "operator": "noData", "noDataSeconds": 900 },
    "hysteresis": 0, "debounceSeconds": 0, "cooldownSeconds": 300, "severity": "medium",
    "messageTemplate": "{{asset.name}} has measured nothing for 15 minutes",
    "actions": [], "notifyWhenSettled": false, "isActive": true
  }$$, null)
) as demo (rule_id, config, type_version)
join threshold_rules on threshold_rules.id = demo.rule_id
on conflict do nothing;
