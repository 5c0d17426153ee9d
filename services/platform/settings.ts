/**
 * The settings of a platform as a table: what is printed at start and what stops a start. Each is read again, with the
 * same meaning, by the layer that uses it.
 * @module
 */
import { BrokerUrl, ClientId } from "@argusiq/bridge/external/settings.ts"
import { CrlUrl, Hosts, MqttsPort } from "@argusiq/layers/certificates/settings.ts"
import { WebhookSecret } from "@argusiq/bridge/external/WebhookSecret.ts"
import { LEAST_PIPELINE_CONNECTIONS } from "@argusiq/layers/database/Database.ts"
import { ProviderUrl } from "@argusiq/layers/identity/ExternalTokens.ts"
import { SmtpUrl } from "@argusiq/layers/notifications/Mail.ts"
import * as RedisClient from "@argusiq/layers/redis/RedisClient.ts"
import { roles } from "@argusiq/domain/permissions.ts"
import { originsConfig } from "@argusiq/realtime/settings.ts"
import { Config, Effect, Option, Redacted, Result, Schema } from "effect"
import { Refusal } from "./errors.ts"
import { ServiceNames, parseServices } from "./services.ts"
import { OtlpHeaders, OtlpUrl, Ratio } from "./tracingSettings.ts"

interface Setting {
  readonly name: string
  /** What holds when the variable is not set, in words. */
  readonly unset: string
  /** What may be written, in words. */
  readonly allowed: string
  readonly config: Config.Config<unknown>
  readonly secret?: boolean
}

const PostgresUrl = Schema.String.check(
  Schema.makeFilter(
    (url: string) => (URL.canParse(url) && /^postgres(ql)?:$/.test(new URL(url).protocol)) || "not a URL"
  )
)
const Email = Schema.String.check(Schema.isPattern(/^[^\s@]+@[^\s@]+$/))
const Password = Schema.String.check(Schema.isMinLength(12))
const Limit = Schema.FiniteFromString.pipe(Schema.decodeTo(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))))
const Services = Schema.String.check(Schema.makeFilter((list: string) => Result.isSuccess(parseServices(list))))

const Brokers = Schema.String.check(Schema.isPattern(/^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$/))
const TopicPrefix = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9._-]{1,100}$/))

const Count = Schema.FiniteFromString.pipe(Schema.decodeTo(Schema.Int.check(Schema.isGreaterThan(0))))
const Amount = Schema.FiniteFromString.check(Schema.isGreaterThanOrEqualTo(0))

const count = (name: string, unset: string, of: string): Setting => ({
  name,
  unset,
  allowed: `a whole number of ${of} above 0`,
  config: Config.schema(Count, name)
})

const atLeast = (least: number, name: string, unset: string, of: string): Setting => ({
  name,
  unset,
  allowed: `a whole number of ${of}, at least ${least}`,
  config: Config.schema(Count.check(Schema.isGreaterThanOrEqualTo(least)), name)
})

const amount = (name: string, unset: string, of: string): Setting => ({
  name,
  unset,
  allowed: `a number of ${of}`,
  config: Config.schema(Amount, name)
})

const port = (name: string, unset: string): Setting => ({
  name,
  unset,
  allowed: "a port from 1 to 65535",
  config: Config.Port(name)
})

const databaseUrl = (name: string, unset: string): Setting => ({
  name,
  unset,
  allowed: "postgres://user:password@host:5432/database",
  config: Config.schema(PostgresUrl, name),
  secret: true
})

