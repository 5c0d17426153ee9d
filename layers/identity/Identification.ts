/**
 * Who stands behind a token, for what is no request: a live connection asks again and again, since a token ends.
 * @module
 */
import type { Caller } from "@argusiq/domain/http/security.ts"
import { Context, type Effect } from "effect"

export class Identification extends Context.Service<
  Identification,
  {
    /** Undefined when the token is none of ours, has ended, or its session has. Answers from memory as a rule. */
    identify(token: string): Effect.Effect<Caller | undefined>
  }
>()("argusiq/layers/identity/Identification") {}
