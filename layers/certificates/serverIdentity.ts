/**
 * The certificate that an MQTT listener shows: made at the first start, kept, and made anew before it ends or when the hosts
 * are others.
 * @module
 */
import { Effect, Schema } from "effect"
import { X509Certificate } from "node:crypto"
import { isIP } from "node:net"
import { join } from "node:path"
import { readSecret, secretsDirectory, writeSecret } from "../identity/keptSecret.ts"
import { type Authority } from "./CertificateAuthority.ts"
import { issueForServer, makeKeys } from "./issue.ts"

const DAYS = 365
/** It is replaced so long before its end. */
const RENEW_BEFORE_MILLIS = 30 * 86_400_000

const Identity = Schema.fromJsonString(Schema.Struct({ certificate: Schema.String, privateKey: Schema.String }))
/** PEM. */
export type ServerIdentity = typeof Identity.Type
const decode = Schema.decodeUnknownOption(Identity)

const covers = (certificate: X509Certificate, host: string) =>
  isIP(host) === 0 ? certificate.checkHost(host) !== undefined : certificate.checkIP(host) !== undefined

/** Whether it is good for those hosts for a while, and of this authority. */
export const isGood = (
  { certificate }: ServerIdentity,
  authority: Authority,
  hosts: ReadonlyArray<string>
): boolean => {
  try {
    const parsed = new X509Certificate(certificate)
    return (
      parsed.checkIssued(new X509Certificate(authority.chain)) &&
      parsed.validToDate.getTime() - Date.now() > RENEW_BEFORE_MILLIS &&
      hosts.every((host) => covers(parsed, host))
    )
  } catch {
    return false
  }
}

export const makeServerIdentity = (authority: Authority, hosts: ReadonlyArray<string>, days = DAYS) =>
  Effect.promise(async (): Promise<ServerIdentity> => {
    const { privateKey, publicKey } = await makeKeys()
    const { pem } = await issueForServer(authority, { hosts, publicKey, days })
    return { certificate: pem, privateKey }
  })

/** The kept one, or another in its place where that is not good any more. `replaced` tells which. */
export const keptServerIdentity = Effect.fn("keptServerIdentity")(function* (
  authority: Authority,
  hosts: ReadonlyArray<string>
) {
  const path = join(yield* secretsDirectory, "mqtt-server.json")
  const kept = decode(yield* readSecret(path))
  if (kept._tag === "Some" && isGood(kept.value, authority, hosts))
    return { identity: kept.value, replaced: false, path }
  const identity = yield* makeServerIdentity(authority, hosts)
  yield* writeSecret(path, JSON.stringify(identity))
  return { identity, replaced: true, path }
})
