/**
 * Protocol converters: how other protocols' bytes become documents, kept once for many device types.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { bacnetContent, ConverterContent, modbusContent, opcuaContent, rawContent } from "../protocol/converter.ts"
import { ifMatch } from "./devices.ts"
import { TrialPayload, TrialProblem } from "./device-types.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const shown = {
  id: Uuid,
  organizationId: TenantId,
  name: Schema.String,
  description: Schema.String,
  isActive: Schema.Boolean, // only active ones can be published with
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // for If-Match; published versions of device types name the one that they copied
}
const written = {
  name: label(200),
  description: Schema.optionalKey(text(2_000)),
  isActive: Schema.optionalKey(Schema.Boolean) // true unless told
}

export const ProtocolConverter = Schema.Union([
  Schema.Struct({ ...shown, ...modbusContent }),
  Schema.Struct({ ...shown, ...opcuaContent }),
  Schema.Struct({ ...shown, ...bacnetContent }),
  Schema.Struct({ ...shown, ...rawContent })
]).annotate({ identifier: "ProtocolConverter" })
export type ProtocolConverter = typeof ProtocolConverter.Type

const meter = {
  sourceProtocol: "modbus" as const,
  targetSchema: null,
  transformationRules: {
    source: { encoding: "hex" as const, path: "$.data" },
    firstRegister: 0,
    registers: [
      {
        name: "voltage",
        register: 0,
        type: "uint16" as const,
        scale: 0.1,
        wordSwapped: false,
        optional: false
      },
      { name: "power", register: 12, type: "float32" as const, wordSwapped: true, optional: false }
    ]
  }
}

/** Rules belong to a protocol: one is given with the other. */
export const NewProtocolConverter = Schema.Union([
  Schema.Struct({ ...written, ...modbusContent }),
  Schema.Struct({ ...written, ...opcuaContent }),
  Schema.Struct({ ...written, ...bacnetContent }),
  Schema.Struct({ ...written, ...rawContent })
]).annotate({
  identifier: "NewProtocolConverter",
  examples: [{ name: "Meter SDM630", description: "Registers 0 to 13, as hex in JSON", ...meter }]
})
export type NewProtocolConverter = typeof NewProtocolConverter.Type

/** What is not named stays; the whole must then be right for the source protocol. */
export const ProtocolConverterChange = Schema.Struct({
  name: Schema.optionalKey(label(200)),
  description: Schema.optionalKey(text(2_000)),
  isActive: Schema.optionalKey(Schema.Boolean),
  sourceProtocol: Schema.optionalKey(Schema.Literals(["modbus", "opcua", "bacnet", "raw"])),
  targetSchema: Schema.optionalKey(Schema.NullOr(Schema.JsonObject)),
  transformationRules: Schema.optionalKey(Schema.JsonObject)
}).annotate({ identifier: "ProtocolConverterChange", examples: [{ isActive: false }] })
export type ProtocolConverterChange = typeof ProtocolConverterChange.Type

export const ConverterTrial = Schema.Struct({
  ...TrialPayload,
  content: Schema.optionalKey(ConverterContent) // instead of what is stored
}).annotate({
  identifier: "ConverterTrial",
  examples: [{ payload: '{"data":"08f6"}', encoding: "text" }]
})
export const ConverterTrialResult = Schema.Struct({
  document: Schema.NullOr(Schema.Json), // what extraction rules would read
  error: Schema.NullOr(TrialProblem)
}).annotate({ identifier: "ConverterTrialResult" })

export const ProtocolConverterQuery = Schema.Struct({
  ...pageQuery, // `q`: part of the name
  isActive: Schema.optionalKey(Schema.Literals(["true", "false"]))
})
export type ProtocolConverterQuery = typeof ProtocolConverterQuery.Type

const changes = [NotFound, Conflict, PreconditionFailed, Unprocessable] as const

export class ProtocolConvertersApi extends HttpApiGroup.make("protocolConverters")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: ProtocolConverterQuery.fields,
      success: page(ProtocolConverter, "ProtocolConverterPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "device-types:read")
      .annotate(OpenApi.Summary, "Protocol converters, page by page"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewProtocolConverter,
      success: ProtocolConverter.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Add a converter, checked as a whole"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: ProtocolConverter, error: NotFound })
      .annotate(RequiredPermission, "device-types:read")
      .annotate(OpenApi.Summary, "One protocol converter"),
    HttpApiEndpoint.patch("change", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: ProtocolConverterChange,
      success: ProtocolConverter,
      error: changes
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(
        OpenApi.Summary,
        "Change what the body names; published versions of device types keep what they copied"
      ),
    HttpApiEndpoint.put("replace", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: ProtocolConverterChange,
      success: ProtocolConverter,
      error: changes
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "The same as PATCH"),
    HttpApiEndpoint.delete("remove", "/:id", {
      params: idParams,
      headers: ifMatch,
      success: HttpApiSchema.NoContent,
      error: [NotFound, PreconditionFailed]
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Remove it; published versions of device types keep what they copied"),
    HttpApiEndpoint.post("test", "/:id/test", {
      params: idParams,
      payload: ConverterTrial,
      success: ConverterTrialResult,
      error: [NotFound, Unprocessable]
    })
      .annotate(RequiredPermission, "device-types:read")
      .annotate(OpenApi.Summary, "The document that a payload would become; nothing is stored")
  )
  .prefix("/api/v1/protocol-converters")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
