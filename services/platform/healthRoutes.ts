/**
 * Health, readiness and metrics of a process that does not serve the REST API, which has them otherwise. Who may reach the
 * listener may read them.
 * @module
 */
import { readiness } from "@argusiq/api/readiness.ts"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"

const ready = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const check = yield* readiness
    const answer = Effect.map(check, (state) =>
      HttpServerResponse.jsonUnsafe(state, { status: state.status === "ready" ? 200 : 503 })
    )
    yield* router.add("GET", "/ready", answer)
  })
)

export const healthRoutes = Layer.mergeAll(
  HttpRouter.add("GET", "/health", HttpServerResponse.jsonUnsafe({ status: "ok" })),
  ready,
  PrometheusMetrics.layerHttp()
)
