/**
 * Devices and their API keys.
 * @module
 */
import { Schema, Struct } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { IssuedCertificate, ValidityDays } from "./certificates.ts"
import { DeviceId, DeviceTypeId, TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, InstantFromIso, IsoInstant, label, page, pageQuery, shortPageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const statuses = ["active", "inactive", "decommissioned"] as const
const connectivities = ["online", "offline", "unknown"] as const

export const Device = Schema.Struct({
  id: DeviceId,
  name: Schema.String,
  organizationId: TenantId,
  deviceTypeId: DeviceTypeId,
  externalId: Schema.NullOr(Schema.String),
  serialNumber: Schema.NullOr(Schema.String),
  parentDeviceId: Schema.NullOr(DeviceId),
  logicalIdentifier: Schema.NullOr(Schema.String),
  deviceRole: Schema.NullOr(Schema.Literals(["endpoint", "gateway", "rtu"])), // from its type; null until that is published
  status: Schema.Literals(statuses),
  connectivityStatus: Schema.Literals(connectivities),
  lastConnectivityChange: Schema.NullOr(IsoInstant),
  lastSeenAt: Schema.NullOr(IsoInstant),
  linkedAssetsCount: Schema.Int,
  protocol: Schema.NullOr(Schema.String),
  networkMetadata: Schema.JsonObject,
  customAttributes: Schema.JsonObject,
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // for If-Match; also in the header etag
}).annotate({ identifier: "Device" })
export type Device = typeof Device.Type

const attributes = {
  externalId: Schema.optionalKey(Schema.NullOr(label(200))),
  serialNumber: Schema.optionalKey(Schema.NullOr(label(200))),
  logicalIdentifier: Schema.optionalKey(Schema.NullOr(label(200))),
  parentDeviceId: Schema.optionalKey(Schema.NullOr(DeviceId)),
  protocol: Schema.optionalKey(Schema.NullOr(text(50))),
  networkMetadata: Schema.optionalKey(Schema.JsonObject),
  customAttributes: Schema.optionalKey(Schema.JsonObject),
  status: Schema.optionalKey(Schema.Literals(["active", "inactive"]))
}
const newDevice = {
  name: "Boiler 3",
  deviceTypeId: DeviceTypeId.make("01890a5d-ac96-774b-bcce-b302099a8057"),
  serialNumber: "B3-2024"
}
export const NewDevice = Schema.Struct({ name: label(200), deviceTypeId: DeviceTypeId, ...attributes }).annotate({
  identifier: "NewDevice",
  examples: [newDevice]
})
export type NewDevice = typeof NewDevice.Type
export const DeviceChange = Schema.Struct({
  name: Schema.optionalKey(label(200)),
  deviceTypeId: Schema.optionalKey(DeviceTypeId),
  ...attributes
}).annotate({ identifier: "DeviceChange" })
export type DeviceChange = typeof DeviceChange.Type

/** A device, with its first certificate where `certificateValidityDays` is given. */
export const DeviceToCreate = Schema.Struct({
  ...NewDevice.fields,
  certificateValidityDays: Schema.optionalKey(ValidityDays)
}).annotate({ identifier: "DeviceToCreate", examples: [{ ...newDevice, certificateValidityDays: 365 }] })
/** With a certificate the device stands in `device` too. */
export const CreatedDevice = Schema.Struct({
  ...Device.fields,
  device: Schema.optionalKey(Device),
  certificate: Schema.optionalKey(IssuedCertificate)
}).annotate({ identifier: "CreatedDevice" })

export const DeviceQuery = Schema.Struct({
  ...pageQuery, // `q`: part of name, serial number or external id
  status: Schema.optionalKey(Schema.Literals(statuses)),
  deviceTypeId: Schema.optionalKey(DeviceTypeId),
  parentDeviceId: Schema.optionalKey(DeviceId),
  connectivityStatus: Schema.optionalKey(Schema.Literals(connectivities)),
  externalId: Schema.optionalKey(label(200)),
  serialNumber: Schema.optionalKey(label(200))
})
export type DeviceQuery = typeof DeviceQuery.Type

export const ApiKey = Schema.Struct({
  id: Uuid,
  keyPrefix: Schema.String,
  createdAt: IsoInstant,
  expiresAt: Schema.NullOr(IsoInstant),
  lastUsedAt: Schema.NullOr(IsoInstant),
  revokedAt: Schema.NullOr(IsoInstant)
}).annotate({ identifier: "ApiKey" })
export type ApiKey = typeof ApiKey.Type
export const NewApiKey = Schema.Struct({
  id: Uuid,
  key: Schema.String, // shown this once
  createdAt: IsoInstant,
  expiresAt: Schema.NullOr(IsoInstant)
}).annotate({ identifier: "NewApiKey" })
export type NewApiKey = typeof NewApiKey.Type

/** The version that a change is based on, as in the etag: `"3"` or `3`. Anything else than the present one answers 412. */
export const ifMatch = { "if-match": Schema.optionalKey(Schema.String) }

const changes = [NotFound, Conflict, PreconditionFailed, Unprocessable] as const

export class DevicesApi extends HttpApiGroup.make("devices")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: DeviceQuery.fields,
      success: page(Device, "DevicePage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "devices:read")
      .annotate(OpenApi.Summary, "Devices, page by page"),
    HttpApiEndpoint.post("create", "/", {
      payload: DeviceToCreate,
      success: CreatedDevice.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "devices:write")
      .annotate(OpenApi.Summary, "Add a device")
      .annotate(
        OpenApi.Description,
        "With certificateValidityDays, for which the permission certificates:write is needed too, it is added together with " +
          "a certificate, whose private key is shown once, here."
      ),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: Device, error: NotFound })
      .annotate(RequiredPermission, "devices:read")
      .annotate(OpenApi.Summary, "One device"),
    HttpApiEndpoint.get("children", "/:id/children", {
      params: idParams,
      query: Struct.omit(DeviceQuery.fields, ["parentDeviceId"]),
      success: page(Device, "DevicePage"),
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "devices:read")
      .annotate(OpenApi.Summary, "The devices behind a gateway, page by page"),
    HttpApiEndpoint.patch("change", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: DeviceChange,
      success: Device,
      error: changes
    })
      .annotate(RequiredPermission, "devices:write")
      .annotate(OpenApi.Summary, "Change what the body names"),
    HttpApiEndpoint.put("replace", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: DeviceChange,
      success: Device,
      error: changes
    })
      .annotate(RequiredPermission, "devices:write")
      .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays"),
    HttpApiEndpoint.post("decommission", "/:id/decommission", {
      params: idParams,
      headers: ifMatch,
      success: Device,
      error: [NotFound, PreconditionFailed]
    })
      .annotate(RequiredPermission, "devices:write")
      .annotate(OpenApi.Summary, "Take a device out of service for good: its keys end, its history stays"),
    HttpApiEndpoint.delete("remove", "/:id", {
      params: idParams,
      headers: ifMatch,
      success: HttpApiSchema.NoContent,
      error: changes
    })
      .annotate(RequiredPermission, "devices:write")
      .annotate(OpenApi.Summary, "Remove a device and its keys; what it measured stays stored")
  )
  .add(
    HttpApiEndpoint.get("listKeys", "/:id/api-keys", {
      params: idParams,
      query: shortPageQuery,
      success: page(ApiKey, "ApiKeyPage"),
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "devices:read")
      .annotate(OpenApi.Summary, "The API keys of a device, without the keys themselves"),
    HttpApiEndpoint.post("createKey", "/:id/api-keys", {
      params: idParams,
      payload: [
        Schema.Struct({ expiresAt: Schema.optionalKey(InstantFromIso) }).annotate({ identifier: "ApiKeyOptions" }),
        Schema.Undefined // no body: it never expires
      ],
      success: NewApiKey.pipe(HttpApiSchema.status(201)),
      error: [NotFound, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "device-keys:write")
      .annotate(OpenApi.Summary, "Make an API key; it is shown once, here"),
    HttpApiEndpoint.delete("revokeKey", "/:id/api-keys/:keyId", {
      params: { ...idParams, keyId: idParams.id },
      success: HttpApiSchema.NoContent,
      error: NotFound
    })
      .annotate(RequiredPermission, "device-keys:write")
      .annotate(OpenApi.Summary, "End an API key at once")
  )
  .prefix("/api/v1/devices")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
