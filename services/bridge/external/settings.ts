/**
 * Where the external broker is and how it is read, from the environment.
 * @module
 */
import { dataDirectory, keptSecret } from "@argusiq/layers/identity/keptSecret.ts"
import { Config, Effect, Option, Redacted, Result, Schema } from "effect"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"

export interface BrokerAddress {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: string | undefined
}

const ports: Readonly<Record<string, number>> = { "mqtt:": 1883, "mqtts:": 8883 }

/** Reads `mqtt://user:password@host:port` and `mqtts://…`; user and password percent-encoded; undefined when it is neither. */
export const parseBrokerUrl = (text: string): BrokerAddress | undefined => {
  if (!URL.canParse(text)) return undefined
  const { hostname, password, pathname, port, protocol, search, username } = new URL(text)
  const usual = ports[protocol]
  if (usual === undefined || hostname === "" || search !== "" || !["", "/"].includes(pathname)) return undefined
  const decode = Result.try(() => [decodeURIComponent(username), decodeURIComponent(password)] as const)
  if (Result.isFailure(decode)) return undefined
  const [user, secret] = decode.success
  return {
    host: hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? usual : Number(port),
    tls: protocol === "mqtts:",
    username: user === "" ? undefined : user,
    password: secret === "" ? undefined : secret
  }
}

export const BrokerUrl = Schema.String.check(
  Schema.makeFilter((url: string) => parseBrokerUrl(url) !== undefined || "not mqtt://user:password@host:port")
)
/** As MQTT 3.1.1 brokers must accept it. */
export const ClientId = Schema.String.check(Schema.isPattern(/^[\w.:-]{1,64}$/))

/** The broker's URL with its password; set, the platform reads that broker and opens no listener of its own. */
export const brokerUrl = Config.Redacted("MQTT_URL")

/** The value is not told: it holds a password. */
export class BrokerUrlWrong extends Schema.TaggedError<BrokerUrlWrong>()("BrokerUrlWrong", {}) {
  override get message() {
    return "MQTT_URL is wrong. Allowed: mqtt://user:password@host:port or mqtts://…, user and password percent-encoded."
  }
}

/** A file of certificates that cannot be read. */
export class CertificatesUnreadable extends Schema.TaggedError<CertificatesUnreadable>()("CertificatesUnreadable", {
  path: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `The certificates in ${this.path} (MQTT_CA_FILE) cannot be read. Name a PEM file that this user may read.`
  }
}

const SHARED_GROUP = "bridge-group"
const telemetry = ["v1/telemetry/#", "devices/+/telemetry"]
const sharedTelemetry = telemetry.map((filter) => `$share/${SHARED_GROUP}/${filter}`)

export interface BrokerSettings {
  readonly address: BrokerAddress
  /** PEM; undefined: the authorities that Node trusts. */
  readonly authorities: string | undefined
  readonly clientId: string
  /** Several bridges read at the same time. */
  readonly shared: boolean
  readonly filters: ReadonlyArray<string>
  /** Those of the other way of reading, which the session may hold from before. */
  readonly otherFilters: ReadonlyArray<string>
}

const SINGLE_READER = "argusiq-bridge"

/** The session that the broker keeps belongs to this name: bridges that read one at a time share it, others have their own. */
const clientIdOf = Effect.fnUntraced(function* (shared: boolean) {
  const given = yield* Config.option(Config.schema(ClientId, "MQTT_CLIENT_ID"))
  if (Option.isSome(given)) return given.value
  if (!shared) return SINGLE_READER
  const path = join(yield* dataDirectory, "mqtt-client-id")
  const kept = yield* keptSecret(path, async () => `${SINGLE_READER}-${randomBytes(6).toString("hex")}\n`)
  return kept.trim()
})

export const brokerSettings = Effect.gen(function* () {
  const address = parseBrokerUrl(Redacted.value(yield* brokerUrl))
  if (address === undefined) return yield* new BrokerUrlWrong()
  const shared = yield* Config.Boolean("MQTT_SHARED").pipe(Config.withDefault(false))
  const file = Option.getOrUndefined(yield* Config.option(Config.NonEmptyString("MQTT_CA_FILE")))
  const authorities =
    file === undefined
      ? undefined
      : yield* Effect.try({
          try: () => readFileSync(file, "utf8"),
          catch: (cause) => new CertificatesUnreadable({ path: file, cause })
        })
  const settings: BrokerSettings = {
    address,
    authorities,
    clientId: yield* clientIdOf(shared),
    shared,
    filters: shared ? sharedTelemetry : telemetry,
    otherFilters: shared ? telemetry : sharedTelemetry
  }
  return settings
})
