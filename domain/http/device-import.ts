/**
 * Many devices at once: from JSON or CSV, row by row, so that a faulty row stops no other.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { DeviceId, DeviceTypeId } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { NewDevice } from "./devices.ts"
import { Fault, InvalidRequest } from "./problems.ts"
import { Authorization, ReadableRequest, StreamedBody } from "./security.ts"

export const MAX_IMPORT_BYTES = 32 * 1_048_576

/** Each row is read by itself: what is wrong with one is answered for that one. */
export const ManyDevices = Schema.Union([
  Schema.Struct({ devices: Schema.Array(NewDevice) }),
  Schema.Array(NewDevice)
]).annotate({
  identifier: "ManyDevices",
  examples: [
    {
      devices: [
        {
          name: "Boiler 3",
          deviceTypeId: DeviceTypeId.make("01890a5d-ac96-774b-bcce-b302099a8057"),
          externalId: "boiler-3"
        }
      ]
    }
  ]
})

export const ImportedRow = Schema.Struct({
  row: Schema.Int, // counted from 1, without the line of column names
  status: Schema.Literals([
    "created",
    "existing", // a device has this external id; it stays as it is
    "failed"
  ]),
  id: Schema.optionalKey(DeviceId), // of the device, created or existing
  errors: Schema.optionalKey(Schema.Array(Fault)) // of a row that failed
}).annotate({ identifier: "ImportedRow" })
export type ImportedRow = typeof ImportedRow.Type

export const ImportResult = Schema.Struct({
  created: Schema.Int,
  existing: Schema.Int,
  failed: Schema.Int,
  results: Schema.Array(ImportedRow) // in the order of the rows
}).annotate({
  identifier: "ImportResult",
  examples: [
    {
      created: 1,
      existing: 0,
      failed: 1,
      results: [
        { row: 1, status: "created", id: DeviceId.make("01890a5d-ac96-774b-bcce-b302099a8057") },
        { row: 2, status: "failed", errors: [{ path: "serialNumber", message: "is already in use" }] }
      ]
    }
  ]
})
export type ImportResult = typeof ImportResult.Type

const csv = Schema.Uint8Array.annotate({
  description: "The first line names the columns; customAttributes.floor is the member floor of customAttributes"
})
const contract = {
  query: { deviceTypeId: Schema.optionalKey(DeviceTypeId) }, // of rows that name none
  payload: [ManyDevices, HttpApiSchema.asUint8Array({ contentType: "text/csv" })(csv)],
  success: ImportResult,
  error: InvalidRequest
} as const

const description =
  "JSON, an array or { devices: [ … ] }, or CSV whose first line names the columns: name, deviceTypeId, externalId, " +
  "serialNumber, parentDeviceId, logicalIdentifier, protocol, status, networkMetadata and customAttributes (JSON, or one " +
  "column per member, such as customAttributes.floor). Up to 10,000 rows and 32 MiB. The answer tells of each row what " +
  "became of it. A row whose externalId a device has already is that device, which stays as it is: what broke off can be sent again. " +
  "A file that cannot be read as a whole is refused with 400, and nothing of it is added."

export class DeviceImportApi extends HttpApiGroup.make("deviceImport")
  .add(
    HttpApiEndpoint.post("bulk", "/bulk", contract)
      .annotate(RequiredPermission, "devices:write")
      .annotate(OpenApi.Summary, "Add many devices, each by itself: one that is refused stops no other")
      .annotate(OpenApi.Description, description),
    HttpApiEndpoint.post("import", "/import", contract)
      .annotate(RequiredPermission, "devices:write")
      .annotate(OpenApi.Summary, "The same as POST /api/v1/devices/bulk")
      .annotate(OpenApi.Description, description)
  )
  .prefix("/api/v1/devices")
  .middleware(ReadableRequest)
  .middleware(Authorization)
  .annotateEndpoints(StreamedBody, MAX_IMPORT_BYTES) {}
