import { isIP } from "node:net"
import { Forbidden } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Effect, Option } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { PrometheusMetrics } from "effect/observability"
import { Callers } from "../authorization.ts"
import { readiness } from "../readiness.ts"

/** From this machine, and not passed on by a proxy on it for somebody else. */
const isLocal = (request: HttpServerRequest.HttpServerRequest): boolean => {
  if (["forwarded", "x-forwarded-for", "x-real-ip", "via"].some((header) => header in request.headers)) return false
  const address = Option.getOrElse(request.remoteAddress, () => "").replace(/^::ffff:/, "")
  return address === "::1" || (isIP(address) === 4 && address.startsWith("127."))
}

export const health = HttpApiBuilder.group(
  RestApi,
  "health",
  Effect.fnUntraced(function* (handlers) {
    const callers = yield* Callers
    const check = yield* readiness
    return handlers.handleAll({
      health: () => Effect.succeed({ status: "ok" } as const),
      ready: () =>
        Effect.map(check, (state) =>
          HttpServerResponse.jsonUnsafe(state, { status: state.status === "ready" ? 200 : 503 })
        ),
      metrics: ({ request }) =>
        Effect.gen(function* () {
          const token = /^bearer +(\S+)$/i.exec(request.headers["authorization"] ?? "")?.[1]
          const caller = token === undefined ? undefined : yield* callers.identify(token)
          if (!isLocal(request) && caller?.isPlatformAdmin !== true) {
            return yield* new Forbidden({
              detail: "Metrics are for this machine, or for a platform administrator's token."
            })
          }
          return yield* PrometheusMetrics.format()
        })
    })
  })
)
