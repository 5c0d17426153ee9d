/**
 * When what could not be delivered is tried again.
 * @module
 */
import { type Instant } from "../ids.ts"

const seconds = (count: number) => count * 1_000_000

/** Between the first attempt and the second; then twice as long each time. */
const FIRST_PAUSE = seconds(10)
const LONGEST_PAUSE = seconds(3_600)
/** From the first attempt on. */
export const GIVE_UP_AFTER = seconds(86_400)

/** The instant of the next attempt; undefined when it would be too late. `attempts`: made so far, at least 1. */
export const nextAttempt = (firstAttemptAt: Instant, attempts: number, now: Instant): Instant | undefined => {
  const next = now + Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempts - 1))
  return next - firstAttemptAt > GIVE_UP_AFTER ? undefined : next
}
