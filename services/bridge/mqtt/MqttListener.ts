/**
 * The embedded broker's doors, without and with TLS: they accept connections, watch over their number and their silence, and
 * at the end let what was received be acknowledged before they close them.
 * @module
 */
import * as SecurityLog from "@argusiq/layers/audit/SecurityLog.ts"
import { type CertificateRefusal } from "@argusiq/domain/certificate.ts"
import { type MqttClient } from "@argusiq/domain/mqtt-permission.ts"
import { mqttsPort } from "@argusiq/layers/certificates/settings.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Cause, Config, Duration, Effect, Exit, Metric, Schema } from "effect"
import { createServer, type Server, type Socket } from "node:net"
import { nextReceivedAt } from "../Arrivals.ts"
import { certificateLogin } from "../CertificateLogin.ts"
import { CertificateUses } from "../CertificateUses.ts"
import { DeviceConnections } from "../DeviceConnections.ts"
import { credentialOf, isNameOf, keyOwner } from "../DeviceLogin.ts"
import { Ingest } from "../Ingest.ts"
import * as metrics from "../metrics.ts"
import { SecurityEvents } from "../SecurityEvents.ts"
import { type Broker, type Login, type LoginAttempt } from "./Broker.ts"
import { Connection } from "./Connection.ts"
import { watchLogins } from "./LoginWatch.ts"
import { type PeerCertificate } from "./peerCertificate.ts"
import { endInWords } from "./replies.ts"
import { Sessions } from "./Sessions.ts"
import { makeTlsServer, refusalInWords } from "./tlsDoor.ts"

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
  tlsPort: mqttsPort,
  connectTimeout: Config.Duration("MQTT_CONNECT_TIMEOUT").pipe(Config.withDefault(Duration.seconds(10))),
  maxConnections: Config.Int("MQTT_MAX_CONNECTIONS").pipe(Config.withDefault(10_000))
})

/** Another process has the port, or the host is none of this machine's. */
export class MqttListenFailed extends Schema.TaggedError<MqttListenFailed>()("MqttListenFailed", {
  host: Schema.String,
  port: Schema.Int,
  variable: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `Cannot listen for MQTT on ${this.host}:${this.port}. Stop what uses the port, or set ${this.variable} or MQTT_HOST.`
  }
}

const unavailable: Login = { _tag: "Unavailable" }

/** So that its first message finds it in memory. What is there already serves while the database is away. */
const remember = Effect.fnUntraced(function* (deviceId: string) {
  const profiles = yield* Profiles
  if (profiles.cachedDevice(deviceId) === undefined) yield* profiles.devices([deviceId])
})

const keyLogin = Effect.fnUntraced(function* ({ password, username }: LoginAttempt) {
  const refused = { _tag: "Refused", as: "credentials" } as const
  if (username === undefined || password === undefined) return refused
  const owner = yield* keyOwner(password)
  if (owner === undefined || !(yield* isNameOf(owner, username))) return refused
  yield* remember(owner.deviceId)
  const sender = { deviceId: owner.deviceId, tenantId: owner.tenantId }
  return { _tag: "Accepted", sender, credential: credentialOf(password) } as const
})

/** How a refusal of a certificate is answered, which may have been revoked since the handshake. */
const answers: Partial<Record<CertificateRefusal, Extract<Login, { _tag: "Refused" }>["as"]>> = {
  clientId: "clientId",
  username: "credentials",
  password: "credentials"
}

/**
 * Listens until its scope closes; then nothing more is accepted or read, and connections close once all they sent is
 * acknowledged, at the latest after {@link DRAIN_MILLIS}. The ports are those of the settings, or free ones found for 0.
 */
