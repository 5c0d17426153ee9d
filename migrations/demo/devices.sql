-- The demo organisation: device types and devices under fixed ids. Loading it again adds what is missing and leaves
-- alone what is there, changed or not.

insert into organizations (id, name, slug) values
  ('d0000000-0000-4000-8000-000000000001', 'Demo organisation', 'demo')
on conflict do nothing;

-- One user per role. None has a password, so none can sign in before an administrator gives it one.
insert into users (id, email, name) values
  ('d0000000-0000-4000-8000-000000000101', 'admin@demo.example', 'Ada Admin'),
  ('d0000000-0000-4000-8000-000000000102', 'manager@demo.example', 'Max Manager'),
  ('d0000000-0000-4000-8000-000000000103', 'engineer@demo.example', 'Eve Engineer'),
  ('d0000000-0000-4000-8000-000000000104', 'technician@demo.example', 'Tom Technician'),
  ('d0000000-0000-4000-8000-000000000105', 'viewer@demo.example', 'Vera Viewer')
on conflict do nothing;

insert into memberships (id, tenant_id, user_id, role, is_default)
select demo.id, 'd0000000-0000-4000-8000-000000000001', demo.user_id, demo.role, true
from (values
  ('d0000000-0000-4000-8000-000000000111'::uuid, 'd0000000-0000-4000-8000-000000000101'::uuid, 'admin'),
  ('d0000000-0000-4000-8000-000000000112', 'd0000000-0000-4000-8000-000000000102', 'manager'),
  ('d0000000-0000-4000-8000-000000000113', 'd0000000-0000-4000-8000-000000000103', 'engineer'),
  ('d0000000-0000-4000-8000-000000000114', 'd0000000-0000-4000-8000-000000000104', 'technician'),
  ('d0000000-0000-4000-8000-000000000115', 'd0000000-0000-4000-8000-000000000105', 'viewer')
) as demo (id, user_id, role)
join users on users.id = demo.user_id
on conflict do nothing;

-- The installation's administrators join, and sign in here by default from then on.
with joined as (
  insert into memberships (id, tenant_id, user_id, role, is_default)
  select gen_random_uuid(), 'd0000000-0000-4000-8000-000000000001', users.id, 'admin', true
  from users where users.is_platform_admin
  on conflict do nothing
  returning user_id
)
update memberships set is_default = false from joined
where memberships.user_id = joined.user_id and memberships.tenant_id <> 'd0000000-0000-4000-8000-000000000001';

insert into device_types (id, tenant_id, name, description, icon, protocol, published_version) values
  ('d0000000-0000-4000-8000-000000000201', 'd0000000-0000-4000-8000-000000000001', 'Temperature Sensor',
   'Temperature and humidity of a room, once a minute', 'thermometer', 'mqtt', 1),
  ('d0000000-0000-4000-8000-000000000202', 'd0000000-0000-4000-8000-000000000001', 'Location Hub',
   'Hears the beacons around it and reports them together', 'radio-tower', 'mqtt', 1),
  ('d0000000-0000-4000-8000-000000000203', 'd0000000-0000-4000-8000-000000000001', 'BLE Gateway',
   'Reports thousands of beacons in chunks', 'bluetooth', 'mqtt', 1),
  ('d0000000-0000-4000-8000-000000000204', 'd0000000-0000-4000-8000-000000000001', 'RTU',
   'Four electrical ports on one device', 'plug', 'mqtt', 1),
  ('d0000000-0000-4000-8000-000000000205', 'd0000000-0000-4000-8000-000000000001', 'Beacon',
   'Heard by hubs and gateways', 'bluetooth', 'ble', 1)
on conflict do nothing;

insert into device_type_versions (id, tenant_id, device_type_id, number, state, effective_at, config, note)
select demo.id, 'd0000000-0000-4000-8000-000000000001', demo.device_type_id, 1, 'published', '2024-01-01T00:00:00Z',
  demo.config, 'Demo'
