/**
 * The embedded broker's door: accepts connections, watches over their number and their silence, and at the end lets what
 * was received be acknowledged before it closes them.
 * @module
 */
import * as SecurityLog from "@argusiq/layers/audit/SecurityLog.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Cause, Config, Duration, Effect, Exit, Metric, Schema } from "effect"
import { createServer, type Server } from "node:net"
import { DeviceConnections } from "../DeviceConnections.ts"
import { credentialOf, isNameOf, keyOwner } from "../DeviceLogin.ts"
import { Ingest } from "../Ingest.ts"
import * as metrics from "../metrics.ts"
import { type Broker, type Login } from "./Broker.ts"
import { Connection } from "./Connection.ts"
import { watchLogins } from "./LoginWatch.ts"
import { endInWords } from "./replies.ts"
import { Sessions } from "./Sessions.ts"

const KEEP_ALIVE_SECONDS = 300
const SESSIONS_PER_DEVICE = 10
const SESSION_EXPIRY_SECONDS = 3_600
const SWEEP_MILLIS = 500
const DRAIN_MILLIS = 5_000

/** 0: any free one. */
const portOrFree = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))
const settings = Config.all({
  host: Config.NonEmptyString("MQTT_HOST").pipe(Config.withDefault("127.0.0.1")),
  port: Config.schema(portOrFree, "MQTT_PORT").pipe(Config.withDefault(1883)),
  connectTimeout: Config.Duration("MQTT_CONNECT_TIMEOUT").pipe(Config.withDefault(Duration.seconds(10))),
  maxConnections: Config.Int("MQTT_MAX_CONNECTIONS").pipe(Config.withDefault(10_000))
})

/** Another process has the port, or the host is none of this machine's. */
export class MqttListenFailed extends Schema.TaggedError<MqttListenFailed>()("MqttListenFailed", {
  host: Schema.String,
  port: Schema.Int,
  cause: Schema.Defect()
}) {
  override get message() {
    return `Cannot listen for MQTT on ${this.host}:${this.port}. Stop what uses the port, or set MQTT_PORT or MQTT_HOST.`
  }
}

const unavailable: Login = { _tag: "Unavailable" }

const login = Effect.fnUntraced(
  function* (username: string, password: Uint8Array) {
    const owner = yield* keyOwner(password)
    if (owner === undefined || !(yield* isNameOf(owner, username))) return { _tag: "Refused" } as const
    const profiles = yield* Profiles
    // So that its first message finds it in memory. What is there already serves while the database is away.
    if (profiles.cachedDevice(owner.deviceId) === undefined) yield* profiles.devices([owner.deviceId])
    const sender = { deviceId: owner.deviceId, tenantId: owner.tenantId }
    return { _tag: "Accepted", sender, credential: credentialOf(password) } as const
  },
  Effect.catchCause((cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.succeed(unavailable)
      : Effect.as(Effect.logDebug("A device's login cannot be checked", cause), unavailable)
  )
)

/** Listens until its scope closes; then nothing more is accepted or read, and connections close once all they sent is
 * acknowledged, at the latest after {@link DRAIN_MILLIS}. The port is that of the settings, or the free one found for 0. */
export const listen = Effect.gen(function* () {
  const { host, port, connectTimeout, maxConnections } = yield* settings
  const ingest = yield* Ingest
  const deviceConnections = yield* DeviceConnections
  const securityLog = yield* SecurityLog.make(yield* PipelineSql)
  const context = yield* Effect.context<Profiles>()
  const run = Effect.runForkWith(context)

  const connections = new Set<Connection>()
  const broker: Broker = {
    limits: { connectTimeoutMillis: Duration.toMillis(connectTimeout), keepAliveSeconds: KEEP_ALIVE_SECONDS },
    budget: ingest.budget,
    sessions: new Sessions({ perDevice: SESSIONS_PER_DEVICE, maxExpirySeconds: SESSION_EXPIRY_SECONDS }),
    connections,
    login(username, password, address, answer) {
      const fiber = run(login(username, password))
      fiber.addObserver((exit) => {
        const outcome = Exit.isSuccess(exit) ? exit.value : unavailable
        if (outcome._tag === "Refused") {
          const refused = { action: "device_sign_in_refused", entityType: "device", entityId: username.toLowerCase() }
          securityLog.add(refused, { kind: "system", address })
        }
        answer(outcome)
      })
    },
    offer: ingest.offer,
    connected: ({ clientId, connectionId, sender }) =>
      deviceConnections.note({
        ...sender,
        connected: true,
        clientId,
        connectionId,
        connections: broker.sessions.connectionsOf(sender.deviceId)
      }),
    disconnected: ({ clientId, connectionId, sender }, reason) =>
      deviceConnections.note({
        ...sender,
        connected: false,
        clientId,
        connectionId,
        // The one that takes over begins when the one before has ended.
        connections: broker.sessions.connectionsOf(sender.deviceId) + (reason === "takenOver" ? 1 : 0),
        reason: endInWords(reason)
      }),
    count: (reason) => metrics.refused.pipe(Metric.withAttributes({ reason })).updateUnsafe(1, context),
    fault: (defect) => void run(Effect.logError("A fault of the bridge ended an MQTT connection", defect))
  }

  const sweep = () => {
    const now = Date.now()
    for (const connection of connections) connection.sweep(now)
    broker.sessions.expire(now)
    metrics.connections.updateUnsafe(connections.size, context)
  }

  const server = yield* Effect.acquireRelease(
    Effect.callback<Server, MqttListenFailed>((resume) => {
      const server = createServer((socket) => void new Connection(broker, socket))
      server.maxConnections = maxConnections
      server.on("drop", () => broker.count("too-many-connections"))
      server.once("error", (cause) => resume(Effect.fail(new MqttListenFailed({ host, port, cause }))))
      server.listen({ host, port, backlog: 4_096 }, () => {
        server.removeAllListeners("error").on("error", () => {}) // of single accepts: the client tries again
        resume(Effect.succeed(server))
      })
    }),
    (server) =>
      Effect.gen(function* () {
        server.close()
        const until = Date.now() + DRAIN_MILLIS
        for (;;) {
          for (const connection of connections) if (connection.drained()) connection.shutDown()
          if (connections.size === 0 || Date.now() > until) break
          yield* Effect.sleep(20)
        }
        for (const connection of connections) connection.shutDown()
      })
  )
  yield* Effect.acquireRelease(
    Effect.sync(() => setInterval(sweep, SWEEP_MILLIS)),
    (timer) => Effect.sync(() => clearInterval(timer))
  )
  yield* Effect.forkScoped(watchLogins(connections))
  const address = server.address()
  return { host, port: typeof address === "object" && address !== null ? address.port : port }
})
