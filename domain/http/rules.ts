/**
 * Rules: when a reading is worth an alarm. Every change makes a version, in force two seconds later.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Expression } from "../expression/expression.ts"
import { AssetTypeId, DeviceTypeId, MetricKey, RuleId, TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Condition, RuleAction, RuleConfig, RuleSchedule } from "../rule/rule.ts"
import { Severity } from "../system-event.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, shortPageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const EntityType = Schema.Literals(["device", "asset"])
const nullable = <S extends Schema.Top>(value: S) => Schema.optionalKey(Schema.NullOr(value))
const config = RuleConfig.fields

/** `operator` tells them apart; an expression and a silence may leave it out. */
const WrittenCondition = Schema.Union([
  Condition,
  Schema.Struct({ expression: Expression, durationSeconds: Schema.optionalKey(Schema.Int) }),
  Schema.Struct({ noDataSeconds: Schema.Int.check(Schema.isGreaterThan(0)) })
])

/** At most one of them; none, or `entityId: null`: all devices or all assets. */
const scope = {
  entityId: nullable(Uuid),
  entityIds: nullable(Schema.NonEmptyArray(Uuid).check(Schema.isMaxLength(1_000))),
  assetTypeId: nullable(AssetTypeId),
  deviceTypeId: nullable(DeviceTypeId),
  groupId: nullable(Uuid)
}
/** Either a condition, or one or both thresholds. */
const breach = {
  condition: nullable(WrittenCondition),
  warningThreshold: nullable(Schema.Finite),
  criticalThreshold: nullable(Schema.Finite),
  direction: nullable(Schema.Literals(["above", "below"])) // of the thresholds; from their order unless told
}
const body = {
  ...scope,
  ...breach,
  description: Schema.optionalKey(text(2_000)),
  metricKey: nullable(MetricKey),
  hysteresis: Schema.optionalKey(Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))),
  debounceSeconds: Schema.optionalKey(Schema.toType(config.debounceSeconds)),
  cooldownSeconds: Schema.optionalKey(Schema.toType(config.cooldownSeconds)),
  schedule: nullable(RuleSchedule),
  severity: Schema.optionalKey(Severity),
  priority: nullable(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))),
  eventType: nullable(text(200)),
  messageTemplate: Schema.optionalKey(text(2_000)),
  action: nullable(RuleAction),
  actions: Schema.optionalKey(Schema.Array(RuleAction).check(Schema.isMaxLength(20))),
  notifyWhenSettled: Schema.optionalKey(Schema.Boolean),
  isActive: Schema.optionalKey(Schema.Boolean)
}
export const NewRule = Schema.Struct({ name: label(200), entityType: EntityType, ...body }).annotate({
  identifier: "NewRule",
  examples: [
    {
      name: "Cold room too warm",
      entityType: "asset",
      entityId: null,
      metricKey: "temperature",
      warningThreshold: 8,
      criticalThreshold: 12,
      hysteresis: 0.5,
      debounceSeconds: 60
    }
  ]
})
export type NewRule = typeof NewRule.Type
export const RuleChange = Schema.Struct({ name: Schema.optionalKey(label(200)), ...body }).annotate({
  identifier: "RuleChange"
})
export type RuleChange = typeof RuleChange.Type

export const Rule = Schema.Struct({
  id: RuleId,
  organizationId: TenantId,
  name: Schema.String,
  description: Schema.String,
  entityType: EntityType,
  entityId: Schema.NullOr(Uuid), // the one entity where it is one
  entityIds: Schema.NullOr(Schema.Array(Uuid)),
  assetTypeId: Schema.NullOr(AssetTypeId),
  deviceTypeId: Schema.NullOr(DeviceTypeId),
  groupId: Schema.NullOr(Uuid),
  metricKey: Schema.NullOr(Schema.String),
  condition: Condition,
  warningThreshold: Schema.NullOr(Schema.Finite),
  criticalThreshold: Schema.NullOr(Schema.Finite),
  hysteresis: Schema.Finite,
  debounceSeconds: Schema.Int,
  cooldownSeconds: Schema.Int,
  schedule: Schema.NullOr(RuleSchedule),
  severity: Severity,
  priority: Schema.NullOr(Schema.Int), // null: from the severity
  eventType: Schema.NullOr(Schema.String),
  messageTemplate: Schema.String,
  action: Schema.NullOr(RuleAction), // the first of the actions
  actions: Schema.Array(RuleAction),
  notifyWhenSettled: Schema.Boolean,
  isActive: Schema.Boolean,
  ownerAssetTypeId: Schema.NullOr(AssetTypeId), // it stands in this type's configuration, and is changed there
  ruleVersion: Schema.Int,
  effectiveAt: IsoInstant, // of that version
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // for If-Match
}).annotate({ identifier: "Rule" })
export type Rule = typeof Rule.Type

