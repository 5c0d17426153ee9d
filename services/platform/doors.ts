/**
 * The ports of a platform. They open last and close first; closing waits for what is in flight.
 * @module
 */
import * as api from "@argusiq/api/routes.ts"
import * as DeviceConnections from "@argusiq/bridge/DeviceConnections.ts"
import * as Ingest from "@argusiq/bridge/Ingest.ts"
import { listen } from "@argusiq/bridge/mqtt/MqttListener.ts"
import * as bridge from "@argusiq/bridge/routes.ts"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer, Scope } from "effect"
import { HttpRouter } from "effect/http"
import { createServer } from "node:http"
import { httpHost, httpPort } from "./ports.ts"
import type { ServiceName } from "./services.ts"

/** Answers that are under way get this long. */
const HTTP_DRAIN = "3 seconds"

const urlOf = (scheme: string, host: string, port: number) =>
  `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`

/** A server that listens before its routes are built, and for a moment after they are gone, would leave requests unanswered. */
const createAnsweringServer = () => {
  const server = createServer()
  server.on("request", (_, response) => {
    if (server.listenerCount("request") === 1) response.writeHead(503, { "retry-after": "1" }).end()
  })
  return server
}

const httpServer = Layer.unwrap(
  Effect.gen(function* () {
    const host = yield* httpHost
    const port = yield* httpPort
    return NodeHttpServer.layer(createAnsweringServer, { host, port, gracefulShutdownTimeout: HTTP_DRAIN })
  })
)

const bridgeLayer = Layer.merge(Ingest.layer, DeviceConnections.layer)

/** Opens what the services need and answers where: base URL of HTTP, URL of MQTT. They close, side by side, with the scope. */
export const openDoors = Effect.fn("openDoors")(function* (services: ReadonlySet<ServiceName>) {
  const opened: { http?: string; mqtt?: string } = {}
  const ingest = services.has("bridge") ? yield* Layer.build(bridgeLayer) : undefined
  const doors = yield* Scope.fork(yield* Effect.scope, "parallel")
  const door = Scope.fork(doors, "sequential")

  if (ingest !== undefined || services.has("api")) {
    const routes = Layer.mergeAll(
      services.has("api") ? api.routes : Layer.empty,
      ingest === undefined ? Layer.empty : bridge.routes.pipe(Layer.provide(Layer.succeedContext(ingest)))
    )
    const served = HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true })
    yield* Layer.buildWithScope(Layer.provide(served, httpServer), yield* door)
    opened.http = urlOf("http", yield* httpHost, yield* httpPort)
  }
  if (ingest !== undefined) {
    const { host, port } = yield* listen.pipe(Effect.provideContext(ingest), Scope.provide(yield* door))
    opened.mqtt = urlOf("mqtt", host, port)
  }
  return opened
})
