/**
 * The REST API as one contract, free of server code: the server, its documentation and its clients share it.
 * @module
 */
import { HttpApi, OpenApi } from "effect/http-api"
import { AuthApi } from "./auth.ts"
import { DeadLettersApi } from "./dead-letters.ts"
import { DevicesApi } from "./devices.ts"
import { DeviceTypesApi } from "./device-types.ts"
import { HealthApi } from "./health.ts"
import { JobsApi } from "./jobs.ts"
import { OperationsApi } from "./operations.ts"
import { OrganizationApi } from "./organization.ts"
import { ProtocolConvertersApi } from "./protocol-converters.ts"
import { TelemetryApi } from "./telemetry.ts"
import { TransactionsApi } from "./transactions.ts"

export class RestApi extends HttpApi.make("rest")
  .add(
    AuthApi,
    OrganizationApi,
    DevicesApi,
    DeviceTypesApi,
    ProtocolConvertersApi,
    TelemetryApi,
    OperationsApi,
    HealthApi
  )
  .add(DeadLettersApi)
  .add(JobsApi)
  .add(TransactionsApi)
  .annotate(HttpApi.ParseOptions, { errors: "all" }) // a person wants to know every fault at once
  .annotateMerge(OpenApi.annotations({ title: "ArgusIQ", version: "1" })) {}
