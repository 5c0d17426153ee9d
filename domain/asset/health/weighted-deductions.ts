/**
 * 100 minus the deduction of each rule whose condition holds, not below 0. A rule that reads nothing the asset has a value
 * of is not judged; where none can be judged there is no score.
 * @module
 */
import { Result } from "effect"
import type { HealthContribution } from "../asset-reading.ts"
import { type HealthAlgorithmKind, healthOf } from "./algorithm.ts"

const full: HealthContribution = { reason: "No deductions", score: 100, weight: 1, points: 100 }

export const weightedDeductions: HealthAlgorithmKind<"weighted_deductions"> = {
  name: "weighted_deductions",
  compile: ({ rules }, parse, fault) => {
    const compiled = rules.flatMap(({ deduction, reason, when }, index) => {
      if (deduction < 0) fault(`rules[${index}].deduction`, "must not be negative: it is subtracted")
      const parsed = parse(when)
      if (Result.isSuccess(parsed)) return [{ deduction, reason, when: parsed.success }]
      fault(`rules[${index}].when`, `${parsed.failure.message} (at position ${parsed.failure.position})`)
      return []
    })
    const read = compiled.flatMap(({ when }) => when.reads ?? [])
    return {
      reads: compiled.some(({ when }) => when.reads === undefined) ? undefined : [...new Set(read)],
      score: (values, evaluate) => {
        const contributions = [full]
        let judged = false
        let left = 100
        for (const { deduction, reason, when } of compiled) {
          const { reads } = when
          const hasData =
            reads === undefined || reads.length === 0
              ? Object.keys(values).length > 0
              : reads.some((key) => Object.hasOwn(values, key))
          if (!hasData) continue
          judged = true
          const holds = evaluate(when, values)
          if (Result.isFailure(holds) || holds.success !== true) continue
          contributions.push({ reason, score: 0, weight: deduction, points: -deduction })
          left -= deduction
        }
        if (!judged) return undefined
        if (left < 0) contributions.push({ reason: "Not below 0", score: 0, weight: 0, points: -left })
        return healthOf(contributions)
      }
    }
  }
}
