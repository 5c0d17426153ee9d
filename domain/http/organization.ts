/**
 * The organisation that the caller acts in.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { TenantId } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { NotFound } from "./problems.ts"
import { IsoInstant } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const Organization = Schema.Struct({
  id: TenantId,
  name: Schema.String,
  slug: Schema.String,
  status: Schema.Literals(["active", "suspended"]),
  createdAt: IsoInstant,
  version: Schema.Int
}).annotate({ identifier: "Organization" })
export type Organization = typeof Organization.Type

export class OrganizationApi extends HttpApiGroup.make("organization")
  .add(
    HttpApiEndpoint.get("get", "/api/v1/organization", { success: Organization, error: NotFound })
      .annotate(RequiredPermission, "organization:read")
      .annotate(OpenApi.Summary, "The organisation of the caller")
  )
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
