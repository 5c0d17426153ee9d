/**
 * Devices and types as rows, for tests of what reads them.
 * @module
 */
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"

export interface TestDevice {
  readonly tenantId: string
  readonly deviceTypeId: string
  readonly deviceId: string
}

export const insertOrganization = Effect.fnUntraced(function* () {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into organizations (id, name, slug) values (${id}, 'Test', ${id})`
  return id
})

/** A published version; `effectiveAt` in epoch milliseconds. */
export const publishVersion = Effect.fnUntraced(function* (options: {
  readonly tenantId: string
  readonly deviceTypeId: string
  readonly number: number
  readonly effectiveAt: number
  readonly config: object
}) {
  const sql = yield* OwnerSql
  yield* sql`insert into device_type_versions (id, tenant_id, device_type_id, number, state, effective_at, config)
    values (${randomUUID()}, ${options.tenantId}, ${options.deviceTypeId}, ${options.number}, 'published',
      ${new Date(options.effectiveAt)}, ${sql.json(options.config)})`
})

/** Without a version. */
export const insertDeviceType = Effect.fnUntraced(function* (tenantId: string) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into device_types (id, tenant_id, name) values (${id}, ${tenantId}, ${id})`
  return id
})

export const insertDevice = Effect.fnUntraced(function* (options: {
  readonly tenantId: string
  readonly deviceTypeId: string
  readonly deviceId?: string
  readonly externalId?: string
}) {
  const sql = yield* OwnerSql
  const id = options.deviceId ?? randomUUID()
  yield* sql`insert into devices (id, tenant_id, name, device_type_id, external_id)
    values (${id}, ${options.tenantId}, ${id}, ${options.deviceTypeId}, ${options.externalId ?? null})`
  return id
})

/** An organisation with one device of one type, whose first version is an hour old. */
export const insertEndpoint = Effect.fnUntraced(function* (config: object = { processingMode: "endpoint" }) {
  const tenantId = yield* insertOrganization()
  const deviceTypeId = yield* insertDeviceType(tenantId)
  yield* publishVersion({ tenantId, deviceTypeId, number: 1, effectiveAt: Date.now() - 3_600_000, config })
  const deviceId = yield* insertDevice({ tenantId, deviceTypeId })
  return { tenantId, deviceTypeId, deviceId } satisfies TestDevice
})

export interface TestGateway extends TestDevice {
  readonly childTypeId: string
}

/** A gateway that lists its children under `devices`, told apart by `id`. */
export const insertGateway = Effect.fnUntraced(function* (
  options: { readonly strategy?: object; readonly config?: object; readonly childConfig?: object } = {}
) {
  const child = yield* insertEndpoint(options.childConfig)
  const { tenantId } = child
  const deviceTypeId = yield* insertDeviceType(tenantId)
  yield* publishVersion({
    tenantId,
    deviceTypeId,
    number: 1,
    effectiveAt: Date.now() - 3_600_000,
    config: {
      processingMode: "gateway",
      demuxStrategy: {
        childDevicesPath: "$.devices",
        childDeviceIdPath: "$.id",
        autoCreateChildren: true,
        childDeviceTypeId: child.deviceTypeId,
        ...options.strategy
      },
      ...options.config
    }
  })
  const deviceId = yield* insertDevice({ tenantId, deviceTypeId })
  return { tenantId, deviceTypeId, deviceId, childTypeId: child.deviceTypeId } satisfies TestGateway
})

/** A child as a person registers it. */
export const insertChild = Effect.fnUntraced(function* (gateway: TestGateway, identifier: string) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into devices (id, tenant_id, name, device_type_id, parent_device_id, logical_identifier)
    values (${id}, ${gateway.tenantId}, ${identifier}, ${gateway.childTypeId}, ${gateway.deviceId}, ${identifier})`
  return id
})

export const insertApiKey = Effect.fnUntraced(function* (device: TestDevice, hash: string, expiresAt?: Date) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into device_api_keys (id, tenant_id, device_id, key_prefix, key_hash, expires_at)
    values (${id}, ${device.tenantId}, ${device.deviceId}, 'test', ${hash}, ${expiresAt ?? null})`
  return id
})
