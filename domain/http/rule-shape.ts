/**
 * A rule as REST writes it, and the rule that it means.
 * @module
 */
import { Result, Schema, SchemaIssue } from "effect"
import { AssetTypeId, DeviceTypeId } from "../ids.ts"
import { type RuleConfig, RuleConfig as RuleConfigSchema, type RuleScope } from "../rule/rule.ts"
import { ruleFaults, type RuleFault } from "../rule/rule-faults.ts"
import { faultPath } from "./fault-path.ts"
import { type NewRule, type Rule, type RuleChange } from "./rules.ts"

/** The part of a rule in REST that its configuration says. */
export type RuleShape = Omit<
  Rule,
  | "id"
  | "organizationId"
  | "description"
  | "ownerAssetTypeId"
  | "ruleVersion"
  | "effectiveAt"
  | "createdAt"
  | "updatedAt"
  | "version"
>

const asAssetType = Schema.decodeSync(AssetTypeId)
const asDeviceType = Schema.decodeSync(DeviceTypeId)

export const shapeOf = (config: RuleConfig): RuleShape => {
  const { actions, condition, entityType, scope } = config
  const thresholds = condition.operator === "above" || condition.operator === "below" ? condition : undefined
  const typeId = scope.kind === "type" ? scope.id : undefined
  const ids = scope.kind === "entities" ? scope.ids : undefined
  return {
    name: config.name,
    entityType,
    entityId: ids?.length === 1 ? ids[0] : null,
    entityIds: ids ?? null,
    assetTypeId: typeId !== undefined && entityType === "asset" ? asAssetType(typeId) : null,
    deviceTypeId: typeId !== undefined && entityType === "device" ? asDeviceType(typeId) : null,
    groupId: scope.kind === "group" ? scope.id : null,
    metricKey: config.metricKey ?? null,
    condition,
    warningThreshold: thresholds?.warning ?? null,
    criticalThreshold: thresholds?.critical ?? null,
    hysteresis: config.hysteresis,
    debounceSeconds: config.debounceSeconds,
    cooldownSeconds: config.cooldownSeconds,
    schedule: config.schedule ?? null,
    severity: config.severity,
    priority: config.priority ?? null,
    eventType: config.eventType ?? null,
    messageTemplate: config.messageTemplate,
    action: actions[0] ?? null,
    actions,
    notifyWhenSettled: config.notifyWhenSettled,
    isActive: config.isActive
  }
}

const scopeKeys = ["entityId", "entityIds", "assetTypeId", "deviceTypeId", "groupId"] as const
type Body = NewRule | RuleChange

/** Undefined: the body says nothing of it. */
const scopeOf = (body: Body, entityType: string): Result.Result<RuleScope | undefined, RuleFault> => {
  const named = scopeKeys.filter((key) => body[key] !== undefined && body[key] !== null)
  if (named.length > 1) {
    return Result.fail({ path: named[1]!, message: `says another scope than ${named[0]!}: name one of them` })
  }
  const wrongType = entityType === "device" ? body.assetTypeId : body.deviceTypeId
  if (wrongType !== undefined && wrongType !== null) {
    return Result.fail({ path: named[0]!, message: `does not fit entityType ${entityType}` })
  }
  const typeId = body.assetTypeId ?? body.deviceTypeId ?? undefined
  if (typeId !== undefined) return Result.succeed({ kind: "type", id: typeId })
  if (typeof body.groupId === "string") return Result.succeed({ kind: "group", id: body.groupId })
  if (typeof body.entityId === "string") return Result.succeed({ kind: "entities", ids: [body.entityId] })
  if (body.entityIds !== undefined && body.entityIds !== null) {
    const [first, ...others] = new Set(body.entityIds)
    return Result.succeed(first === undefined ? { kind: "all" } : { kind: "entities", ids: [first, ...others] })
  }
  return Result.succeed(scopeKeys.some((key) => body[key] === null) ? { kind: "all" } : undefined)
}

/** What decides the severity unless it is told. */
interface Breach {
  readonly condition: object
  readonly severity?: "warning" | "critical"
}
const breachOf = (body: Body): Result.Result<Breach | undefined, RuleFault> => {
  const { condition, criticalThreshold, direction, warningThreshold } = body
  const warning = warningThreshold ?? undefined
  const critical = criticalThreshold ?? undefined
  if (condition !== undefined && condition !== null) {
    const isSame = "warning" in condition && condition.warning === warning && condition.critical === critical
    if ((warning ?? critical) !== undefined && !isSame) {
      return Result.fail({ path: "condition", message: "is given beside thresholds: give one of them" })
    }
    if ("operator" in condition) return Result.succeed({ condition })
    const operator = "expression" in condition ? "expression" : "noData"
    return Result.succeed({ condition: { ...condition, operator } })
  }
  if (warning !== undefined && critical !== undefined) {
    const operator = direction ?? (critical >= warning ? "above" : "below")
    return Result.succeed({ condition: { operator, warning, critical } })
  }
  const value = warning ?? critical
  if (value === undefined) return Result.succeed(undefined)
  return Result.succeed({
    condition: { operator: direction === "below" ? "<" : ">", value },
    severity: critical === undefined ? "warning" : "critical"
  })
}

const plain = [
  "name",
  "metricKey",
  "hysteresis",
  "debounceSeconds",
  "cooldownSeconds",
  "schedule",
  "severity",
  "priority",
  "eventType",
  "messageTemplate",
  "actions",
  "notifyWhenSettled",
  "isActive"
] as const

const decode = Schema.decodeUnknownResult(RuleConfigSchema, { errors: "all" })
const encode = Schema.encodeSync(RuleConfigSchema)
const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** What a body makes of a rule, or every reason why it makes none. `present`: the rule that it changes. */
export const ruleOf = (
  body: Body,
  entityType: RuleConfig["entityType"],
  present?: RuleConfig
): Result.Result<RuleConfig, ReadonlyArray<RuleFault>> => {
  const scope = scopeOf(body, entityType)
  const breach = breachOf(body)
  const faults: Array<RuleFault> = []
  if (Result.isFailure(scope)) faults.push(scope.failure)
  if (Result.isFailure(breach)) faults.push(breach.failure)
  if (Result.isFailure(scope) || Result.isFailure(breach)) return Result.fail(faults)
  if (breach.success === undefined && present === undefined) {
    return Result.fail([{ path: "condition", message: "is needed, or warningThreshold and criticalThreshold" }])
  }
  const written: Record<string, unknown> = {
    ...(present === undefined ? { scope: { kind: "all" }, severity: "warning" } : encode(present)),
    entityType,
    ...(scope.success !== undefined && { scope: scope.success }),
    ...breach.success
  }
  for (const key of plain) {
    const value = body[key]
    if (value === null) delete written[key]
    else if (value !== undefined) written[key] = value
  }
  if (body.actions === undefined && body.action !== undefined) {
    written["actions"] = body.action === null ? [] : [body.action]
  }
  const decoded = decode(written)
  if (Result.isFailure(decoded)) {
    const { issues } = formatIssues(decoded.failure.issue)
    return Result.fail(issues.map(({ message, path = [] }) => ({ path: faultPath(path), message })))
  }
  const wrong = ruleFaults(decoded.success)
  return wrong.length > 0 ? Result.fail(wrong) : Result.succeed(decoded.success)
}
