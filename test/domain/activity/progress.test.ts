import { type ActivityState } from "@argusiq/domain/activity/activity.ts"
import { advance, type Step } from "@argusiq/domain/activity/progress.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"

const required = (done: boolean) => ({ item: "Stop the pump", required: true, done })
const optional = { item: "Take a picture", required: false, done: false }

describe("an activity", () => {
  const allowed: Readonly<Record<string, ActivityState>> = {
    "pending start": "in_progress",
    "in_progress complete": "completed",
    "pending cancel": "cancelled",
    "in_progress cancel": "cancelled"
  }
  for (const state of ["pending", "in_progress", "completed", "cancelled"] as const) {
    for (const step of ["start", "complete", "cancel"] as const satisfies ReadonlyArray<Step>) {
      const expected = allowed[`${state} ${step}`]
      it(`that is ${state} ${expected === undefined ? "refuses" : "takes"} the step ${step}`, () => {
        const result = advance(state, step, [])
        if (expected !== undefined) assert.deepStrictEqual(result, Result.succeed(expected))
        else assert.deepInclude(Result.getOrThrow(Result.flip(result)), { _tag: "WrongActivityState", state, step })
      })
    }
  }

  it("is not completed while a required item is open, and says which", () => {
    const result = advance("in_progress", "complete", [required(true), required(false), optional])
    assert.deepInclude(Result.getOrThrow(Result.flip(result)), { _tag: "RequiredItemsOpen", items: ["Stop the pump"] })
  })
  it("is completed with other items open", () => {
    assert.deepStrictEqual(
      advance("in_progress", "complete", [required(true), optional]),
      Result.succeed("completed" as const)
    )
  })
  it("is cancelled with required items open", () => {
    assert.deepStrictEqual(advance("pending", "cancel", [required(false)]), Result.succeed("cancelled" as const))
  })
})
