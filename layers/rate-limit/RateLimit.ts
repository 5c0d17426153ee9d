/**
 * How often somebody may do something: a token bucket per key.
 * @module
 */
import { Context, type Effect } from "effect"

export type Permit =
  | { readonly _tag: "Granted" }
  /** `retryAfterSeconds`: when the next token will be there, at least 1. */
  | { readonly _tag: "Exceeded"; readonly retryAfterSeconds: number }

export const granted: Permit = { _tag: "Granted" }
/** `millis`: until the next token. */
export const exceeded = (millis: number): Permit => ({
  _tag: "Exceeded",
  retryAfterSeconds: Math.max(1, Math.ceil(millis / 1000))
})

export class RateLimit extends Context.Service<
  RateLimit,
  {
    /** Takes one token of the key's bucket, which holds `perMinute` and is filled evenly. `perMinute` 0: no limit. Never fails:
     * an adapter that cannot count with the other processes counts alone. */
    take(key: string, perMinute: number): Effect.Effect<Permit>
  }
>()("argusiq/layers/rate-limit/RateLimit") {}
