/**
 * Whether the ports that a platform will open are free, asked before anything is started.
 * @module
 */
import { Config, Effect } from "effect"
import { createServer } from "node:net"
import { Refusal } from "./errors.ts"

export const httpHost = Config.String("HTTP_HOST").pipe(Config.withDefault("127.0.0.1"))
export const httpPort = Config.Port("HTTP_PORT").pipe(Config.withDefault(3000))
export const mqttHost = Config.String("MQTT_HOST").pipe(Config.withDefault("127.0.0.1"))
export const mqttPort = Config.Port("MQTT_PORT").pipe(Config.withDefault(1883))

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

/** The ports of a platform with all services, as the settings say. */
export const listeningPorts = Config.all({ httpHost, httpPort, mqttHost, mqttPort }).pipe(
  Config.map((settings): ReadonlyArray<ListeningPort> => [
    { variable: "HTTP_PORT", host: settings.httpHost, port: settings.httpPort },
    { variable: "MQTT_PORT", host: settings.mqttHost, port: settings.mqttPort }
  ])
)
