/**
 * Which alarms a rule would have raised on what is stored: the fold that live readings go through, over history, with no effect.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import type { Evaluate } from "@argusiq/domain/expression/expression.ts"
import { folding } from "@argusiq/domain/fold-state.ts"
import type { Backtest, BacktestAlarm, BacktestRequest } from "@argusiq/domain/http/backtest.ts"
import { ruleOf } from "@argusiq/domain/http/rule-shape.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import type { Instant, RuleId } from "@argusiq/domain/ids.ts"
import { type Kind, ruleCompiler } from "@argusiq/domain/rule/compile-rule.ts"
import { type EntityRules, entityRules } from "@argusiq/domain/rule/entity-rules.ts"
import type { RuleConfig, RuleVersion } from "@argusiq/domain/rule/rule.ts"
import type { RuleAlarm } from "@argusiq/domain/rule/rule-fold.ts"
import { warmUpSeconds } from "@argusiq/domain/rule/warm-up.ts"
import { Clock, Context, Effect, Layer, Result, Semaphore } from "effect"
import { readAcceptance } from "../connectivity/IngestGaps.ts"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql, PipelineSql } from "../database/Sql.ts"
import type { Actor } from "../registry/Devices.ts"
import { NotValid, orUnavailable } from "../registry/refusals.ts"
import { Sandbox } from "../sandbox/Sandbox.ts"
import { withExpressions } from "../sandbox/withExpressions.ts"
import { uuids } from "../telemetry/columns.ts"
import { type Place, readPage } from "./backtestReadings.ts"

const SECOND = 1_000_000
const MAX_ENTITIES = 1_000
const MAX_DAYS = 366
const MAX_ALARMS = 10_000
const MAX_MILLIS = 30_000
/** At the same time, in a process. */
const CONCURRENCY = 2
/** Entities of one backtest at the same time: while the database reads of one, another is folded. */
const AT_ONCE = 2

const RULE = "00000000-0000-4000-8000-000000000000" as RuleId

const unknown: Evaluate = () => Result.succeed(undefined)

const invalid = (path: string, message: string) => new NotValid({ faults: [{ path, message }] })

export class Backtests extends Context.Service<
  Backtests,
  {
    /** Refused with what is wrong with the rule, and where it would be too much; `path` names what to change. */
    run(actor: Actor, request: BacktestRequest): Effect.Effect<Backtest, NotValid | DatabaseUnavailable>
  }
