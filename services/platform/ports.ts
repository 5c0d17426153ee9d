/**
 * Whether the ports that a platform will open are free, asked before anything is started.
 * @module
 */
import { brokerUrl } from "@argusiq/bridge/external/settings.ts"
import { mqttsPort } from "@argusiq/layers/certificates/settings.ts"
import { Config, Effect, Option } from "effect"
import { createServer } from "node:net"
import { Refusal } from "./errors.ts"
import type { ServiceName } from "./services.ts"

export const httpHost = Config.String("HTTP_HOST").pipe(Config.withDefault("127.0.0.1"))
export const httpPort = Config.Port("HTTP_PORT").pipe(Config.withDefault(3000))
export const mqttHost = Config.String("MQTT_HOST").pipe(Config.withDefault("127.0.0.1"))
export const mqttPort = Config.Port("MQTT_PORT").pipe(Config.withDefault(1883))
export const metricsHost = Config.String("METRICS_HOST").pipe(Config.withDefault("127.0.0.1"))
export const metricsPort = Config.Port("METRICS_PORT").pipe(Config.withDefault(9464))

/** Whether devices meet the platform at a broker of their own instead of its listener. */
export const readsExternalBroker = Config.option(brokerUrl).pipe(Config.map(Option.isSome))

export interface ListeningPort {
  readonly variable: string
  readonly host: string
  readonly port: number
}

/** Why the port cannot be opened; undefined when it can. */
export const portFault = (host: string, port: number): Effect.Effect<string | undefined> =>
  Effect.callback<string | undefined>((resume) => {
    const probe = createServer()
    probe.once("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? error.message)))
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resume(Effect.succeed(undefined))))
  })

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: "is in use by another process",
  EACCES: "may not be opened by this user",
  EADDRNOTAVAIL: "is not an address of this machine"
}

/** One line for a person. */
export const describePortFault = ({ variable, host, port }: ListeningPort, fault: string) =>
  `Port ${port} on ${host} ${reasons[fault] ?? `cannot be opened (${fault})`}. ` +
  `Choose another with ${variable}, for example: ${variable}=${port + 1} npm start`

/** Fails with one line per port that cannot be opened. */
export const checkPorts = Effect.fn("checkPorts")(function* (ports: ReadonlyArray<ListeningPort>) {
  const lines: Array<string> = []
  for (const one of ports) {
    const fault = yield* portFault(one.host, one.port)
    if (fault !== undefined) lines.push(describePortFault(one, fault))
  }
  if (lines.length > 0) return yield* new Refusal({ message: lines.join("\n") })
})

/** What a process with these services listens for. */
export interface Doors {
  /** The REST API, HTTP ingest, live connections: any of them. */
  readonly http: boolean
  /** The embedded MQTT broker. */
  readonly mqtt: boolean
  /** Health and metrics of a process that does not serve them beside the REST API. */
  readonly metrics: boolean
}

export const doorsOf = (services: ReadonlySet<ServiceName>, external: boolean): Doors => ({
  http: services.has("bridge") || services.has("api") || services.has("realtime"),
  mqtt: services.has("bridge") && !external,
  metrics: !services.has("api")
})

/** The ports of a platform with these services, as the settings say. */
export const listeningPorts = (services: ReadonlySet<ServiceName>) =>
  Config.all({ httpHost, httpPort, mqttHost, mqttPort, mqttsPort, metricsHost, metricsPort, readsExternalBroker }).pipe(
    Config.map((settings): ReadonlyArray<ListeningPort> => {
      const { http, metrics, mqtt } = doorsOf(services, settings.readsExternalBroker)
      return [
        ...(http ? [{ variable: "HTTP_PORT", host: settings.httpHost, port: settings.httpPort }] : []),
        ...(mqtt ? [{ variable: "MQTT_PORT", host: settings.mqttHost, port: settings.mqttPort }] : []),
        ...(mqtt && typeof settings.mqttsPort === "number" && settings.mqttsPort > 0
          ? [{ variable: "MQTTS_PORT", host: settings.mqttHost, port: settings.mqttsPort }]
          : []),
        ...(metrics ? [{ variable: "METRICS_PORT", host: settings.metricsHost, port: settings.metricsPort }] : [])
      ]
    })
  )
