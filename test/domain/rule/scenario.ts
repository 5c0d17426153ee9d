import type { Gap } from "@argusiq/domain/connection-status.ts"
import type { Evaluate, ParsedExpression } from "@argusiq/domain/expression/expression.ts"
import { foldAll } from "@argusiq/domain/fold-state.ts"
import { ruleCompiler } from "@argusiq/domain/rule/compile-rule.ts"
import { entityRules } from "@argusiq/domain/rule/entity-rules.ts"
import { RuleConfig, type RuleVersion } from "@argusiq/domain/rule/rule.ts"
import type { RuleAlarm, RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import type { MetricValue } from "@argusiq/domain/readings.ts"
import { Result, Schema } from "effect"

export const SECOND = 1_000_000
export const RULE = "00000000-0000-4000-8000-000000000001"
const TENANT = "00000000-0000-4000-8000-0000000000aa"

const decode = Schema.decodeUnknownSync(RuleConfig)

export const config = (given: object): RuleConfig => {
  const { metricKey, ...rest } = {
    metricKey: "t",
    name: "a rule",
    entityType: "asset",
    scope: { kind: "all" },
    severity: "high",
    cooldownSeconds: 0,
    ...given
  }
  return decode(metricKey === undefined ? rest : { ...rest, metricKey })
}

export const version = (given: object, number = 1, effectiveAt = 0, id = RULE): RuleVersion =>
  ({ id, version: number, effectiveAt, tenantId: TENANT, config: config(given) }) as RuleVersion

/** `a > b` over two metrics, without a parser. */
export const greater: { readonly parse: () => ParsedExpression; readonly evaluate: Evaluate } = {
  parse: () => ({ source: "a > b", reads: ["a", "b"], run: undefined }),
  evaluate: (_, { a, b }) =>
    Result.succeed(a === undefined || b === undefined ? undefined : (a as number) > (b as number))
}

export const compile = ruleCompiler(greater)

export type Row = readonly [seconds: number, metrics: MetricValue | Readonly<Record<string, MetricValue>>]

export const reading = ([seconds, given]: Row, index = 0): RuleInput => ({
  ts: Math.round(seconds * SECOND),
  readingId: `${seconds}:${index}`,
  receivedAt: Math.round(seconds * SECOND),
  metrics: typeof given === "object" && !Array.isArray(given) ? (given as Record<string, MetricValue>) : { t: given }
})

/** start–end severity, with how it ended if not cleared. */
export const show = ({ end, endedAt, ruleVersion, severity, startedAt }: RuleAlarm): string => {
  const to = endedAt === undefined ? "" : endedAt / SECOND
  return `${ruleVersion === 1 ? "" : `v${ruleVersion} `}${startedAt / SECOND}–${to} ${severity}${end === undefined || end === "cleared" ? "" : ` ${end}`}`
}

/** The alarms of readings of one entity, in order of their beginning. */
export const alarmsOf = (
  versions: ReadonlyArray<RuleVersion>,
  rows: ReadonlyArray<Row>,
  until: number,
  gaps: ReadonlyArray<Gap> = []
): ReadonlyArray<RuleAlarm> =>
  [
    ...foldAll(
      entityRules(compile(versions), () => gaps),
      rows.map(reading),
      until * SECOND
    ).told.values()
  ].toSorted((left, right) => left.startedAt - right.startedAt)
