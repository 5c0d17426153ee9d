/**
 * Reads an external broker for as long as its scope is open: connects, reads, and after every end connects again. The
 * broker is trusted with who publishes; what a message addresses is checked as everywhere.
 * @module
 */
import { Cause, Effect, Exit, Metric } from "effect"
import { Ingest } from "../Ingest.ts"
import * as metrics from "../metrics.ts"
import { BrokerConnection, type Ended } from "./BrokerConnection.ts"
import { type Version } from "./requests.ts"
import { brokerSettings } from "./settings.ts"
import { always, takeTurns } from "./Turn.ts"

const FIRST_RETRY_MILLIS = 200
const LAST_RETRY_MILLIS = 10_000
const DRAIN_MILLIS = 5_000

/** StandingBy: another bridge reads. Away: the reason, for people. */
export type BrokerState =
  | { readonly _tag: "Reading" }
  | { readonly _tag: "StandingBy" }
  | { readonly _tag: "Away"; readonly reason: string }

/** Lets what was read be acknowledged, at the latest after {@link DRAIN_MILLIS}, and says good-bye. */
const leave = Effect.fnUntraced(function* (connection: BrokerConnection) {
  const until = Date.now() + DRAIN_MILLIS
  while (!connection.drained() && Date.now() < until) yield* Effect.sleep(20)
  connection.leave()
})

/** Reads until the scope closes. Answers at once, whether or not the broker does: `state` tells. Fails for a wrong setting. */
export const readBroker = Effect.gen(function* () {
  const settings = yield* brokerSettings
  const ingest = yield* Ingest
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const url = `${settings.address.tls ? "mqtts" : "mqtt"}://${settings.address.host}:${settings.address.port}`
  const turn = settings.shared ? always : yield* takeTurns(settings.clientId)

  let state: BrokerState = { _tag: "Away", reason: "is not connected yet" }
  const become = (next: BrokerState) =>
    Effect.andThen(
      Effect.sync(() => (state = next)),
      Metric.update(metrics.brokerConnections, next._tag === "Reading" ? 1 : 0)
    )

  let retryMillis = FIRST_RETRY_MILLIS
  const subscribed = (resumed: boolean) =>
    Effect.gen(function* () {
      retryMillis = FIRST_RETRY_MILLIS
      yield* become({ _tag: "Reading" })
      yield* Effect.log(
        `Reading ${settings.filters.join(" and ")} from ${url} as ${settings.clientId}` +
          (resumed ? "" : "; the broker had no session, so it has kept nothing from before")
      )
    })

  const connected = (version: Version) =>
    Effect.callback<Ended>((resume) => {
      const connection = new BrokerConnection(settings, version, {
        budget: ingest.budget,
        offer: ingest.offer,
        subscribed: (resumed) => void run(subscribed(resumed)),
        ended: (ended) => resume(Effect.succeed(ended)),
        fault: (defect) => void run(Effect.logError("A fault of the bridge ended the connection to the broker", defect))
      })
      return leave(connection)
    })

  let knowsVersion5 = true
  let version: Version = 5
  const readOnce = Effect.gen(function* () {
    if (!turn.isOurs()) yield* become({ _tag: "StandingBy" })
    yield* turn.ours
    const exit = yield* Effect.exit(connected(version))
    if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
    const { kind, reason }: Ended = Exit.isSuccess(exit)
      ? exit.value
      : { kind: "lost", reason: `made the bridge fail: ${Cause.squash(exit.cause)}` }
    const wasAway = state._tag === "Away"
    if (kind === "unsupportedVersion") knowsVersion5 = false
    const older = version === 5 && (kind === "unanswered" || kind === "unsupportedVersion")
    version = older || !knowsVersion5 ? 4 : 5
    if (older) return yield* Effect.logDebug(`${url} ${reason}; trying MQTT 3.1.1`)
    yield* become({ _tag: "Away", reason })
    yield* (wasAway ? Effect.logDebug : Effect.logWarning)(`The broker ${url} ${reason}; it is tried again without end`)
    yield* Effect.sleep(retryMillis * (0.5 + Math.random()))
    retryMillis = Math.min(retryMillis * 2, LAST_RETRY_MILLIS)
  })

  yield* Effect.forkScoped(Effect.forever(readOnce))
  return { url, state: (): BrokerState => state }
})
