import type { FoldInput, FoldState } from "@argusiq/domain/fold.ts"
import { RecentInputs, type WrittenInputs } from "@argusiq/domain/recent-inputs.ts"

/** A state as it is after it was saved and loaded. */
export const restarted = <State, Input extends FoldInput>(state: FoldState<State, Input>): FoldState<State, Input> => {
  const written: WrittenInputs<Input> = JSON.parse(state.recent.json({}))
  return { ...JSON.parse(JSON.stringify(state)), recent: RecentInputs.of(RecentInputs.read(written)) }
}