export const listen = Effect.gen(function* () {
  const { host, port, tlsPort, connectTimeout, maxConnections } = yield* settings
  const ingest = yield* Ingest
  const deviceConnections = yield* DeviceConnections
  const securityLog = yield* SecurityLog.make(yield* PipelineSql)
  const context = yield* Effect.context<Profiles>()
  const run = Effect.runForkWith(context)
  const sql = yield* PipelineSql
  const securityEvents = yield* SecurityEvents.make(sql)
  const uses = yield* CertificateUses.make(sql)

  const refused = (refusal: CertificateRefusal | "handshake", address: string, device: MqttClient | undefined) => {
    broker.count(refusal === "handshake" ? "tls-handshake" : `certificate-${refusal}`)
    if (refusal === "handshake" || device === undefined) return
    securityEvents.noteCertificate(device, refusalInWords(refusal, address, device), nextReceivedAt())
  }
  const login = Effect.fnUntraced(
    function* (attempt: LoginAttempt, address: string) {
      const { certificate, clientId, password, username } = attempt
      if (certificate === undefined) return yield* keyLogin(attempt)
      const answer = yield* certificateLogin(certificate, { clientId, username, password })
      if (answer._tag === "Refused") {
        refused(answer.refusal, address, answer.device)
        return { _tag: "Refused", as: answers[answer.refusal] ?? "notAuthorized" } as const
      }
      yield* remember(answer.sender.deviceId)
      uses.note(answer.owner)
      return answer
    },
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.succeed(unavailable)
        : Effect.as(Effect.logDebug("A device's login cannot be checked", cause), unavailable)
    )
  )

  const connections = new Set<Connection>()
  const broker: Broker = {
    limits: { connectTimeoutMillis: Duration.toMillis(connectTimeout), keepAliveSeconds: KEEP_ALIVE_SECONDS },
    budget: ingest.budget,
    sessions: new Sessions({ perDevice: SESSIONS_PER_DEVICE, maxExpirySeconds: SESSION_EXPIRY_SECONDS }),
    connections,
    login(attempt, address, answer) {
      const fiber = run(login(attempt, address))
      fiber.addObserver((exit) => {
        const outcome = Exit.isSuccess(exit) ? exit.value : unavailable
        if (outcome._tag === "Refused") {
          const entityId = (attempt.username ?? attempt.clientId).toLowerCase()
          securityLog.add(
            { action: "device_sign_in_refused", entityType: "device", entityId },
            { kind: "system", address }
          )
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

  const open = Effect.fnUntraced(function* (server: Server, port: number, variable: string) {
    server.maxConnections = maxConnections
    server.on("drop", () => broker.count("too-many-connections"))
    yield* Effect.acquireRelease(
      Effect.callback<void, MqttListenFailed>((resume) => {
        server.once("error", (cause) => resume(Effect.fail(new MqttListenFailed({ host, port, variable, cause }))))
        server.listen({ host, port, backlog: 4_096 }, () => {
          server.removeAllListeners("error").on("error", () => {}) // of single accepts: the client tries again
          resume(Effect.void)
        })
      }),
      () => Effect.sync(() => server.close())
    )
    const address = server.address()
    return typeof address === "object" && address !== null ? address.port : port
  })
  const enter = (socket: Socket, certificate?: PeerCertificate) => {
    if (connections.size < maxConnections) return void new Connection(broker, socket, certificate)
    broker.count("too-many-connections")
    socket.destroy()
  }

  // Done when the doors are closed.
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      const until = Date.now() + DRAIN_MILLIS
      for (;;) {
        for (const connection of connections) if (connection.drained()) connection.shutDown()
        if (connections.size === 0 || Date.now() > until) break
        yield* Effect.sleep(20)
      }
      for (const connection of connections) connection.shutDown()
    })
  )
  const opened = yield* open(createServer(enter), port, "MQTT_PORT")
  const handshakeTimeoutMillis = Duration.toMillis(connectTimeout)
  const openedTls =
    tlsPort === "off"
      ? undefined
      : yield* open(
          yield* makeTlsServer({ handshakeTimeoutMillis, context, entered: enter, refused }),
          tlsPort,
          "MQTTS_PORT"
        )
  yield* Effect.acquireRelease(
    Effect.sync(() => setInterval(sweep, SWEEP_MILLIS)),
    (timer) => Effect.sync(() => clearInterval(timer))
  )
  yield* Effect.forkScoped(watchLogins(connections))
  return { host, port: opened, tlsPort: openedTls }
})
