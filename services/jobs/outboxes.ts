/**
 * What waits in tables for its way onto the bus, and how what is on its way goes on. None of it ends when the bus or the
 * database is away: it comes again after its pause.
 * @module
 */
import { makeOutage } from "@argusiq/layers/outage.ts"
import { type Duration, Effect } from "effect"
import { relayActivities } from "./ActivityRelay.ts"
import { eraseDownloads, measureCertificates, tellExpiring } from "./certificateCare.ts"
import { forgetRemoved, measureDeadLetters } from "./deadLetterCare.ts"
import { publishRetries, recoverRetries, settleRetries } from "./deadLetterRetries.ts"
import { relayEvents } from "./Relay.ts"
import { makeScheduled } from "./schedules.ts"

interface Chore<R> {
  readonly work: Effect.Effect<void, never, R>
  readonly pause: Duration.Input
}

/** `message`: what is away and what that means meanwhile. */
const chore = <A, E, R>(message: string, pause: Duration.Input, work: Effect.Effect<A, E, R>): Chore<R> => {
  const outage = makeOutage(message)
  return { pause, work: Effect.matchCauseEffect(work, { onFailure: outage.began, onSuccess: () => outage.ended }) }
}

const retries = Effect.andThen(recoverRetries, publishRetries)

export const outboxes = () => [
  chore("Events wait: the bus or the database does not take them", "100 millis", relayEvents),
  chore("Activities wait: the bus or the database does not take them", "250 millis", relayActivities),
  chore("Scheduled activities are not made", "5 seconds", makeScheduled),
  chore("Retries of dead letters wait: the bus or the database does not take them", "250 millis", retries),
  chore("What became of retried dead letters cannot be told", "1 second", settleRetries),
  chore("The ends of certificates are not told", "10 minutes", tellExpiring),
  chore("Certificates cannot be counted", "1 minute", measureCertificates),
  chore("Downloads of certificates are not erased in time", "30 seconds", eraseDownloads),
  chore("Dead letters cannot be counted", "5 seconds", measureDeadLetters),
  chore("What retention has removed stays in the index of the dead letters", "10 minutes", forgetRemoved)
]
