/**
 * What the token of an identity provider says about its bearer.
 * @module
 */
import { Predicate, Result, Schema } from "effect"
import { type Role, roles } from "./permissions.ts"

/** Which claims of a provider mean what. A claim is named as it stands in the token, or by a path: `realm_access.roles`. */
export interface ExternalClaims {
  readonly role: string
  /** Of those whose token has no role claim; undefined: they are refused. */
  readonly defaultRole: Role | undefined
  /** Id or short name of the organization; undefined: all belong to the same one. */
  readonly organization: string | undefined
}

export interface ExternalIdentity {
  readonly subject: string
  readonly role: Role
  /** Undefined where the provider does not vouch for it. */
  readonly email: string | undefined
  readonly name: string
  /** As the claim has it. */
  readonly organization: string | undefined
}

/** The bearer is known to the provider, but may not come in; `message` tells why. */
export class ExternalRefused extends Schema.TaggedError<ExternalRefused>()("ExternalRefused", {
  message: Schema.String
}) {}

type Payload = Readonly<Record<string, unknown>>

const claimAt = (payload: Payload, path: string): unknown => {
  if (Object.hasOwn(payload, path)) return payload[path]
  let value: unknown = payload
  for (const key of path.split(".")) {
    if (!Predicate.isObject(value) || !Object.hasOwn(value, key)) return undefined
    value = value[key as keyof typeof value]
  }
  return value
}
const isShortText = (value: unknown): value is string =>
  typeof value === "string" && value.length <= 255 && value.isWellFormed() && !/\p{Cc}/u.test(value)
const textsOf = (claim: unknown): ReadonlyArray<string> => (Array.isArray(claim) ? claim : [claim]).filter(isShortText)
const isTrue = (claim: unknown) => claim === true || claim === "true" || claim === 1 || claim === "1"
const emailPattern = /^[^\s@\p{Cc}]{1,200}@[^\s@\p{Cc}]{1,119}$/u

/** Of several roles the one that stands first in `roles`; roles of other applications are passed by. */
const roleOf = (
  payload: Payload,
  { defaultRole, role: path }: ExternalClaims
): Result.Result<Role, ExternalRefused> => {
  const said = textsOf(claimAt(payload, path))
  const role = said.length === 0 ? defaultRole : roles.find((known) => said.includes(known))
  if (role !== undefined) return Result.succeed(role)
  const names = said.slice(0, 5).map((name) => JSON.stringify(name.slice(0, 50)))
  return Result.fail(
    new ExternalRefused({
      message: `The claim ${path} of your token ${names.length === 0 ? "is missing" : `says ${names.join(", ")}`}. It must name one of the roles ${roles.join(", ")}: ask who manages the identity provider.`
    })
  )
}

/** `payload`: of a token whose signature, issuer, audience and dates have been checked. */
export const externalIdentity = (
  payload: Payload,
  claims: ExternalClaims
): Result.Result<ExternalIdentity, ExternalRefused> =>
  Result.flatMap(roleOf(payload, claims), (role) => {
    const { email, name, preferred_username: username, sub } = payload
    if (!isShortText(sub)) {
      return Result.fail(new ExternalRefused({ message: "The claim sub of your token is none that can be kept." }))
    }
    // `xms_edov` is what Entra ID says of an address whose domain its tenant owns.
    const isVerified = isTrue(payload["email_verified"]) || isTrue(payload["xms_edov"])
    const verified =
      isVerified && typeof email === "string" && emailPattern.test(email) ? email.toLowerCase() : undefined
    const shown = [name, username, verified, sub].find((one) => isShortText(one) && /\S/.test(one))
    return Result.succeed({
      subject: sub,
      role,
      email: verified,
      name: String(shown).slice(0, 200).toWellFormed(),
      organization: claims.organization === undefined ? undefined : textsOf(claimAt(payload, claims.organization))[0]
    })
  })