export const settings: ReadonlyArray<Setting> = [
  {
    name: "ARGUSIQ_DATA_DIR",
    unset: "./data in the checkout",
    allowed: "a directory that this user may write",
    config: Config.String("ARGUSIQ_DATA_DIR")
  },
  {
    name: "ARGUSIQ_SECRETS_DIR",
    unset: "ARGUSIQ_DATA_DIR",
    allowed: "a directory that all processes of the platform may read and the first may write",
    config: Config.NonEmptyString("ARGUSIQ_SECRETS_DIR")
  },
  {
    name: "ARGUSIQ_SERVICES",
    unset: "all",
    allowed: `any of ${ServiceNames.join(", ")}, separated by commas`,
    config: Config.schema(Services, "ARGUSIQ_SERVICES")
  },
  { name: "ARGUSIQ_DEMO", unset: "0", allowed: "1 or 0", config: Config.Boolean("ARGUSIQ_DEMO") },
  {
    name: "ARGUSIQ_ADMIN_EMAIL",
    unset: "admin@localhost",
    allowed: "an e-mail address",
    config: Config.schema(Email, "ARGUSIQ_ADMIN_EMAIL")
  },
  {
    name: "ARGUSIQ_ADMIN_PASSWORD",
    unset: "generated at the first start and printed once",
    allowed: "at least 12 characters",
    config: Config.schema(Password, "ARGUSIQ_ADMIN_PASSWORD"),
    secret: true
  },
  {
    name: "OIDC_ISSUER",
    unset: "people sign in with a password only",
    allowed: "the https address of an OpenID Connect provider, as its tokens have it in iss; http on this machine",
    config: Config.schema(ProviderUrl, "OIDC_ISSUER")
  },
  {
    name: "OIDC_AUDIENCE",
    unset: "no default: needed where OIDC_ISSUER is set",
    allowed: "what the provider's tokens for this platform have in aud",
    config: Config.NonEmptyString("OIDC_AUDIENCE")
  },
  {
    name: "OIDC_ROLE_CLAIM",
    unset: "roles",
    allowed: "the claim that names a role, or a path to it such as realm_access.roles",
    config: Config.NonEmptyString("OIDC_ROLE_CLAIM")
  },
  {
    name: "OIDC_DEFAULT_ROLE",
    unset: "tokens without a role are refused",
    allowed: `one of ${roles.join(", ")}, for tokens without a role claim`,
    config: Config.Literals(roles, "OIDC_DEFAULT_ROLE")
  },
  {
    name: "OIDC_ORGANIZATION_CLAIM",
    unset: "all users of the provider belong to OIDC_ORGANIZATION_ID",
    allowed: "the claim, or a path to it, that names the organization by its id or slug",
    config: Config.NonEmptyString("OIDC_ORGANIZATION_CLAIM")
  },
  {
    name: "OIDC_ORGANIZATION_ID",
    unset: "no default: needed where OIDC_ISSUER is set without OIDC_ORGANIZATION_CLAIM",
    allowed: "the id or slug of an organization",
    config: Config.NonEmptyString("OIDC_ORGANIZATION_ID")
  },
  { name: "HTTP_HOST", unset: "127.0.0.1", allowed: "a host name or address", config: Config.String("HTTP_HOST") },
  port("HTTP_PORT", "3000"),
  {
    name: "METRICS_HOST",
    unset: "127.0.0.1",
    allowed: "a host name or address, where processes without the api answer /health, /ready and /metrics",
    config: Config.String("METRICS_HOST")
  },
  port("METRICS_PORT", "9464"),
  { name: "MQTT_HOST", unset: "127.0.0.1", allowed: "a host name or address", config: Config.String("MQTT_HOST") },
  port("MQTT_PORT", "1883"),
  {
    name: "MQTTS_PORT",
    unset: "8883",
    allowed: "a port from 1 to 65535 for MQTT with TLS and certificates of devices; off for none",
    config: Config.schema(MqttsPort, "MQTTS_PORT")
  },
  {
    name: "MQTTS_HOSTS",
    unset: "localhost, 127.0.0.1, ::1 and the name of this machine",
    allowed: "host names and addresses by which devices reach MQTT with TLS, separated by commas, the best one first",
    config: Config.schema(Hosts, "MQTTS_HOSTS")
  },
  {
    name: "CERTIFICATE_CA_FILE",
    unset: "an authority of its own, made at the first start into certificate-authority.pem in the data directory",
    allowed: "a PEM file with the certificate of the authority that signs, then those above it",
    config: Config.NonEmptyString("CERTIFICATE_CA_FILE")
  },
  {
    name: "CERTIFICATE_CA_KEY_FILE",
    unset: "none: needed where CERTIFICATE_CA_FILE is set",
    allowed: "a PEM file with the private key of the authority, EC P-256, EC P-384 or RSA",
    config: Config.NonEmptyString("CERTIFICATE_CA_KEY_FILE")
  },
  {
    name: "CERTIFICATE_CA_PASSPHRASE",
    unset: "the sealing-key in the data directory, for an authority of its own",
    allowed: "what the authority's private key is encrypted with",
    config: Config.String("CERTIFICATE_CA_PASSPHRASE"),
    secret: true
  },
  {
    name: "CERTIFICATE_CRL_URL",
    unset: "certificates name no revocation list",
    allowed: "http:// or https:// address of /crl.pem as brokers reach it; it stands in every certificate from then on",
    config: Config.schema(CrlUrl, "CERTIFICATE_CRL_URL")
  },
  {
    name: "MQTT_CONNECT_TIMEOUT",
    unset: "10 seconds",
    allowed: 'a duration such as "10 seconds"',
    config: Config.Duration("MQTT_CONNECT_TIMEOUT")
  },
  count("MQTT_MAX_CONNECTIONS", "10000", "connections"),
  {
    name: "MQTT_URL",
    unset: "the embedded MQTT broker",
    allowed: "mqtt://user:password@host:port or mqtts://…, user and password percent-encoded",
    config: Config.schema(BrokerUrl, "MQTT_URL"),
    secret: true
  },
  {
    name: "MQTT_SHARED",
    unset: "false: of several bridges one reads MQTT_URL at a time",
    allowed: "true or false; true only for a broker that keeps a topic with one reader, such as EMQX with hash_topic",
    config: Config.Boolean("MQTT_SHARED")
  },
  {
    name: "MQTT_CLIENT_ID",
    unset: "argusiq-bridge; with MQTT_SHARED one of its own, kept in the data directory",
    allowed: "1 to 64 letters, digits, dots, colons, hyphens and underscores",
    config: Config.schema(ClientId, "MQTT_CLIENT_ID")
  },
  {
    name: "MQTT_CA_FILE",
    unset: "the authorities that Node trusts",
    allowed: "a PEM file with the authorities that vouch for an mqtts:// broker",
    config: Config.NonEmptyString("MQTT_CA_FILE")
  },
  {
    name: "WEBHOOK_SECRET",
    unset: "generated at the first start into webhook-secret in the data directory",
    allowed: "16 to 512 printable ASCII characters without blanks",
    config: Config.schema(WebhookSecret, "WEBHOOK_SECRET"),
    secret: true
  },
  count("INGEST_MAX_BYTES_IN_FLIGHT", "67108864 (64 MiB)", "bytes"),
  databaseUrl("DATABASE_URL", "the embedded PostgreSQL"),
  databaseUrl("DATABASE_PIPELINE_URL", "as DATABASE_URL, in the role argusiq_pipeline"),
  databaseUrl("DATABASE_APP_URL", "as DATABASE_URL, in the role argusiq_app"),
  {
    name: "DATABASE_MIGRATE",
    unset: "true",
    allowed: "true or false; false leaves migrations to argusiq migrate up",
    config: Config.Boolean("DATABASE_MIGRATE")
  },
  count("DATABASE_OWNER_CONNECTIONS", "4", "connections"),
  atLeast(LEAST_PIPELINE_CONNECTIONS, "DATABASE_PIPELINE_CONNECTIONS", "20", "connections"),
  count("DATABASE_APP_CONNECTIONS", "16", "connections"),
  amount("DATABASE_START_TIMEOUT_SECONDS", "60", "seconds to wait for the PostgreSQL of DATABASE_URL at the start"),
  amount("DATABASE_STATEMENT_TIMEOUT_MS", "30000", "milliseconds; 0 switches it off"),
  count("PROFILE_CACHE_SIZE", "400000", "devices"),
  {
    name: "REDIS_URL",
    unset: "caches and rate limits in the memory of each process",
    allowed: "redis://user:password@host:6379/0, or rediss:// for TLS; no other platform may use the same database",
    config: RedisClient.urlConfig,
    secret: true
  },
  {
    name: "SMTP_URL",
    unset: "no e-mail is sent",
    allowed: "smtp://user:password@host:587, or smtps://… for TLS from the start, user and password percent-encoded",
    config: Config.schema(SmtpUrl, "SMTP_URL"),
    secret: true
  },
  {
    name: "SMTP_FROM",
    unset: "no default: needed where SMTP_URL is set",
    allowed: "the sender of letters, such as ArgusIQ <argusiq@example.com>",
    config: Config.NonEmptyString("SMTP_FROM")
  },
  {
    name: "WEBHOOK_ALLOW_PRIVATE_ADDRESSES",
    unset: "false: webhooks go to public addresses only",
    allowed: "true or false; true lets every organization send requests into the platform's own network",
    config: Config.Boolean("WEBHOOK_ALLOW_PRIVATE_ADDRESSES")
  },
  count("JOBS_MESSAGES_PER_SECOND", "10000", "messages"),
  amount("TELEMETRY_RAW_RETENTION_DAYS", "7", "days"),
  amount("TELEMETRY_RAW_MAX_BYTES", "10000000000 (10 GB)", "bytes"),
  amount("TELEMETRY_FRAMES_RETENTION_DAYS", "365", "days"),
  amount("NOTIFICATIONS_RETENTION_DAYS", "90", "days"),
  amount("AUDIT_RETENTION_DAYS", "730", "days"),
  amount("ARGUSIQ_BUS_MIN_FREE_BYTES", "2147483648 (2 GiB)", "bytes of free disk below which nothing is accepted"),
  {
    name: "ARGUSIQ_BUS_FORGET_GROUPS",
    unset: "none",
    allowed: "names of consumer groups that no longer exist, separated by commas",
    config: Config.Array(Schema.NonEmptyString, "ARGUSIQ_BUS_FORGET_GROUPS")
  },
  {
    name: "KAFKA_BROKERS",
    unset: "the embedded log",
    allowed: "host:port of one or more brokers, separated by commas",
    config: Config.schema(Brokers, "KAFKA_BROKERS")
  },
  { name: "KAFKA_CLIENT_ID", unset: "argusiq", allowed: "a name", config: Config.String("KAFKA_CLIENT_ID") },
  {
    name: "KAFKA_PREFIX",
    unset: "none",
    allowed: "what the names of topics and groups begin with, of letters, digits, dots, dashes and underscores",
    config: Config.schema(TopicPrefix, "KAFKA_PREFIX")
  },
  { name: "KAFKA_SSL", unset: "false", allowed: "true or false", config: Config.Boolean("KAFKA_SSL") },
  { name: "KAFKA_USERNAME", unset: "no login", allowed: "a name", config: Config.String("KAFKA_USERNAME") },
  {
    name: "KAFKA_PASSWORD",
    unset: "none",
    allowed: "a password",
    config: Config.String("KAFKA_PASSWORD"),
    secret: true
  },
  {
    name: "KAFKA_SASL_MECHANISM",
    unset: "scram-sha-512",
    allowed: "plain, scram-sha-256 or scram-sha-512",
    config: Config.Literals(["plain", "scram-sha-256", "scram-sha-512"], "KAFKA_SASL_MECHANISM")
  },
  {
    name: "TELEMETRY_RATE_LIMIT_PER_MINUTE",
    unset: "100",
    allowed: "a whole number of HTTP messages per device and minute; 0 switches the limit off",
    config: Config.schema(Limit, "TELEMETRY_RATE_LIMIT_PER_MINUTE")
  },
  {
    name: "REALTIME_ORIGINS",
    unset: "none: only pages of the platform's own host connect live",
    allowed: "https://host or https://host:port of other sites whose pages may connect live, separated by commas",
    config: originsConfig
  },
  count("REALTIME_MAX_CONNECTIONS", "10000", "live connections of one process"),
  count("REALTIME_CONNECTIONS_PER_USER", "100", "live connections"),
  count("REALTIME_CONNECTIONS_PER_ORGANIZATION", "5000", "live connections"),
  count("REALTIME_SUBSCRIPTIONS_PER_CONNECTION", "500", "devices and assets"),
  {
    name: "OTEL_EXPORTER_OTLP_ENDPOINT",
    unset: "no traces",
    allowed: "http://host:4318 of an OpenTelemetry collector; spans go to /v1/traces there",
    config: Config.schema(OtlpUrl, "OTEL_EXPORTER_OTLP_ENDPOINT")
  },
  {
    name: "OTEL_EXPORTER_OTLP_HEADERS",
    unset: "none",
    allowed: "name=value, separated by commas, values percent-encoded",
    config: OtlpHeaders,
    secret: true
  },
  {
    name: "OTEL_EXPORTER_OTLP_PROTOCOL",
    unset: "http/protobuf",
    allowed: "http/protobuf or http/json",
    config: Config.Literals(["http/protobuf", "http/json"], "OTEL_EXPORTER_OTLP_PROTOCOL")
  },
  { name: "OTEL_SERVICE_NAME", unset: "argusiq", allowed: "a name", config: Config.String("OTEL_SERVICE_NAME") },
  {
    name: "OTEL_TRACES_SAMPLER_ARG",
    unset: "0.1",
    allowed: "the part of requests and batches that is traced, from 0 to 1",
    config: Config.schema(Ratio, "OTEL_TRACES_SAMPLER_ARG")
  },
  {
    name: "TRACE_MESSAGES_RATIO",
    unset: "0: only messages whose sender asks for it by a traceparent",
    allowed: "the part of devices' messages that is traced through all services, from 0 to 1",
    config: Config.schema(Ratio, "TRACE_MESSAGES_RATIO")
  },
  {
    name: "LOG_FORMAT",
    unset: "pretty; json with NODE_ENV=production",
    allowed: "pretty or json",
    config: Config.Literals(["pretty", "json"], "LOG_FORMAT")
  },
  {
    name: "LOG_LEVEL",
    unset: "Info",
    allowed: "Trace, Debug, Info, Warn, Error or Fatal",
    config: Config.LogLevel("LOG_LEVEL")
  }
]

