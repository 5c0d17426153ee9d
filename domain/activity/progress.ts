/**
 * The states of an activity: pending → in_progress → completed | cancelled. It can be cancelled as long as it is open.
 * @module
 */
import { Result, Schema } from "effect"
import { ActivityState } from "./activity.ts"

export type Step = "start" | "complete" | "cancel"

/** It is not in a state in which this can be done. */
export class WrongActivityState extends Schema.TaggedError<WrongActivityState>()("WrongActivityState", {
  state: ActivityState,
  step: Schema.Literals(["start", "complete", "cancel", "change"])
}) {}

/** Items that must be done first, in the order of the checklist. */
export class RequiredItemsOpen extends Schema.TaggedError<RequiredItemsOpen>()("RequiredItemsOpen", {
  items: Schema.Array(Schema.String)
}) {}

export interface Item {
  readonly item: string
  readonly required: boolean
  readonly done: boolean
}

const steps: Readonly<Record<Step, { readonly from: ReadonlyArray<ActivityState>; readonly to: ActivityState }>> = {
  start: { from: ["pending"], to: "in_progress" },
  complete: { from: ["in_progress"], to: "completed" },
  cancel: { from: ["pending", "in_progress"], to: "cancelled" }
}

/** The state that the step leads to. */
export const advance = (
  state: ActivityState,
  step: Step,
  items: ReadonlyArray<Item>
): Result.Result<ActivityState, WrongActivityState | RequiredItemsOpen> => {
  const { from, to } = steps[step]
  if (!from.includes(state)) return Result.fail(new WrongActivityState({ state, step }))
  const missing = step === "complete" ? items.filter(({ done, required }) => required && !done) : []
  return missing.length > 0
    ? Result.fail(new RequiredItemsOpen({ items: missing.map(({ item }) => item) }))
    : Result.succeed(to)
}

/** Whether it is pending or in progress: only then it can be changed. */
export const isOpen = (state: ActivityState): boolean => state === "pending" || state === "in_progress"
