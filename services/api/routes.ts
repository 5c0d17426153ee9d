/**
 * The REST API's routes: everything under `/api/v1` that is not ingest, health, metrics and the documentation of all.
 * @module
 */
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { AccessTokens } from "@argusiq/layers/identity/AccessTokens.ts"
import { CommandLineToken } from "@argusiq/layers/identity/CommandLineToken.ts"
import { Passwords } from "@argusiq/layers/identity/Passwords.ts"
import { Sessions } from "@argusiq/layers/identity/Sessions.ts"
import { Users } from "@argusiq/layers/identity/Users.ts"
import { ApiKeys } from "@argusiq/layers/registry/ApiKeys.ts"
import { Jobs } from "@argusiq/layers/jobs/Jobs.ts"
import { Devices } from "@argusiq/layers/registry/Devices.ts"
import { DeviceTypes } from "@argusiq/layers/registry/DeviceTypes.ts"
import { ProtocolConverters } from "@argusiq/layers/registry/ProtocolConverters.ts"
import { DeadLetters } from "@argusiq/layers/dead-letters/DeadLetters.ts"
import { TelemetryHistory } from "@argusiq/layers/telemetry/TelemetryHistory.ts"
import { TransactionList } from "@argusiq/layers/telemetry/TransactionList.ts"
import { Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { authorization, Callers } from "./authorization.ts"
import { documentation } from "./documentation.ts"
import { auth } from "./handlers/auth.ts"
import { deadLetters } from "./handlers/dead-letters.ts"
import { devices } from "./handlers/devices.ts"
import { deviceTypes } from "./handlers/deviceTypes.ts"
import { health } from "./handlers/health.ts"
import { jobs } from "./handlers/jobs.ts"
import { operations } from "./handlers/operations.ts"
import { organization } from "./handlers/organization.ts"
import { protocolConverters } from "./handlers/protocolConverters.ts"
import { telemetry } from "./handlers/telemetry.ts"
import { transactions } from "./handlers/transactions.ts"
import { problemBoundary } from "./problemBoundary.ts"
import { readableRequest } from "./readableRequest.ts"

const identity = Sessions.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(AccessTokens.layer, CommandLineToken.layer, Passwords.layer, Users.layer))
)
const registry = Layer.mergeAll(
  Devices.layer,
  DeviceTypes.layer,
  ProtocolConverters.layer,
  ApiKeys.layer,
  DeadLetters.layer,
  Jobs.layer,
  TelemetryHistory.layer,
  TransactionList.layer
)

const handlers = Layer.mergeAll(
  auth,
  organization,
  deadLetters,
  devices,
  deviceTypes,
  protocolConverters,
  telemetry,
  transactions,
  jobs,
  operations,
  health
)

const rest = HttpApiBuilder.layer(RestApi).pipe(
  Layer.provide(handlers),
  Layer.provide(Layer.merge(authorization, readableRequest)),
  Layer.provide(Callers.layer),
  Layer.provide(Layer.merge(identity, registry))
)

/** Adds its routes to the HttpRouter. Answers of the whole server, also to unknown addresses, pass its problem boundary. */
export const routes = Layer.mergeAll(rest, documentation, problemBoundary)
