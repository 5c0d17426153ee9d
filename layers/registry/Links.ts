/**
 * The links between devices and assets. A link ends and is never removed: a rebuild of an asset's past needs it.
 * @module
 */
import { readMapping } from "@argusiq/domain/asset/written-mapping.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type Link,
  type LinkedAsset,
  type LinkedDevice,
  type LinkQuery,
  type NewLink
} from "@argusiq/domain/http/links.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { Clock, Context, Effect, Layer } from "effect"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "./Devices.ts"
import { instant } from "./deviceTypeHistory.ts"
import {
  linkColumns,
  type LinkedAssetRow,
  type LinkedDeviceRow,
  type LinkRow,
  toLink,
  toLinkedAsset,
  toLinkedDevice
} from "./linkRow.ts"
import { refuseMappings } from "./mappingFaults.ts"
import { newId } from "./newId.ts"
import { NotRegistered, NotValid, orRefusal, orUnavailable, type WriteRefusal, WrongState } from "./refusals.ts"

/** Links of one device or asset that are looked through. */
const MOST_LINKS = 5_000

export type LinkRefusal = NotRegistered | NotValid | WrongState | WriteRefusal

export class Links extends Context.Service<
  Links,
  {
    /** Refused while the two have a link of the same port that is valid at a time of this one. */
    link(actor: Actor, deviceId: string, assetId: string, link: NewLink): Effect.Effect<Link, LinkRefusal>
    /** Ends what is valid now or later; without a port the links of all ports. */
    unlink(
      actor: Actor,
      deviceId: string,
      assetId: string,
      port?: string
    ): Effect.Effect<ReadonlyArray<Link>, NotRegistered | DatabaseUnavailable>
    /** Newest first, at most 5,000. */
    assetsOf(
      actor: Actor,
      deviceId: string,
      query: LinkQuery
    ): Effect.Effect<ReadonlyArray<LinkedAsset>, NotRegistered | DatabaseUnavailable>
    devicesOf(
      actor: Actor,
      assetId: string,
      query: LinkQuery
    ): Effect.Effect<ReadonlyArray<LinkedDevice>, NotRegistered | DatabaseUnavailable>
  }
