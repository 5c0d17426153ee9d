import { type Poison } from "@argusiq/domain/errors.ts"
import { type TrialProblem } from "@argusiq/domain/http/device-types.ts"

/** Why a payload that was tried would be a dead letter. */
export const trialProblem = ({ message, offset, path, reason }: Poison): typeof TrialProblem.Type => ({
  reason,
  message,
  path: path ?? null,
  offset: offset ?? null
})
