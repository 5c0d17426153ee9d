/**
 * The end of sessions: every token that a connection stands on is looked at again every two seconds.
 * @module
 */
import { Identification } from "@argusiq/layers/identity/Identification.ts"
import { Effect } from "effect"
import type { Audience } from "./Audience.ts"
import type { Connection } from "./Connection.ts"
import type { Counts } from "./metrics.ts"

const LOOK_EVERY = "2 seconds"
/** Tokens looked at before others are let in. */
const LOOKED_AT_ONCE = 200

/** When it ends by itself, in epoch milliseconds; undefined for what is no JWT. Says nothing of whether it is genuine. */
export const expiryOf = (token: string): number | undefined => {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString())
    const exp: unknown = typeof payload === "object" && payload !== null ? Reflect.get(payload, "exp") : undefined
    return typeof exp === "number" ? exp * 1_000 : undefined
  } catch {
    return undefined
  }
}

const end = ({ socket, token }: Connection, counts: Counts) => {
  const hasExpired = (expiryOf(token) ?? Infinity) <= Date.now()
  const reason = hasExpired ? "expired" : "ended"
  counts.close(reason)
  socket.emit("session:ended", {
    reason,
    message: hasExpired
      ? "The access token has expired. Refresh it and connect again; authenticate with a fresh one keeps a connection."
      : "The session was ended. Sign in and connect again."
  })
  socket.disconnect(true)
}

/** Never ends. */
export const watchSessions = (audience: Audience, counts: Counts): Effect.Effect<never, never, Identification> =>
  Effect.gen(function* () {
    const identification = yield* Identification
    while (true) {
      yield* Effect.sleep(LOOK_EVERY)
      const byToken = Map.groupBy(audience.connections, ({ token }) => token)
      let looked = 0
      for (const [token, connections] of byToken) {
        if (++looked % LOOKED_AT_ONCE === 0) yield* Effect.yieldNow
        const caller = yield* identification.identify(token)
        for (const connection of connections) {
          // It may stand on a fresh one by now.
          if (connection.token !== token) continue
          if (caller === undefined || caller.tenantId !== connection.caller.tenantId) end(connection, counts)
          else connection.caller = caller
        }
      }
    }
  })
