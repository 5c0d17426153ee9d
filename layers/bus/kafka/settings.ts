/**
 * Kafka's settings in the environment.
 * @module
 */
import { Config, Effect, Option, Redacted, Schema } from "effect"
import type { SASLOptions } from "kafkajs"
import type { ClientSettings } from "./kafkajs.ts"

const Mechanism = Config.Literals(["plain", "scram-sha-256", "scram-sha-512"], "KAFKA_SASL_MECHANISM")

/** `KAFKA_BROKERS` is set: Kafka is the bus. */
export const brokers = Config.Array(Schema.NonEmptyString, "KAFKA_BROKERS")

/**
 * `KAFKA_BROKERS` (host:port, separated by commas), `KAFKA_CLIENT_ID`, `KAFKA_SSL`, and, for brokers that ask who one is,
 * `KAFKA_USERNAME`, `KAFKA_PASSWORD` and `KAFKA_SASL_MECHANISM`; `KAFKA_PREFIX` where several installations share a cluster;
 * `ARGUSIQ_BUS_FORGET_GROUPS` as for the embedded log.
 */
export const layerSettings = Effect.gen(function* () {
  return {
    brokers: yield* brokers,
    clientId: yield* Config.String("KAFKA_CLIENT_ID").pipe(Config.withDefault("argusiq")),
    ssl: yield* Config.Boolean("KAFKA_SSL").pipe(Config.withDefault(false)),
    prefix: yield* Config.String("KAFKA_PREFIX").pipe(Config.withDefault("")),
    username: yield* Config.option(Config.String("KAFKA_USERNAME")),
    password: yield* Config.option(Config.Redacted("KAFKA_PASSWORD")),
    mechanism: yield* Mechanism.pipe(Config.withDefault("scram-sha-512" as const)),
    forgetGroups: yield* Config.Array(Schema.NonEmptyString, "ARGUSIQ_BUS_FORGET_GROUPS").pipe(Config.withDefault([]))
  }
})

type LayerSettings = Effect.Success<typeof layerSettings>

export const clientSettings = ({ brokers, clientId, ssl, ...settings }: LayerSettings): ClientSettings => {
  const username = Option.getOrUndefined(settings.username)
  if (username === undefined) return { brokers, clientId, ssl }
  const password = Redacted.value(Option.getOrElse(settings.password, () => Redacted.make("")))
  const sasl: SASLOptions = { mechanism: settings.mechanism, username, password }
  return { brokers, clientId, ssl, sasl }
}
