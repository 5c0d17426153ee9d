/**
 * Where the certificate authority is and what certificates say, from the environment.
 * @module
 */
import { Config, Option, Schema, SchemaGetter } from "effect"
import { hostname } from "node:os"

/** 0: any free one. "off": no listener with TLS. */
export const MqttsPort = Schema.Union([
  Schema.Literal("off"),
  Schema.FiniteFromString.pipe(Schema.decodeTo(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))))
])
export const mqttsPort = Config.schema(MqttsPort, "MQTTS_PORT").pipe(Config.withDefault(8883))

const host = /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.?)+|[0-9A-Fa-f:.]+)$/
/** Host names and addresses, separated by commas. */
export const Hosts = Schema.String.pipe(
  Schema.decodeTo(Schema.NonEmptyArray(Schema.String.check(Schema.isPattern(host), Schema.isMaxLength(253))), {
    decode: SchemaGetter.transform((list) => list.split(",").map((one) => one.trim()) as [string, ...Array<string>]),
    encode: SchemaGetter.transform((hosts) => hosts.join(","))
  })
)
/** How devices reach the listener with TLS; the first one is what they are told. */
export const mqttsHosts = Config.schema(Hosts, "MQTTS_HOSTS").pipe(
  Config.withDefault(["localhost", "127.0.0.1", "::1", hostname()].filter((name) => host.test(name)) as [string])
)

export const CrlUrl = Schema.String.check(Schema.isPattern(/^https?:\/\/[\x21-\x7e]{1,500}$/))
export const crlUrl = Config.option(Config.schema(CrlUrl, "CERTIFICATE_CRL_URL")).pipe(
  Config.map(Option.getOrUndefined)
)

export const authoritySettings = Config.all({
  certificateFile: Config.option(Config.NonEmptyString("CERTIFICATE_CA_FILE")),
  keyFile: Config.option(Config.NonEmptyString("CERTIFICATE_CA_KEY_FILE")),
  passphrase: Config.option(Config.Redacted("CERTIFICATE_CA_PASSPHRASE"))
})
