import { Flag } from "effect/cli"

/** Which organisation a command acts for. */
export const organization = Flag.String("organization").pipe(
  Flag.withDescription("Id of the device's organisation; needed only where the device is in one that was added later"),
  Flag.optional
)
