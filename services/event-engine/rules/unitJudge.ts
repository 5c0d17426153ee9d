/**
 * What judging any unit takes: the rules in force, the expressions in them, and when nothing was accepted.
 * @module
 */
import type { Gap } from "@argusiq/domain/connection-status.ts"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import type { Evaluate } from "@argusiq/domain/expression/expression.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { ruleCompiler } from "@argusiq/domain/rule/compile-rule.ts"
import type { RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import { readAcceptance } from "@argusiq/layers/connectivity/IngestGaps.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { RuleSets } from "@argusiq/layers/profiles/RuleSets.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { withExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
import { Clock, Effect, Result } from "effect"
import type { Kind } from "./kinds.ts"
import type { OwnedUnits } from "./OwnedUnits.ts"
import { sharedOf, type Unit } from "./Unit.ts"

const REFRESH_MILLIS = 1_000

const unknown: Evaluate = () => Result.succeed(undefined)

export const makeUnitJudge = Effect.fnUntraced(function* ({ entityType }: Kind, horizonMicros: number) {
  const sql = yield* PipelineSql
  const ruleSets = yield* RuleSets
  const sandbox = yield* Sandbox
  const clock = yield* Clock.Clock

  let evaluate = unknown
  let gaps: ReadonlyArray<Gap> = []
  const shared = sharedOf(
    {
      compile: ruleCompiler({
        parse: (source) => Result.getOrUndefined(parseExpression(source)),
        evaluate: (expression, input) => evaluate(expression, input)
      }),
      gaps: () => gaps
    },
    horizonMicros
  )

  let refreshedAt = -Infinity
  const refresh = Effect.gen(function* () {
    const acceptance = yield* readAcceptance(sql)
    gaps = [...acceptance.gaps, { from: acceptance.acceptedUntil, to: Number.MAX_SAFE_INTEGER }]
    refreshedAt = clock.currentTimeMillisUnsafe()
  })

  const learnRules = Effect.fnUntraced(function* (units: Iterable<Unit>) {
    const asked = [...units]
    if (asked.length === 0) return
    const rules = yield* ruleSets.rulesOf(
      entityType,
      asked.map(({ entity }) => entity.entityId)
    )
    for (const unit of asked) unit.learn(rules.get(unit.entity.entityId) ?? [])
  })

  /** Runs what folds units, with their expressions. It has to be pure, or the same when it is done again. */
  const run = <A>(work: () => A) =>
    withExpressions(sandbox, (given) => {
      evaluate = given
      return work()
    })

  return {
    shared,
    learnRules,
    run,
    /** When nothing was accepted, read again. */
    refresh,
    /** The same, unless that was read within the last second. */
    refreshIfOld: Effect.suspend(() =>
      clock.currentTimeMillisUnsafe() - refreshedAt < REFRESH_MILLIS ? Effect.void : refresh
    ),
    /** What these come to for the units of a partition; nothing is changed yet. */
    fold: (
      { settledUntil }: OwnedUnits,
      inputs: ReadonlyMap<Unit, ReadonlyArray<RuleInput>>,
      partitionTime: Instant | undefined
    ) => run(() => [...inputs].map(([unit, ofUnit]) => unit.step(ofUnit, partitionTime, settledUntil - horizonMicros)))
  }
})
export type UnitJudge = Effect.Success<ReturnType<typeof makeUnitJudge>>
