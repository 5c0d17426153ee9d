/**
 * The ports of a platform. They open last and close first; closing waits for what is in flight.
 * @module
 */
import { type Dependency, FurtherDependencies } from "@argusiq/api/readiness.ts"
import { problemBoundary } from "@argusiq/api/problemBoundary.ts"
import * as api from "@argusiq/api/routes.ts"
import { securityLog } from "@argusiq/api/securityLog.ts"
import * as DeviceConnections from "@argusiq/bridge/DeviceConnections.ts"
import { type BrokerState, readBroker } from "@argusiq/bridge/external/BrokerReader.ts"
import { heartbeat } from "@argusiq/bridge/heartbeat.ts"
import * as Ingest from "@argusiq/bridge/Ingest.ts"
import { listen } from "@argusiq/bridge/mqtt/MqttListener.ts"
import * as bridge from "@argusiq/bridge/routes.ts"
import { WatchableEntities } from "@argusiq/layers/realtime/WatchableEntities.ts"
import * as realtime from "@argusiq/realtime/Realtime.ts"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer, Scope } from "effect"
import { HttpRouter } from "effect/http"
import type { Server } from "node:http"
import { answeringServer } from "./answeringServer.ts"
import { healthRoutes } from "./healthRoutes.ts"
import * as identification from "./identification.ts"
import { doorsOf, httpHost, httpPort, metricsHost, metricsPort, readsExternalBroker } from "./ports.ts"
import type { ServiceName } from "./services.ts"

/** Answers that are under way get this long. */
const HTTP_DRAIN = "3 seconds"

const urlOf = (scheme: string, host: string, port: number) =>
  `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`

const httpServer = (host: string, port: number, server: Server = answeringServer()) =>
  NodeHttpServer.layer(() => server, { host, port, gracefulShutdownTimeout: HTTP_DRAIN })

const quietly = { disableLogger: true, disableListenLog: true }

const realtimeLayer = Layer.merge(identification.layer, WatchableEntities.layer)

const bridgeLayer = Layer.merge(Ingest.layer, DeviceConnections.layer)

const brokerDependency = (state: () => BrokerState): Dependency => ({
  name: "mqtt-broker",
  check: Effect.suspend(() => (state()._tag === "Away" ? Effect.fail(state()) : Effect.void)),
  whenDown: "is not read; what devices publish waits there"
})

/** Opens what the services need and answers where: base URL of HTTP, URL of MQTT where this process listens for it. They
 * close, side by side, with the scope. */
export const openDoors = Effect.fn("openDoors")(function* (services: ReadonlySet<ServiceName>) {
  const opened: { http?: string; mqtt?: string; mqtts?: string; metrics?: string } = {}
  const ingest = services.has("bridge")
    ? yield* Layer.build(bridgeLayer).pipe(Effect.annotateLogs("service", "bridge"))
    : undefined
  const doors = yield* Scope.fork(yield* Effect.scope, "parallel")
  const door = Scope.fork(doors, "sequential")

  const external = yield* readsExternalBroker
  const expected = doorsOf(services, external)
  const dependencies: Array<Dependency> = [...(yield* FurtherDependencies)]
  let brokerState: (() => BrokerState) | undefined
  if (ingest !== undefined && external) {
    const broker = yield* readBroker.pipe(
      Effect.provideContext(ingest),
      Scope.provide(yield* door),
      Effect.annotateLogs("service", "bridge")
    )
    dependencies.push(brokerDependency(broker.state))
    brokerState = broker.state
  }
  // Before `/ready` can say so.
  if (ingest !== undefined && expected.mqtt) {
    const { host, port, tlsPort } = yield* listen.pipe(
      Effect.provideContext(ingest),
      Scope.provide(yield* door),
      Effect.annotateLogs("service", "bridge")
    )
    opened.mqtt = urlOf("mqtt", host, port)
    if (tlsPort !== undefined) opened.mqtts = urlOf("mqtts", host, tlsPort)
  }
  const further = Layer.succeed(FurtherDependencies, dependencies)
  if (expected.metrics) {
    const [host, port] = [yield* metricsHost, yield* metricsPort]
    const served = Layer.provide(HttpRouter.serve(Layer.merge(healthRoutes, problemBoundary), quietly), further)
    yield* Layer.buildWithScope(Layer.provide(served, httpServer(host, port)), yield* door)
    opened.metrics = urlOf("http", host, port)
  }
  if (expected.http) {
    const routes = Layer.mergeAll(
      services.has("api") ? api.routes : Layer.merge(problemBoundary, securityLog),
      ingest === undefined ? Layer.empty : bridge.routes.pipe(Layer.provide(Layer.succeedContext(ingest)))
    )
    const [host, port] = [yield* httpHost, yield* httpPort]
    const served = Layer.provide(HttpRouter.serve(routes, quietly), further)
    const [server, scope] = [answeringServer(), yield* door]
    const service = services.has("api") ? "api" : "bridge"
    // What both are made of, such as the sessions that have ended, is there once.
    const built = yield* Layer.makeMemoMap
    yield* Layer.buildWithMemoMap(Layer.provide(served, httpServer(host, port, server)), built, scope).pipe(
      Effect.annotateLogs({ service })
    )
    if (services.has("realtime")) {
      const live = yield* Layer.buildWithMemoMap(realtimeLayer, built, scope)
      yield* realtime.serve(server).pipe(Effect.provideContext(live), Scope.provide(scope))
    }
    opened.http = urlOf("http", host, port)
  }
  if (ingest !== undefined) {
    const isOpen = () => brokerState === undefined || brokerState()._tag === "Reading"
    yield* heartbeat(isOpen).pipe(Effect.provideContext(ingest), Effect.forkIn(yield* door))
  }
  return opened
})
