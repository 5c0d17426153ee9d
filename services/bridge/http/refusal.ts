/**
 * How HTTP ingest says no: problem details, counted, and with `Retry-After` where the same request may succeed later.
 * @module
 */
import {
  type BodyTooLarge,
  type Forbidden,
  type InternalFault,
  type InvalidRequest,
  TooManyRequests,
  type Unauthenticated,
  Unavailable,
  type Unprocessable
} from "@argusiq/domain/http/problems.ts"
import { Effect, Metric } from "effect"
import { HttpServerRespondable, HttpServerResponse } from "effect/http"
import * as metrics from "../metrics.ts"

export type Refusal =
  | InvalidRequest
  | Unauthenticated
  | Forbidden
  | BodyTooLarge
  | Unprocessable
  | TooManyRequests
  | InternalFault
  | Unavailable

const BUSY_SECONDS = 1
const DATABASE_AWAY_SECONDS = 5

const count = (status: number) =>
  Metric.update(metrics.refused.pipe(Metric.withAttributes({ reason: `http-${status}` })), 1)

const answerAfter = (refusal: Refusal, seconds: number) =>
  Effect.map(answer(refusal), HttpServerResponse.setHeader("retry-after", String(seconds)))

export const answer = (refusal: Refusal) =>
  Effect.andThen(count(refusal.status), Effect.orDie(HttpServerRespondable.toResponse(refusal)))

export const databaseAway = Effect.suspend(() =>
  answerAfter(
    new Unavailable({ detail: "The device cannot be checked at the moment. Send it again." }),
    DATABASE_AWAY_SECONDS
  )
)
export const busy = Effect.suspend(() =>
  answerAfter(new Unavailable({ detail: "No more can be stored at the moment. Send it again." }), BUSY_SECONDS)
)
export const tooOften = (perMinute: number, retryAfterSeconds: number) =>
  answerAfter(
    new TooManyRequests({
      detail: `This device may send ${perMinute} requests a minute. Send several messages in one.`
    }),
    retryAfterSeconds
  )
