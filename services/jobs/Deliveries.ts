/**
 * Delivers what goes to people and systems outside: letters and webhooks. One process does it at a time, the owner of an
 * advisory lock. What a process was sending when it ended is sent again, under the same id.
 * @module
 */
import { type Instant } from "@argusiq/domain/ids.ts"
import { nextAttempt } from "@argusiq/domain/notification/retry.ts"
import { signatureHeader } from "@argusiq/domain/notification/signature.ts"
import { tryAdvisoryLock } from "@argusiq/layers/database/advisoryLock.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import * as DeliveryQueue from "@argusiq/layers/notifications/DeliveryQueue.ts"
import { Mail } from "@argusiq/layers/notifications/Mail.ts"
import { WebhookSender } from "@argusiq/layers/notifications/WebhookSender.ts"
import { secretOf } from "@argusiq/layers/notifications/webhookSecrets.ts"
import { makeOutage } from "@argusiq/layers/outage.ts"
import { Clock, type Duration, Effect, FiberMap, Layer, Metric } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import { Failpoints } from "./Failpoints.ts"

/** On their way at the same time. A slow receiver holds up its own organization at most. */
const AT_ONCE = { perTenant: 4, all: 32 }

/** Before something is sent again of which it could not be stored what became of it. */
const REST = "10 seconds"

const ended = Metric.counter("argusiq_deliveries_total", {
  description: "Attempts to deliver letters and webhooks, by what became of them",
  incremental: true
})

type Result = DeliveryQueue.Attempt["result"]

/** The attempt after the one that failed, or the end. */
const again = (due: DeliveryQueue.DueLetter | DeliveryQueue.DueWebhook, startedAt: Instant, error: string) =>
  Effect.map(Clock.currentTimeMillis, (now): Result => {
    const nextAt = nextAttempt(due.firstAttemptAt ?? startedAt, due.attempts + 1, now * 1_000)
    if (nextAt !== undefined) return { _tag: "Again", nextAt, error }
    return { _tag: "Failed", error: `Given up after ${due.attempts + 1} attempts in 24 h. The last one: ${error}` }
  })

const deliverLetter = Effect.fnUntraced(function* (letter: DeliveryQueue.DueLetter) {
  const sql = yield* PipelineSql
  const { send } = yield* Mail
  const reach = yield* Failpoints
  const { attempts, id } = letter
  const startedAt = (yield* Clock.currentTimeMillis) * 1_000
  const end = (result: Result) =>
    Effect.andThen(DeliveryQueue.markLetter(sql, { id, attempts, startedAt, result }), count("email", result))
  if (send === undefined) return yield* end({ _tag: "Off", error: "E-mail is off: SMTP_URL is not set." })
  let got = letter.got
  const refusals: Array<string> = []
  const failures: Array<string> = []
  for (const to of letter.to) {
    const failed = yield* send({ id, to, subject: letter.title, text: letter.body }).pipe(
      Effect.as(undefined),
      Effect.catchTag("MailFailed", (error) => Effect.succeed(error))
    )
    if (failed === undefined) {
      got++
      reach("delivered")
      yield* DeliveryQueue.markAddress(sql, id, to, "delivered_to")
    } else if (failed.forGood) {
      refusals.push(`${to}: ${failed.message}`)
      yield* DeliveryQueue.markAddress(sql, id, to, "refused")
    } else failures.push(`${to}: ${failed.message}`)
  }
  if (failures.length > 0) return yield* end(yield* again(letter, startedAt, failures.join("; ")))
  const error = refusals.join("; ")
  if (got > 0) return yield* end({ _tag: "Delivered", ...(error !== "" && { error }) })
  return yield* end({ _tag: "Failed", error: error === "" ? "None of its recipients has an e-mail address." : error })
})

const GONE = 410

