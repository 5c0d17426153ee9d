/**
 * The REST API's routes: everything under `/api/v1` that is not ingest, health, metrics and the documentation of all.
 * @module
 */
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Activities } from "@argusiq/layers/activities/Activities.ts"
import { ActivityTemplates } from "@argusiq/layers/activities/ActivityTemplates.ts"
import { ActivityTypes } from "@argusiq/layers/activities/ActivityTypes.ts"
import { Schedules } from "@argusiq/layers/activities/Schedules.ts"
import { Members } from "@argusiq/layers/identity/Members.ts"
import { Organizations } from "@argusiq/layers/identity/Organizations.ts"
import { Passwords } from "@argusiq/layers/identity/Passwords.ts"
import { Sessions } from "@argusiq/layers/identity/Sessions.ts"
import { Alarms } from "@argusiq/layers/alarms/Alarms.ts"
import { Backtests } from "@argusiq/layers/alarms/Backtests.ts"
import { Events } from "@argusiq/layers/alarms/Events.ts"
import * as DirectoryFiles from "@argusiq/layers/documents/DirectoryFiles.ts"
import { CertificateAuthority } from "@argusiq/layers/certificates/CertificateAuthority.ts"
import { Certificates } from "@argusiq/layers/certificates/Certificates.ts"
import { RevocationLists } from "@argusiq/layers/certificates/RevocationLists.ts"
import { Deliveries } from "@argusiq/layers/notifications/Deliveries.ts"
import { Notifications } from "@argusiq/layers/notifications/Notifications.ts"
import { ApiKeys } from "@argusiq/layers/registry/ApiKeys.ts"
import { AssetHistory } from "@argusiq/layers/asset-state/AssetHistory.ts"
import { AssetGroups } from "@argusiq/layers/registry/AssetGroups.ts"
import { Assets } from "@argusiq/layers/registry/Assets.ts"
import { AssetTypes } from "@argusiq/layers/registry/AssetTypes.ts"
import { Jobs } from "@argusiq/layers/jobs/Jobs.ts"
import { DeviceImport } from "@argusiq/layers/registry/DeviceImport.ts"
import { Devices } from "@argusiq/layers/registry/Devices.ts"
import { DeviceTypes } from "@argusiq/layers/registry/DeviceTypes.ts"
import { Documents } from "@argusiq/layers/registry/Documents.ts"
import { Links } from "@argusiq/layers/registry/Links.ts"
import { ProfilesOfAssets } from "@argusiq/layers/registry/ProfilesOfAssets.ts"
import { ProtocolConverters } from "@argusiq/layers/registry/ProtocolConverters.ts"
import { Rules } from "@argusiq/layers/registry/Rules.ts"
import { Spaces } from "@argusiq/layers/registry/Spaces.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { DeadLetters } from "@argusiq/layers/dead-letters/DeadLetters.ts"
import { DeviceMessages } from "@argusiq/layers/telemetry/DeviceMessages.ts"
import { TelemetryHistory } from "@argusiq/layers/telemetry/TelemetryHistory.ts"
import { TransactionList } from "@argusiq/layers/telemetry/TransactionList.ts"
import { AuditLog } from "@argusiq/layers/audit/AuditLog.ts"
import { MessageTraces } from "@argusiq/layers/trace/MessageTraces.ts"
import { Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { authorization, Callers, identities } from "./authorization.ts"
import { documentation } from "./documentation.ts"
import { alarms } from "./handlers/alarms.ts"
import { activities } from "./handlers/activities.ts"
import { activityTemplates } from "./handlers/activityTemplates.ts"
import { activityTypes } from "./handlers/activityTypes.ts"
import { assetGroups } from "./handlers/assetGroups.ts"
import { assetProfiles } from "./handlers/assetProfiles.ts"
import { assets } from "./handlers/assets.ts"
import { assetTelemetry } from "./handlers/assetTelemetry.ts"
import { assetTypes } from "./handlers/assetTypes.ts"
import { audit } from "./handlers/audit.ts"
import { auth } from "./handlers/auth.ts"
import { certificateFiles, certificates } from "./handlers/certificates.ts"
import { deadLetters } from "./handlers/dead-letters.ts"
import { deviceImport } from "./handlers/deviceImport.ts"
import { deviceMessages } from "./handlers/deviceMessages.ts"
import { devices } from "./handlers/devices.ts"
import { deviceTypes } from "./handlers/deviceTypes.ts"
import { documents } from "./handlers/documents.ts"
import { health } from "./handlers/health.ts"
import { jobs } from "./handlers/jobs.ts"
import { links } from "./handlers/links.ts"
import { messages } from "./handlers/messages.ts"
import { notifications } from "./handlers/notifications.ts"
import { operations } from "./handlers/operations.ts"
import { organization, organizations } from "./handlers/organization.ts"
import { protocolConverters } from "./handlers/protocolConverters.ts"
import { rebuild } from "./handlers/rebuild.ts"
import { rules } from "./handlers/rules.ts"
import { schedules } from "./handlers/schedules.ts"
import { spaces } from "./handlers/spaces.ts"
import { telemetry } from "./handlers/telemetry.ts"
import { transactions } from "./handlers/transactions.ts"
import { users } from "./handlers/users.ts"
import { problemBoundary } from "./problemBoundary.ts"
import { readableRequest } from "./readableRequest.ts"
import { securityLog } from "./securityLog.ts"

const identity = Layer.merge(Sessions.layer, Organizations.layer).pipe(
  Layer.provideMerge(Members.layer),
  Layer.provideMerge(Layer.merge(identities, Passwords.layer))
)
const assetRegistry = Layer.mergeAll(
  Assets.layer,
  AssetHistory.layer,
  AssetTypes.layer,
  ProfilesOfAssets.layer,
  AssetGroups.layer,
  Spaces.layer,
  Links.layer,
  Documents.layer.pipe(Layer.provide(DirectoryFiles.layerConfig)),
  Rules.layer
)
const activityRegistry = Layer.mergeAll(
  ActivityTypes.layer,
  ActivityTemplates.layer,
  Activities.layer,
  Schedules.layer,
  Notifications.layer,
  Deliveries.layer
)
const registry = Layer.mergeAll(
  activityRegistry,
  assetRegistry,
  Layer.mergeAll(Alarms.layer, Backtests.layer, Events.layer),
  Devices.layer,
  DeviceImport.layer,
  DeviceMessages.layer,
  DeviceTypes.layer,
  ProtocolConverters.layer,
  ApiKeys.layer,
  DeadLetters.layer,
  Jobs.layer,
  TelemetryHistory.layer,
  TransactionList.layer,
  AuditLog.layer,
  MessageTraces.layer
).pipe(Layer.provideMerge(Sandbox.layer))

const certificateRegistry = Layer.merge(Certificates.layer, RevocationLists.layer).pipe(
  Layer.provide(Layer.merge(CertificateAuthority.layer, Devices.layer))
)

const assetHandlers = Layer.mergeAll(
  assets,
  assetTelemetry,
  assetTypes,
  assetProfiles,
  assetGroups,
  spaces,
  links,
  documents,
  rules
)
const activityHandlers = Layer.mergeAll(activityTypes, activityTemplates, activities, schedules, notifications)
const handlers = Layer.mergeAll(
  activityHandlers,
  assetHandlers,
  alarms,
  audit,
  auth,
  organization,
  organizations,
  users,
  deadLetters,
  devices,
  deviceImport,
  deviceMessages,
  certificates,
  certificateFiles,
  deviceTypes,
  protocolConverters,
  telemetry,
  transactions,
  jobs,
  messages,
  rebuild,
  operations,
  health
)

const rest = HttpApiBuilder.layer(RestApi).pipe(
  Layer.provide(handlers),
  Layer.provide(Layer.merge(authorization, readableRequest)),
  Layer.provide(Callers.layer),
  Layer.provide(Layer.mergeAll(identity, registry, certificateRegistry))
)

/** Adds its routes to the HttpRouter. Answers of the whole server, also to unknown addresses, pass its problem boundary. */
export const routes = Layer.mergeAll(rest, documentation, problemBoundary, securityLog)
