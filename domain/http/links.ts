/**
 * Links: which device measures what of which asset, and when it did.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { LinkRole } from "../asset/asset.ts"
import { AssetId, AssetTypeId, DeviceId, LinkId, metricMap } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Conflict, InvalidRequest, NotFound, Unprocessable } from "./problems.ts"
import { idParams, InstantFromIso, IsoInstant, label, page, shortPageQuery } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const Link = Schema.Struct({
  id: LinkId,
  deviceId: DeviceId,
  assetId: AssetId,
  port: Schema.NullOr(Schema.String),
  role: LinkRole,
  validFrom: IsoInstant,
  validUntil: Schema.NullOr(IsoInstant), // null: until it is ended
  metricsMapping: metricMap(Schema.String) // asset metric → path in the device reading's metrics
}).annotate({ identifier: "Link" })
export type Link = typeof Link.Type

const written = {
  port: Schema.optionalKey(label(100)), // only readings of this port
  role: Schema.optionalKey(LinkRole), // primary unless told
  validFrom: Schema.optionalKey(InstantFromIso), // now unless told
  validUntil: Schema.optionalKey(InstantFromIso),
  /** `{"temperature": "$.temp_1"}`; `{"device.temp_1": "asset.temperature"}` is the same. */
  metricsMapping: Schema.optionalKey(metricMap(Schema.NonEmptyString))
}
export const NewLink = Schema.Struct(written).annotate({
  identifier: "NewLink",
  examples: [{ role: "primary", metricsMapping: { temperature: "$.temp_1" } }]
})
export type NewLink = typeof NewLink.Type
const LinkRow = Schema.Struct({ deviceId: DeviceId, assetId: AssetId, ...written })

/** At most so many links in one request. */
export const MAX_BULK_LINKS = 1_000
export const BulkLinks = Schema.Struct({
  links: Schema.NonEmptyArray(LinkRow).check(Schema.isMaxLength(MAX_BULK_LINKS))
}).annotate({ identifier: "BulkLinks" })
export type BulkLinks = typeof BulkLinks.Type
export const BulkLinkResult = Schema.Struct({
  linked: Schema.Int,
  failed: Schema.Int,
  results: Schema.Array(
    Schema.Struct({
      index: Schema.Int,
      link: Schema.NullOr(Link),
      errors: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
    })
  )
}).annotate({ identifier: "BulkLinkResult" })
export type BulkLinkResult = typeof BulkLinkResult.Type

export const LinkedAsset = Schema.Struct({
  link: Link,
  id: AssetId,
  name: Schema.String,
  assetTypeId: AssetTypeId,
  status: Schema.String,
  healthScore: Schema.NullOr(Schema.Finite)
}).annotate({ identifier: "LinkedAsset" })
export type LinkedAsset = typeof LinkedAsset.Type
export const LinkedDevice = Schema.Struct({
  link: Link,
  id: DeviceId,
  name: Schema.String,
  port: Schema.NullOr(Schema.String),
  role: LinkRole,
  validFrom: IsoInstant,
  validUntil: Schema.NullOr(IsoInstant),
  status: Schema.String,
  connectivityStatus: Schema.Literals(["online", "offline", "unknown"]),
  lastSeenAt: Schema.NullOr(IsoInstant)
}).annotate({ identifier: "LinkedDevice" })
export type LinkedDevice = typeof LinkedDevice.Type

const query = {
  ...shortPageQuery,
  ended: Schema.optionalKey(Schema.Literals(["true", "false"])) // "true": with those that have ended
}
export const LinkQuery = Schema.Struct(query)
export type LinkQuery = typeof LinkQuery.Type
const pair = { deviceId: idParams.id, assetId: idParams.id }

export class LinksApi extends HttpApiGroup.make("links")
  .add(
    HttpApiEndpoint.post("link", "/devices/:deviceId/assets/:assetId/link", {
      params: pair,
      payload: [NewLink, Schema.Undefined], // no body: primary, from now on
      success: Schema.Struct({ link: Link }).annotate({ identifier: "NewLinkMade", httpApiStatus: 201 }),
      error: [NotFound, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Let an asset be measured by a device"),
    HttpApiEndpoint.delete("unlink", "/devices/:deviceId/assets/:assetId/unlink", {
      params: pair,
      query: { port: Schema.optionalKey(label(100)) },
      success: Schema.Struct({ links: Schema.Array(Link) }).annotate({ identifier: "LinksEnded" }),
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "End the link now, of one port or of all; what was measured through it stays"),
    HttpApiEndpoint.post("bulkLink", "/devices/bulk-link", { payload: BulkLinks, success: BulkLinkResult })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Make many links, each by itself: one that is refused stops no other"),
    HttpApiEndpoint.get("assetsOf", "/devices/:id/assets", {
      params: idParams,
      query,
      success: page(LinkedAsset, "LinkedAssetPage"),
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "The assets that a device measures"),
    HttpApiEndpoint.get("devicesOf", "/assets/:id/devices", {
      params: idParams,
      query,
      success: page(LinkedDevice, "LinkedDevicePage"),
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "The devices that measure an asset")
  )
  .prefix("/api/v1")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