export const RuleQuery = Schema.Struct({
  ...pageQuery, // `q`: part of the name
  entityType: Schema.optionalKey(EntityType),
  entityId: Schema.optionalKey(Uuid), // rules that name it
  assetTypeId: Schema.optionalKey(AssetTypeId),
  deviceTypeId: Schema.optionalKey(DeviceTypeId),
  groupId: Schema.optionalKey(Uuid),
  isActive: Schema.optionalKey(Schema.Literals(["true", "false"]))
})
export type RuleQuery = typeof RuleQuery.Type

export const RuleHistoryItem = Schema.Struct({
  number: Schema.Int,
  effectiveAt: IsoInstant,
  config: RuleConfig,
  author: Schema.NullOr(Uuid),
  createdAt: IsoInstant
}).annotate({ identifier: "RuleHistoryItem" })
export type RuleHistoryItem = typeof RuleHistoryItem.Type

const changes = [NotFound, Conflict, PreconditionFailed, Unprocessable] as const

const endpoints = [
  HttpApiEndpoint.get("list", "/", { query: RuleQuery.fields, success: page(Rule, "RulePage"), error: InvalidRequest })
    .annotate(RequiredPermission, "rules:read")
    .annotate(OpenApi.Summary, "Rules, page by page; those of asset types among them"),
  HttpApiEndpoint.post("create", "/", {
    payload: NewRule,
    success: Rule.pipe(HttpApiSchema.status(201)),
    error: [Conflict, Unprocessable]
  })
    .annotate(RequiredPermission, "rules:write")
    .annotate(OpenApi.Summary, "Add a rule, in force two seconds later"),
  HttpApiEndpoint.get("get", "/:id", { params: idParams, success: Rule, error: NotFound })
    .annotate(RequiredPermission, "rules:read")
    .annotate(OpenApi.Summary, "One rule"),
  HttpApiEndpoint.patch("change", "/:id", {
    params: idParams,
    headers: ifMatch,
    payload: RuleChange,
    success: Rule,
    error: changes
  })
    .annotate(RequiredPermission, "rules:write")
    .annotate(OpenApi.Summary, "Change what the body names; its open alarms end when that is in force"),
  HttpApiEndpoint.put("replace", "/:id", {
    params: idParams,
    headers: ifMatch,
    payload: RuleChange,
    success: Rule,
    error: changes
  })
    .annotate(RequiredPermission, "rules:write")
    .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays"),
  HttpApiEndpoint.delete("remove", "/:id", {
    params: idParams,
    headers: ifMatch,
    success: HttpApiSchema.NoContent,
    error: [NotFound, Conflict, PreconditionFailed, InvalidRequest]
  })
    .annotate(RequiredPermission, "rules:write")
    .annotate(OpenApi.Summary, "End a rule; its versions and its alarms stay"),
  HttpApiEndpoint.get("versions", "/:id/versions", {
    params: idParams,
    query: shortPageQuery,
    success: page(RuleHistoryItem, "RuleHistory"),
    error: [NotFound, InvalidRequest]
  })
    .annotate(RequiredPermission, "rules:read")
    .annotate(OpenApi.Summary, "Every version, newest first")
] as const

export class RulesApi extends HttpApiGroup.make("rules")
  .add(...endpoints)
  .prefix("/api/v1/rules")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}

/** The same rules under the name that they have elsewhere. */
export class ThresholdRulesApi extends HttpApiGroup.make("thresholdRules")
  .add(...endpoints)
  .prefix("/api/v1/threshold-rules")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
