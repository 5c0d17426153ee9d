/**
 * The rows of what units have come to.
 * @module
 */
import type { RuleAlarm } from "@argusiq/domain/rule/rule-fold.ts"
import { saveAlarmChanges } from "@argusiq/layers/alarms/AlarmRows.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Effect, Metric } from "effect"
import { Failpoints } from "./Failpoints.ts"
import type { Kind } from "./kinds.ts"
import type { Step, Unit } from "./Unit.ts"

const raised = Metric.counter("argusiq_alarms_raised_total", { incremental: true })

/** The answer is undefined where there is nothing to store. */
export const makeStoreSteps = Effect.fnUntraced(function* ({ entityType }: Kind) {
  const sql = yield* PipelineSql
  const reach = yield* Failpoints
  const raisedHere = Metric.withAttributes(raised, { entity: entityType })

  return (steps: ReadonlyArray<Step>) => {
    const rows = steps.flatMap((step) => step.rows)
    const events = steps.flatMap((step) => step.events)
    if (rows.length === 0 && events.length === 0) return undefined
    const units = new Map(steps.map(({ unit }) => [unit.entity.entityId, unit]))
    const byAlarm = new Map<RuleAlarm, Unit>()
    for (const { alarm, entityId } of [...rows, ...events]) byAlarm.set(alarm, units.get(entityId)!)
    return Effect.gen(function* () {
      reach("storing")
      yield* saveAlarmChanges(sql, entityType, rows, events, (alarm) => byAlarm.get(alarm)?.configOf(alarm))
      const breaches = events.filter(({ eventType }) => eventType === "THRESHOLD_BREACH").length
      if (breaches > 0) yield* Metric.update(raisedHere, breaches)
      reach("stored")
    })
  }
})
export type StoreSteps = Effect.Success<ReturnType<typeof makeStoreSteps>>