>()("argusiq/layers/alarms/Backtests") {
  static readonly layer = Layer.effect(
    Backtests,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const pipeline = yield* PipelineSql
      const sandbox = yield* Sandbox
      const turn = yield* Semaphore.make(CONCURRENCY)
      const scoped = inTenantOf(sql)

      /** The organization's own of those named, or all that the rule's scope takes in. */
      const entitiesOf = Effect.fnUntraced(function* (
        { entityType, scope }: RuleConfig,
        entityIds: ReadonlyArray<string> | undefined
      ) {
        const table = sql(entityType === "asset" ? "assets" : "devices")
        const named = entityIds ?? (scope.kind === "entities" ? scope.ids : undefined)
        const typeColumn = sql(entityType === "asset" ? "asset_type_id" : "device_type_id")
        const where =
          named !== undefined
            ? sql`item.id = any(${uuids(named)})`
            : scope.kind === "type"
              ? sql`item.${typeColumn} = ${scope.id}::uuid`
              : scope.kind === "group"
                ? sql`(exists (select from asset_group_members where group_id = ${scope.id}::uuid and asset_id = item.id)
                    or exists (select from asset_groups g where g.id = ${scope.id}::uuid and g.filter is not null
                      and asset_matches(g.filter, item)))`
                : sql.literal("true")
        const rows = yield* sql<{ id: string }>`select item.id from ${table} item where ${where} order by item.id
          limit ${MAX_ENTITIES + 1}`
        if (rows.length > MAX_ENTITIES) {
          return yield* invalid(
            "entityIds",
            `the rule's scope has more than ${MAX_ENTITIES} entities: name some of them`
          )
        }
        const found = new Set(rows.map(({ id }) => id))
        const missing = named?.find((id) => !found.has(id))
        if (missing !== undefined) {
          return yield* invalid("entityIds", `there is no ${entityType} ${missing} in this organization`)
        }
        return rows.map(({ id }) => id)
      })

      const runOne = Effect.fnUntraced(function* (actor: Actor, { entityIds, from, rule, to }: BacktestRequest) {
        const began = yield* Clock.currentTimeMillis
        const config = ruleOf(rule, rule.entityType)
        if (Result.isFailure(config)) {
          return yield* new NotValid({
            faults: config.failure.map((fault) => ({ ...fault, path: `rule.${fault.path}` }))
          })
        }
        const end = Math.min(to, began * 1_000)
        if (from >= to) return yield* invalid("to", "must be after from")
        if (to - from > MAX_DAYS * 86_400 * SECOND)
          return yield* invalid("to", `must be at most ${MAX_DAYS} days after from`)
        const warmUpFrom = from - warmUpSeconds(config.success) * SECOND
        const active = { ...config.success, isActive: true }
        const entities = yield* entitiesOf(active, entityIds).pipe(scoped(actor), orUnavailable)
        const { gaps } = yield* readAcceptance(pipeline)

        let evaluate = unknown
        const version: RuleVersion = {
          id: RULE,
          version: 1,
          effectiveAt: warmUpFrom,
          tenantId: actor.tenantId,
          config: active
        }
        const compiled = ruleCompiler({
          parse: (source) => Result.getOrUndefined(parseExpression(source)),
          evaluate: (expression, input) => evaluate(expression, input)
        })([version])
        const fold = entityRules(compiled, () => gaps)
        const kind: Kind = compiled[0]!.versions[0]!.kind!

        const alarms: Array<{ readonly at: Instant; readonly alarm: BacktestAlarm }> = []
        let readings = 0
        const runEntity = Effect.fnUntraced(function* (entityId: string) {
          let state: EntityRules = fold.initial
          let after: Place | undefined
          const told = new Map<string, RuleAlarm>()
          do {
            const page = yield* readPage(sql, kind, entityId, warmUpFrom, end, after, readings).pipe(
              scoped(actor),
              orUnavailable
            )
            after = page.after
            const before = state
            const folded = yield* withExpressions(sandbox, (given) => {
              evaluate = given
              const emitted = new Map<string, RuleAlarm>()
              const run = folding(fold, (id: string, alarm: RuleAlarm) => void emitted.set(id, alarm), before)
              run.push(page.inputs)
              return { emitted, state: run.end(after === undefined ? end : undefined) }
            })
            state = folded.state
            for (const [id, alarm] of folded.emitted) {
              if (alarm.endedAt !== undefined && alarm.endedAt <= from) told.delete(id)
              else told.set(id, alarm)
            }
            readings += page.inputs.length
            if ((yield* Clock.currentTimeMillis) - began > MAX_MILLIS) {
              return yield* invalid(
                "to",
                `was not reached within ${MAX_MILLIS / 1_000} s: ${readings} readings were folded, of ${entities.length} entities; choose less time or fewer entities`
              )
            }
            if (alarms.length + told.size > MAX_ALARMS) {
              return yield* invalid(
                "to",
                `would give more than ${MAX_ALARMS} alarms: choose less time or fewer entities, or a rule that raises fewer`
              )
            }
          } while (after !== undefined)
          for (const alarm of told.values()) {
            alarms.push({
              at: alarm.startedAt,
              alarm: {
                entityId,
                severity: alarm.severity,
                startedAt: isoFromMicros(alarm.startedAt),
                endedAt: alarm.endedAt === undefined ? null : isoFromMicros(alarm.endedAt),
                value: alarm.value ?? null,
                threshold: alarm.threshold ?? null
              }
            })
          }
        })
        yield* Effect.forEach(entities, runEntity, { concurrency: AT_ONCE, discard: true })
        return {
          alarms: alarms.toSorted((left, right) => left.at - right.at).map(({ alarm }) => alarm),
          entities: entities.length,
          readings,
          warmUpFrom: isoFromMicros(warmUpFrom)
        } satisfies Backtest
      })

      return Backtests.of({
        run: Effect.fn("Backtests.run")((actor: Actor, request: BacktestRequest) =>
          turn.withPermit(runOne(actor, request))
        )
      })
    })
  )
}
