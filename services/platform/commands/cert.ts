import { type IssuedCertificate } from "@argusiq/domain/http/certificates.ts"
import { certificateStates, MOST_VALIDITY_DAYS } from "@argusiq/domain/certificate.ts"
import { openAuthority } from "@argusiq/layers/certificates/CertificateAuthority.ts"
import {
  isGood,
  keptServerIdentity,
  makeServerIdentity,
  type ServerIdentity
} from "@argusiq/layers/certificates/serverIdentity.ts"
import { mqttsHosts } from "@argusiq/layers/certificates/settings.ts"
import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { X509Certificate } from "node:crypto"
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { findDevice } from "../devices.ts"
import { Refusal } from "../errors.ts"
import { organization } from "../organization.ts"
import { connectToPlatform, inWords } from "../PlatformClient.ts"
import { table } from "../table.ts"

const inOwnWords = (error: { readonly message: string }) => new Refusal({ message: error.message })
const authority = Effect.mapError(openAuthority, inOwnWords)

const out = (whose: string) =>
  Flag.String("out").pipe(Flag.withDescription(`Directory to write ${whose} to`), Flag.optional)
const device = Argument.String("device").pipe(Argument.withDescription("Id, external id, serial number or name"))

const fileMode = (name: string) => (name.endsWith(".key") ? 0o600 : 0o644)

/** Private keys are for their user only. */
const writeFiles = (directory: string, files: Readonly<Record<string, string | undefined>>) =>
  Effect.try({
    try: () => {
      mkdirSync(directory, { recursive: true })
      for (const [name, content] of Object.entries(files)) {
        if (content === undefined) continue
        const path = join(directory, name)
        writeFileSync(path, content, { mode: fileMode(name) })
        chmodSync(path, fileMode(name))
      }
    },
    catch: (cause) =>
      new Refusal({ message: `${directory} cannot be written (${String(cause)}). Name another with --out.` })
  })

const init = Command.make(
  "init",
  {},
  Effect.fn("cert init")(function* () {
    const { chain, path } = yield* authority
    const certificate = new X509Certificate(chain)
    yield* Console.log(
      [
        `Authority    ${certificate.subject.replaceAll("\n", ", ")}`,
        `File         ${path}`,
        `Until        ${certificate.validToDate.toISOString()}`,
        `Fingerprint  ${certificate.fingerprint256}`
      ].join("\n")
    )
  })
).pipe(Command.withDescription("Make the installation's authority, or show the one that is there"))

const readIdentity = (directory: string): ServerIdentity | undefined => {
  const [certificate, key] = [join(directory, "server.crt"), join(directory, "server.key")]
  if (!existsSync(certificate) || !existsSync(key)) return undefined
  return { certificate: readFileSync(certificate, "utf8"), privateKey: readFileSync(key, "utf8") }
}

const server = Command.make(
  "server",
  {
    host: Flag.String("host").pipe(
      Flag.withDescription("Host names and addresses of the broker, separated by commas; unless told, MQTTS_HOSTS"),
      Flag.optional
    ),
    out: out("server.crt, server.key and ca.crt for a broker of your own; unless told, the embedded broker's is made")
  },
  Effect.fn("cert server")(function* ({ host, out }) {
    const signing = yield* authority
    const hosts = Option.isSome(host)
      ? host.value.split(",").map((one) => one.trim())
      : yield* Effect.mapError(mqttsHosts, inOwnWords)
    if (Option.isNone(out)) {
      const { path, replaced } = yield* Effect.mapError(keptServerIdentity(signing, hosts), inOwnWords)
      return yield* Console.log(
        replaced
          ? `Made ${path} for ${hosts.join(", ")}. A running platform uses it from its next start on.`
          : `${path} is good for ${hosts.join(", ")}.`
      )
    }
    const present = readIdentity(out.value)
    if (present !== undefined && isGood(present, signing, hosts)) {
      return yield* Console.log(`${join(out.value, "server.crt")} is good for ${hosts.join(", ")}.`)
    }
    const { certificate, privateKey } = yield* makeServerIdentity(signing, hosts)
    const files = { "server.crt": certificate + signing.chain, "server.key": privateKey, "ca.crt": signing.chain }
    yield* writeFiles(out.value, files)
    yield* Console.log(`Made ${join(out.value, "server.crt")} for ${hosts.join(", ")}, with server.key and ca.crt.`)
  })
).pipe(Command.withDescription("Make a broker's certificate, unless there is a good one"))