const isSet = (name: string) =>
  Effect.map(Config.option(Config.String(name)), (value) => Option.isSome(value) && value.value !== "")

/** One line per variable with a wrong value; empty when the platform can start with what is set. */
export const wrongSettings = Effect.gen(function* () {
  const lines: Array<string> = []
  for (const setting of settings) {
    if (!(yield* isSet(setting.name))) continue
    const result = yield* Effect.result(setting.config)
    if (Result.isFailure(result)) {
      const value = setting.secret === true ? "" : `=${yield* Config.String(setting.name)}`
      lines.push(`${setting.name}${value} is wrong. Allowed: ${setting.allowed}. Not set: ${setting.unset}.`)
    }
  }
  return lines
})

/** Stops the start when a variable has a wrong value. */
export const checkSettings = Effect.flatMap(wrongSettings, (lines) =>
  lines.length === 0 ? Effect.void : Effect.fail(new Refusal({ message: lines.join("\n") }))
)

/** `NAME=value` of what is set, secrets redacted, and a note of how many stand at their defaults. */
export const describeSettings = Effect.gen(function* () {
  const set: Array<string> = []
  for (const { name, secret } of settings) {
    if (!(yield* isSet(name))) continue
    const value = yield* Config.Redacted(name)
    set.push(`${name}=${secret === true ? String(value) : Redacted.value(value)}`)
  }
  return set
})