from (values
  ('d0000000-0000-4000-8000-000000000211'::uuid, 'd0000000-0000-4000-8000-000000000201'::uuid, $${
    "processingMode": "endpoint",
    "extractionRules": {
      "temperature": {
        "path": ["$.metrics.temperature", "$.temperature", "$.temp"],
        "type": "numeric", "unit": "Cel", "min": -50, "max": 100
      },
      "humidity": {
        "path": ["$.metrics.humidity", "$.humidity", "$.hum"],
        "type": "numeric", "unit": "%", "min": 0, "max": 100
      },
      "door": { "path": ["$.metrics.door", "$.door"], "type": "boolean" }
    }
  }$$::jsonb),
  ('d0000000-0000-4000-8000-000000000212', 'd0000000-0000-4000-8000-000000000202', $${
    "processingMode": "gateway",
    "demuxStrategy": {
      "childDevicesPath": "$.devices", "childDeviceIdPath": "$.beaconId",
      "autoCreateChildren": true, "childDeviceTypeId": "d0000000-0000-4000-8000-000000000205"
    }
  }$$),
  ('d0000000-0000-4000-8000-000000000213', 'd0000000-0000-4000-8000-000000000203', $${
    "processingMode": "gateway_chunked",
    "chunkingConfig": {},
    "demuxStrategy": {
      "childDevicesPath": "$.data.devices", "childDeviceIdPath": "$.beaconId",
      "autoCreateChildren": true, "childDeviceTypeId": "d0000000-0000-4000-8000-000000000205"
    }
  }$$),
  ('d0000000-0000-4000-8000-000000000214', 'd0000000-0000-4000-8000-000000000204', $${
    "processingMode": "rtu_multiport",
    "demuxStrategy": { "portsPath": "$.ports", "portNumberPath": "$.port" },
    "extractionRules": {
      "voltage": { "path": "$.voltage", "type": "numeric", "unit": "V" },
      "current": { "path": "$.current", "type": "numeric", "unit": "A" }
    }
  }$$),
  ('d0000000-0000-4000-8000-000000000215', 'd0000000-0000-4000-8000-000000000205', $${
    "processingMode": "endpoint",
    "extractionRules": {
      "rssi": { "path": "$.rssi", "type": "numeric", "unit": "dB[mW]" },
      "battery": { "path": "$.battery", "type": "numeric", "unit": "%", "min": 0, "max": 100 }
    }
  }$$)
) as demo (id, device_type_id, config)
join device_types on device_types.id = demo.device_type_id
on conflict do nothing;

insert into devices (id, tenant_id, name, device_type_id, serial_number, protocol) values
  ('d0000000-0000-4000-8000-000000000301', 'd0000000-0000-4000-8000-000000000001', 'Temp Sensor 001',
   'd0000000-0000-4000-8000-000000000201', 'TS-001-2024', 'mqtt'),
  ('d0000000-0000-4000-8000-000000000302', 'd0000000-0000-4000-8000-000000000001', 'Temp Sensor 002',
   'd0000000-0000-4000-8000-000000000201', 'TS-002-2024', 'mqtt'),
  ('d0000000-0000-4000-8000-000000000303', 'd0000000-0000-4000-8000-000000000001', 'Temp Sensor 003',
   'd0000000-0000-4000-8000-000000000201', 'TS-003-2024', 'mqtt'),
  ('d0000000-0000-4000-8000-000000000304', 'd0000000-0000-4000-8000-000000000001', 'Location Hub 001',
   'd0000000-0000-4000-8000-000000000202', 'LH-001-2024', 'mqtt'),
  ('d0000000-0000-4000-8000-000000000305', 'd0000000-0000-4000-8000-000000000001', 'BLE Gateway 001',
   'd0000000-0000-4000-8000-000000000203', 'BG-001-2024', 'mqtt'),
  ('d0000000-0000-4000-8000-000000000306', 'd0000000-0000-4000-8000-000000000001', 'RTU 001',
   'd0000000-0000-4000-8000-000000000204', 'RTU-001-2024', 'mqtt')
on conflict do nothing;