const readCsr = (path: string) =>
  Effect.try({
    try: () => readFileSync(path, "utf8"),
    catch: (cause) => new Refusal({ message: `The request ${path} cannot be read: ${String(cause)}.` })
  })

const handOver = Effect.fnUntraced(function* (issued: IssuedCertificate, name: string, directory: string) {
  const { caCertificate, certificate, privateKey, validUntil } = issued
  yield* writeFiles(directory, { "device.crt": certificate, "device.key": privateKey, "ca.crt": caCertificate })
  const key = privateKey === undefined ? "" : ", device.key (nobody else has it: keep it safe)"
  yield* Console.log(`${name}: device.crt${key} and ca.crt are in ${directory}, good until ${validUntil}.`)
})

const forDevice = Command.make(
  "device",
  {
    device,
    days: Flag.Int("days").pipe(
      Flag.withDescription(`Until it ends, 1 to ${MOST_VALIDITY_DAYS}`),
      Flag.withDefault(MOST_VALIDITY_DAYS)
    ),
    csr: Flag.String("csr").pipe(
      Flag.withDescription("File of a certificate signing request: the key stays where it is"),
      Flag.optional
    ),
    renew: Flag.Boolean("renew").pipe(
      Flag.withDescription("In the place of the present one, which goes on for 7 days at most"),
      Flag.withDefault(false)
    ),
    out: out("device.crt, device.key and ca.crt; unless told, one named after the device's id"),
    organization
  },
  Effect.fn("cert device")(function* ({ csr, days, device: wanted, organization, out, renew }) {
    const { api, device } = yield* findDevice(yield* connectToPlatform, wanted, Option.getOrUndefined(organization))
    const request = Option.isSome(csr) ? { csr: yield* readCsr(csr.value) } : {}
    const asked = { params: { id: device.id }, payload: { validityDays: days, ...request } }
    const issued = yield* (renew ? api.certificates.renew(asked) : api.certificates.issue(asked)).pipe(
      Effect.mapError(inWords(`No certificate can be made for ${device.name}`))
    )
    yield* handOver(
      issued,
      device.name,
      Option.getOrElse(out, () => device.id)
    )
  })
).pipe(Command.withDescription("Make or renew a device's certificate"))

const revoke = Command.make(
  "revoke",
  {
    device,
    reason: Flag.String("reason").pipe(
      Flag.withDescription("Such as keyCompromise, superseded or cessationOfOperation"),
      Flag.withDefault("unspecified")
    ),
    organization
  },
  Effect.fn("cert revoke")(function* ({ device: wanted, organization, reason }) {
    const { api, device } = yield* findDevice(yield* connectToPlatform, wanted, Option.getOrUndefined(organization))
    const { revokedAt } = yield* api.certificates
      .revoke({ params: { id: device.id }, payload: { reason } })
      .pipe(Effect.mapError(inWords(`The certificate of ${device.name} cannot be revoked`)))
    yield* Console.log(`The certificates of ${device.name} are revoked since ${revokedAt}; its connections close.`)
  })
).pipe(Command.withDescription("End a device's certificates at once"))

const MOST_SHOWN = 500
const list = Command.make(
  "list",
  {
    within: Flag.Int("expiring-in").pipe(Flag.withDescription("Only what ends within so many days"), Flag.optional),
    state: Flag.Literals("state", certificateStates).pipe(Flag.optional),
    organization
  },
  Effect.fn("cert list")(function* ({ organization, state, within }) {
    const { apiOf } = yield* connectToPlatform
    const { certificates } = yield* apiOf(Option.getOrUndefined(organization))
    const { items, nextCursor } = yield* certificates
      .list({
        query: {
          limit: MOST_SHOWN,
          ...(Option.isSome(within) && { expiringInDays: within.value }),
          ...(Option.isSome(state) && { state: state.value })
        }
      })
      .pipe(Effect.mapError(inWords("Certificates cannot be listed")))
    const rows = items.map((one) => [one.deviceId, one.serialNumber, one.state, one.validUntil])
    yield* Console.log(table(["device", "serial number", "state", "until"], rows))
    if (nextCursor !== null)
      yield* Console.error(`These are the first ${MOST_SHOWN}: GET /api/v1/certificates has all.`)
  })
).pipe(Command.withDescription("Certificates of devices, those that end first before the others"))

/** `argusiq cert init|server|device|revoke|list`. */
export const cert = Command.make("cert").pipe(
  Command.withDescription("Certificates: the authority, a broker's, those of devices"),
  Command.withSubcommands([init, server, forDevice, revoke, list])
)
