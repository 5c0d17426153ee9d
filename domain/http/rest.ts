/**
 * The REST API as one contract, free of server code: the server, its documentation and its clients share it.
 * @module
 */
import { HttpApi, OpenApi } from "effect/http-api"
import { ActivitiesApi } from "./activities.ts"
import { ActivityTemplatesApi } from "./activity-templates.ts"
import { ActivityTypesApi } from "./activity-types.ts"
import { AlarmsApi } from "./alarms.ts"
import { AssetGroupsApi } from "./asset-groups.ts"
import { AssetProfilesApi } from "./asset-profiles.ts"
import { AssetTelemetryApi } from "./asset-telemetry.ts"
import { AssetTypesApi } from "./asset-types.ts"
import { AssetsApi } from "./assets.ts"
import { DocumentsApi } from "./documents.ts"
import { LinksApi } from "./links.ts"
import { SpacesApi } from "./spaces.ts"
import { RebuildApi } from "./rebuild.ts"
import { RulesApi, ThresholdRulesApi } from "./rules.ts"
import { AuditApi } from "./audit.ts"
import { AuthApi } from "./auth.ts"
import { BacktestApi } from "./backtest.ts"
import { CertificateFilesApi, CertificatesApi } from "./certificates.ts"
import { DeadLettersApi } from "./dead-letters.ts"
import { DeviceImportApi } from "./device-import.ts"
import { DeviceMessagesApi } from "./device-messages.ts"
import { DevicesApi } from "./devices.ts"
import { DeviceTypesApi } from "./device-types.ts"
import { EventsApi } from "./events.ts"
import { HealthApi } from "./health.ts"
import { JobsApi } from "./jobs.ts"
import { MessagesApi } from "./messages.ts"
import { NotificationsApi } from "./notifications.ts"
import { OperationsApi } from "./operations.ts"
import { OrganizationApi, OrganizationsApi } from "./organization.ts"
import { ProtocolConvertersApi } from "./protocol-converters.ts"
import { SchedulesApi } from "./schedules.ts"
import { TelemetryApi } from "./telemetry.ts"
import { TransactionsApi } from "./transactions.ts"
import { UsersApi } from "./users.ts"

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
  .add(
    AssetsApi,
    AssetTypesApi,
    AssetTelemetryApi,
    AssetProfilesApi,
    AssetGroupsApi,
    SpacesApi,
    LinksApi,
    DocumentsApi,
    RulesApi,
    ThresholdRulesApi
  )
  .add(AlarmsApi, EventsApi, BacktestApi)
  .add(ActivityTypesApi, ActivityTemplatesApi, ActivitiesApi, SchedulesApi, NotificationsApi)
  .add(DeadLettersApi)
  .add(JobsApi, RebuildApi)
  .add(TransactionsApi)
  .add(UsersApi, OrganizationsApi)
  .add(DeviceImportApi, DeviceMessagesApi)
  .add(AuditApi, MessagesApi)
  .add(CertificatesApi, CertificateFilesApi)
  .annotate(HttpApi.ParseOptions, { errors: "all" }) // a person wants to know every fault at once
  .annotateMerge(OpenApi.annotations({ title: "ArgusIQ", version: "1" })) {}