const deliverWebhook = Effect.fnUntraced(function* (delivery: DeliveryQueue.DueWebhook) {
  const sql = yield* PipelineSql
  const sender = yield* WebhookSender
  const reach = yield* Failpoints
  const { attempts, body, eventType, id, tenantId, url } = delivery
  const { previous, secret } = yield* secretOf(sql, tenantId)
  const seconds = Math.floor((yield* Clock.currentTimeMillis) / 1_000)
  const startedAt = seconds * 1_000_000
  const end = (result: Result, status?: number) =>
    Effect.andThen(
      DeliveryQueue.markWebhook(sql, { id, attempts, startedAt, result }, status),
      count("webhook", result)
    )
  const headers = {
    "user-agent": "ArgusIQ",
    "idempotency-key": id,
    "argusiq-event": eventType,
    "argusiq-signature": signatureHeader(previous === null ? [secret] : [secret, previous], seconds, body)
  }
  return yield* sender.send({ url, headers, body }).pipe(
    Effect.matchEffect({
      onSuccess: (status) => {
        reach("delivered")
        return end({ _tag: "Delivered" }, status)
      },
      onFailure: (error) => {
        if (error._tag === "WebhookRefused") return end({ _tag: "Failed", error: `Refused: ${error.message}` })
        const { message, status } = error
        if (status === GONE) return end({ _tag: "Failed", error: message }, status)
        return Effect.flatMap(again(delivery, startedAt, message), (result) => end(result, status))
      }
    })
  )
})

const count = (channel: "email" | "webhook", { _tag }: Result) =>
  Metric.update(Metric.withAttributes(ended, { service: "jobs", channel, outcome: _tag.toLowerCase() }), 1)

/** Begins with what is due and not on its way; answers how many that were. The scope's end interrupts them. */
export const makeDispatch = Effect.gen(function* () {
  const sql = yield* PipelineSql
  const underWay = yield* FiberMap.make<string, void>()
  const tenants = new Map<string, string>()
  const outage = makeOutage("What became of letters and webhooks cannot be stored; they are sent again")

  const begin = Effect.fnUntraced(function* <R>(
    { id, tenantId }: { readonly id: string; readonly tenantId: string },
    deliver: Effect.Effect<void, SqlError, R>
  ) {
    const ofTenant = [...tenants.values()].filter((one) => one === tenantId).length
    if (tenants.size >= AT_ONCE.all || ofTenant >= AT_ONCE.perTenant) return 0
    tenants.set(id, tenantId)
    const told = Effect.matchCauseEffect(deliver, {
      onFailure: (cause) => Effect.andThen(outage.began(cause), Effect.sleep(REST)),
      onSuccess: () => outage.ended
    })
    yield* FiberMap.run(
      underWay,
      id,
      Effect.ensuring(
        told,
        Effect.sync(() => tenants.delete(id))
      )
    )
    return 1
  })

  return Effect.gen(function* () {
    let begun = 0
    for (const letter of yield* DeliveryQueue.dueLetters(sql, [...tenants.keys()], AT_ONCE.perTenant)) {
      begun += yield* begin(letter, deliverLetter(letter))
    }
    for (const delivery of yield* DeliveryQueue.dueWebhooks(sql, [...tenants.keys()], AT_ONCE.perTenant)) {
      begun += yield* begin(delivery, deliverWebhook(delivery))
    }
    return begun
  })
})

/** Runs until interrupted. Fails only for a wrong setting. `standBy`: between two tries of a process that is not the owner. */
export const run = (standBy: Duration.Input = "5 seconds") =>
  Effect.gen(function* () {
    const sql = yield* PipelineSql
    const whileOwner = Effect.scoped(
      Effect.gen(function* () {
        const lock = yield* tryAdvisoryLock(sql, "argusiq/deliveries")
        if (lock === undefined) return
        const dispatch = yield* makeDispatch
        while (true) {
          yield* lock.check
          yield* Effect.sleep((yield* dispatch) > 0 ? "50 millis" : "500 millis")
        }
      })
    )
    return yield* whileOwner.pipe(
      Effect.catch((error: SqlError) => Effect.logWarning("Looking for deliveries failed; trying again", error)),
      Effect.andThen(Effect.sleep(standBy)),
      Effect.forever
    )
  }).pipe(Effect.provide(Layer.merge(Mail.layerConfig, WebhookSender.layerConfig)))