>()("argusiq/layers/registry/Links") {
  static readonly layer = Layer.effect(
    Links,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)
      const columns = sql.literal(linkColumns)

      const link = Effect.fn("Links.link")((actor: Actor, deviceId: string, assetId: string, written: NewLink) =>
        Effect.gen(function* () {
          const [device] = yield* sql<{ status: string }>`
            select status from devices where id = ${deviceId}::uuid for no key update`
          if (device === undefined) return yield* new NotRegistered({ what: "device" })
          const [asset] = yield* sql<{ asset_type_id: string; device_mode: "none" | "one" | "many" | null }>`
            select item.asset_type_id, profile.device_mode
            from assets item left join asset_profiles profile on profile.id = item.profile_id
            where item.id = ${assetId}::uuid for no key update of item`
          if (asset === undefined) return yield* new NotRegistered({ what: "asset" })
          const validFrom = written.validFrom ?? (yield* Clock.currentTimeMillis) * 1_000
          const { port, role = "primary", validUntil } = written
          if (validUntil !== undefined && validUntil <= validFrom) {
            const message = `must be after validFrom (${isoFromMicros(validFrom)})`
            return yield* new NotValid({ faults: [{ path: "validUntil", message }] })
          }
          const mapping = readMapping(written.metricsMapping ?? {})
          yield* refuseMappings(sql, asset.asset_type_id, "metricsMapping", mapping)
          const until = validUntil === undefined ? sql.literal("'infinity'::timestamptz") : instant(sql, validUntil)
          const [other] = yield* sql<LinkRow>`
            select ${columns} from entity_edges link
            where link.source_entity_id = ${deviceId}::uuid and link.target_entity_id = ${assetId}::uuid
              and link.relationship_type = 'MONITORED_BY' and coalesce(link.metadata ->> 'port', '') = ${port ?? ""}
              and link.valid_from < ${until} and coalesce(link.valid_until, 'infinity') > ${instant(sql, validFrom)} limit 1`
          if (other !== undefined) {
            const { id, validFrom: from, validUntil: to } = toLink(other)
            const message = `The two are linked already, by ${id} from ${from}${to === null ? "" : ` to ${to}`}: end that link first.`
            return yield* new WrongState({ message })
          }
          if (asset.device_mode === "none" || asset.device_mode === "one") {
            const [another] = yield* sql<LinkRow>`
              select ${columns} from entity_edges link
              where link.target_entity_id = ${assetId}::uuid and link.source_entity_id <> ${deviceId}::uuid
                and link.relationship_type = 'MONITORED_BY' and link.valid_from < ${until}
                and coalesce(link.valid_until, 'infinity') > ${instant(sql, validFrom)} limit 1`
            if (asset.device_mode === "none" || another !== undefined) {
              const allowed = asset.device_mode === "none" ? "no devices" : "one device at a time"
              const message = `The asset's profile allows ${allowed} (deviceMode ${asset.device_mode}).`
              return yield* new WrongState({ message })
            }
          }
          const metadata = { role, metrics_mapping: mapping, ...(port !== undefined && { port }) }
          const [made] = yield* sql<LinkRow>`
            with link as (
              insert into entity_edges (id, tenant_id, source_entity_type, source_entity_id, target_entity_type,
                target_entity_id, relationship_type, valid_from, valid_until, metadata, created_by, updated_by)
              values (${newId()}::uuid, ${actor.tenantId}::uuid, 'device', ${deviceId}::uuid, 'asset', ${assetId}::uuid,
                'MONITORED_BY', ${instant(sql, validFrom)},
                ${validUntil === undefined ? sql.literal("null::timestamptz") : instant(sql, validUntil)},
                ${sql.json(metadata)}, ${actor.userId ?? null}::uuid, ${actor.userId ?? null}::uuid)
              returning *
            ) select ${columns} from link`
          return made === undefined ? yield* Effect.die(new Error("No link was written")) : toLink(made)
        }).pipe(scoped(actor), orRefusal)
      )

      const unlink = Effect.fn("Links.unlink")((actor: Actor, deviceId: string, assetId: string, port?: string) =>
        Effect.gen(function* () {
          const ended = yield* sql<LinkRow>`
            with link as (
              update entity_edges set valid_until = greatest(now(), valid_from + interval '1 microsecond'),
                version = version + 1, updated_at = now(), updated_by = ${actor.userId ?? null}::uuid
              where source_entity_id = ${deviceId}::uuid and target_entity_id = ${assetId}::uuid
                and relationship_type = 'MONITORED_BY' and (valid_until is null or valid_until > now())
                and (${port ?? null}::text is null or metadata ->> 'port' = ${port ?? null}::text)
              returning *
            ) select ${columns} from link order by link.valid_from, link.id`
          if (ended.length === 0) return yield* new NotRegistered({ what: "link" })
          return ended.map(toLink)
        }).pipe(scoped(actor), orUnavailable)
      )

      const exists = Effect.fnUntraced(function* (what: "device" | "asset", id: string) {
        const found = yield* sql`select id from ${sql.literal(`${what}s`)} where id = ${id}::uuid`
        if (found.length === 0) return yield* new NotRegistered({ what })
      })
      const which = ({ ended }: LinkQuery) =>
        sql.literal(ended === "true" ? "true" : "(link.valid_until is null or link.valid_until > now())")

      const assetsOf = Effect.fn("Links.assetsOf")((actor: Actor, deviceId: string, query: LinkQuery) =>
        Effect.gen(function* () {
          yield* exists("device", deviceId)
          const rows = yield* sql<LinkedAssetRow>`
            select ${columns}, asset.name, asset.asset_type_id, asset.status, state.health_score
            from entity_edges link join assets asset on asset.id = link.target_entity_id
            left join asset_status state on state.asset_id = asset.id
            where link.source_entity_id = ${deviceId}::uuid and link.source_entity_type = 'device'
              and link.target_entity_type = 'asset' and link.relationship_type = 'MONITORED_BY' and ${which(query)}
            order by link.valid_from desc, link.id limit ${MOST_LINKS}`
          return rows.map(toLinkedAsset)
        }).pipe(scoped(actor), orUnavailable)
      )
      const devicesOf = Effect.fn("Links.devicesOf")((actor: Actor, assetId: string, query: LinkQuery) =>
        Effect.gen(function* () {
          yield* exists("asset", assetId)
          const rows = yield* sql<LinkedDeviceRow>`
            select ${columns}, device.name, device.status, state.connectivity, state.last_seen_at
            from entity_edges link join devices device on device.id = link.source_entity_id
            left join device_status state on state.device_id = device.id
            where link.target_entity_id = ${assetId}::uuid and link.relationship_type = 'MONITORED_BY' and ${which(query)}
            order by link.valid_from desc, link.id limit ${MOST_LINKS}`
          return rows.map(toLinkedDevice)
        }).pipe(scoped(actor), orUnavailable)
      )

      return Links.of({ link, unlink, assetsOf, devicesOf })
    })
  )
}
