/**
 * Many devices added to an organization at once: a few statements for each batch of rows, and what became of each row.
 * @module
 */
import {
  childKey,
  decideRow,
  type DeviceRow,
  type Present,
  type RowDecision
} from "@argusiq/domain/bulk/device-rows.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type ImportedRow } from "@argusiq/domain/http/device-import.ts"
import { type DeviceId } from "@argusiq/domain/ids.ts"
import { Context, Effect, Layer } from "effect"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "./Devices.ts"
import { newId } from "./newId.ts"
import { orRefusal, type WriteRefusal } from "./refusals.ts"

/** Rows of one transaction. */
const BATCH = 1_000

type Added = Extract<RowDecision, { readonly _tag: "Add" }>

const isThere = <A>(value: A | null | undefined): value is A => value !== undefined && value !== null

const texts = (values: ReadonlyArray<string | null | undefined>) => [...new Set(values.filter(isThere))]

const unset = {
  externalId: null,
  serialNumber: null,
  logicalIdentifier: null,
  parentDeviceId: null,
  protocol: null,
  status: "active",
  networkMetadata: {},
  customAttributes: {}
}

const failed = (row: number, path: string, message: string): ImportedRow => ({
  row,
  status: "failed",
  errors: [{ path, message }]
})

const refused = (row: number, refusal: Exclude<WriteRefusal, DatabaseUnavailable>): ImportedRow => {
  switch (refusal._tag) {
    case "AlreadyTaken":
      return failed(row, refusal.path, "is already in use")
    case "BadReference":
      return failed(row, refusal.path, refusal.message)
    case "Unstorable":
      return failed(row, "", "holds a character that cannot be stored")
  }
}

export class DeviceImport extends Context.Service<
  DeviceImport,
  {
    /** Rows that repeat no value of one another. Batches are stored one by one: when the database goes away, earlier ones stay. */
    add(actor: Actor, rows: ReadonlyArray<DeviceRow>): Effect.Effect<ReadonlyArray<ImportedRow>, DatabaseUnavailable>
  }
>()("argusiq/layers/registry/DeviceImport") {
  static readonly layer = Layer.effect(
    DeviceImport,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const look = Effect.fnUntraced(function* (rows: ReadonlyArray<DeviceRow>) {
        const devices = rows.map(({ device }) => device)
        const parents = texts(devices.map(({ parentDeviceId }) => parentDeviceId))
        const children = devices.flatMap(({ logicalIdentifier, parentDeviceId }) =>
          isThere(logicalIdentifier) && isThere(parentDeviceId) ? [{ logicalIdentifier, parentDeviceId }] : []
        )
        const found = yield* sql<{
          kind: "child" | "device" | "external" | "serial" | "type"
          id: string
          text: string
        }>`
          select 'external' as kind, id::text, external_id as text from devices
            where external_id = any(${texts(devices.map(({ externalId }) => externalId))}::text[])
          union all select 'serial', id::text, serial_number from devices
            where serial_number = any(${texts(devices.map(({ serialNumber }) => serialNumber))}::text[])
          union all select 'child', parent_device_id::text, logical_identifier from devices
            where (parent_device_id, logical_identifier) in (
              select * from unnest(${children.map(({ parentDeviceId }) => parentDeviceId)}::uuid[],
                ${children.map(({ logicalIdentifier }) => logicalIdentifier)}::text[]))
          union all select 'device', id::text, '' from devices where id = any(${parents}::uuid[])
          union all select 'type', id::text, '' from device_types
            where id = any(${texts(devices.map(({ deviceTypeId }) => deviceTypeId))}::uuid[])`
        const of = (kind: (typeof found)[number]["kind"]) => found.filter((one) => one.kind === kind)
        const present: Present = {
          idsByExternalId: new Map(of("external").map(({ id, text }) => [text, id])),
          serialNumbers: new Set(of("serial").map(({ text }) => text)),
          children: new Set(of("child").map(({ id, text }) => childKey(id, text))),
          deviceIds: new Set(of("device").map(({ id }) => id)),
          deviceTypeIds: new Set(of("type").map(({ id }) => id))
        }
        return present
      })

      /** The ids of what was added; of what somebody else was faster with there is none. */
      const insert = Effect.fnUntraced(function* (actor: Actor, added: ReadonlyArray<Added>) {
        const written = added.map(({ device }) => ({ ...unset, ...device, id: newId() }))
        const rows = yield* sql<{ id: DeviceId }>`
          insert into devices (id, tenant_id, name, device_type_id, external_id, serial_number, logical_identifier,
            parent_device_id, status, protocol, network_metadata, custom_attributes, created_by, updated_by)
          select id, ${actor.tenantId}::uuid, name, "deviceTypeId", "externalId", "serialNumber", "logicalIdentifier",
            "parentDeviceId", status, protocol, "networkMetadata", "customAttributes",
            ${actor.userId ?? null}::uuid, ${actor.userId ?? null}::uuid
          from jsonb_to_recordset(${JSON.stringify(written)}::text::jsonb) as written (id uuid, name text, "deviceTypeId" uuid,
            "externalId" text, "serialNumber" text, "logicalIdentifier" text, "parentDeviceId" uuid, status text,
            protocol text, "networkMetadata" jsonb, "customAttributes" jsonb)
          on conflict do nothing returning id`
        const inserted = new Set<string>(rows.map(({ id }) => id))
        return written.map(({ id }) => (inserted.has(id) ? (id as DeviceId) : undefined))
      })

      const addBatch = (actor: Actor, rows: ReadonlyArray<DeviceRow>) =>
        Effect.gen(function* () {
          const present = yield* look(rows)
          const decided = rows.map((row) => decideRow(row, present))
          const added = decided.filter((decision) => decision._tag === "Add")
          const ids = added.length === 0 ? [] : yield* insert(actor, added)
          let next = 0
          return decided.map((decision): ImportedRow => {
            const { row } = decision
            if (decision._tag === "Exists") return { row, status: "existing", id: decision.id as DeviceId }
            if (decision._tag === "Refused") return { row, status: "failed", errors: decision.errors }
            const id = ids[next++]
            if (id !== undefined) return { row, status: "created", id }
            return failed(row, "", "Somebody else has just added a device with one of its values: send the row again.")
          })
        }).pipe(scoped(actor), orRefusal)

      /** What a whole batch is refused for is some row's fault: its halves are tried, down to that row. */
      const addHalves = (
        actor: Actor,
        rows: ReadonlyArray<DeviceRow>
      ): Effect.Effect<ReadonlyArray<ImportedRow>, DatabaseUnavailable> =>
        Effect.catch(addBatch(actor, rows), (refusal) => {
          const [first] = rows
          if (refusal._tag === "DatabaseUnavailable") return Effect.fail(refusal)
          if (first === undefined || rows.length === 1) {
            return Effect.succeed(first === undefined ? [] : [refused(first.row, refusal)])
          }
          const half = Math.ceil(rows.length / 2)
          return Effect.zipWith(
            addHalves(actor, rows.slice(0, half)),
            addHalves(actor, rows.slice(half)),
            (one, other) => [...one, ...other]
          )
        })

      const add = Effect.fn("DeviceImport.add")(function* (actor: Actor, rows: ReadonlyArray<DeviceRow>) {
        const results: Array<ImportedRow> = []
        for (let start = 0; start < rows.length; start += BATCH) {
          results.push(...(yield* addHalves(actor, rows.slice(start, start + BATCH))))
        }
        return results
      })

      return DeviceImport.of({ add })
    })
  )
}
