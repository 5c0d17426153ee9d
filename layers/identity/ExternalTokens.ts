/**
 * Tokens of an external identity provider, checked with the keys that it publishes (OpenID Connect Discovery 1.0, RFC 8414).
 * Algorithms are fixed to asymmetric ones; nothing in a token's header says where its key is found.
 * @module
 */
import { type ExternalIdentity, externalIdentity, type ExternalRefused } from "@argusiq/domain/external-identity.ts"
import { type Role, roles } from "@argusiq/domain/permissions.ts"
import { Clock, Config, Context, Effect, Layer, Option, Schema } from "effect"
import { createRemoteJWKSet, decodeJwt, errors, jwtVerify, type JWTVerifyGetKey } from "jose"
import { BoundedMap } from "../cache/BoundedMap.ts"

const algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
const ANSWER_WITHIN_MILLIS = 5_000
/** Between two attempts to find a provider that did not answer. */
const RETRY_AFTER_MILLIS = 2_000
/** How long keys are used without asking for them again. An unknown key id asks at once, at most every 10 s. */
const KEYS_KEPT_MILLIS = 600_000
const KEYS_COOLDOWN_MILLIS = 10_000
const CLOCKS_DIFFER_SECONDS = 5

/** The provider does not answer, or not as one. */
export class ProviderUnavailable extends Schema.TaggedError<ProviderUnavailable>()("ProviderUnavailable", {
  cause: Schema.Defect()
}) {}

const isLoopback = (host: string) => /^(127(\.\d{1,3}){3}|\[::1\]|localhost)$/.test(host)
/** https, or http to this machine. */
export const isProviderUrl = (text: string): boolean => {
  if (!URL.canParse(text)) return false
  const { hostname, protocol, search, hash, username } = new URL(text)
  const isSafe = protocol === "https:" || (protocol === "http:" && isLoopback(hostname))
  return isSafe && search === "" && hash === "" && username === ""
}
export const ProviderUrl = Schema.String.check(Schema.makeFilter((url: string) => isProviderUrl(url) || "not https"))

export interface Provider {
  readonly issuer: string
  readonly audience: string
  readonly roleClaim: string
  readonly defaultRole: Role | undefined
  /** Of these one is set. */
  readonly organizationClaim: string | undefined
  readonly organizationId: string | undefined
}

const optional = <A>(config: Config.Config<A>) => Config.map(Config.option(config), Option.getOrUndefined)
const organization = Config.flatMap(optional(Config.NonEmptyString("OIDC_ORGANIZATION_CLAIM")), (organizationClaim) => {
  const id = Config.NonEmptyString("OIDC_ORGANIZATION_ID")
  return Config.map(organizationClaim === undefined ? id : optional(id), (organizationId) => ({
    organizationClaim,
    organizationId
  }))
})
/** Undefined where OIDC_ISSUER is not set. */
export const providerConfig: Config.Config<Provider | undefined> = Config.flatMap(
  optional(Config.schema(ProviderUrl, "OIDC_ISSUER")),
  (issuer): Config.Config<Provider | undefined> =>
    issuer === undefined
      ? Config.succeed(undefined)
      : Config.map(
          Config.all({
            organization,
            audience: Config.NonEmptyString("OIDC_AUDIENCE"),
            roleClaim: Config.NonEmptyString("OIDC_ROLE_CLAIM").pipe(Config.withDefault("roles")),
            defaultRole: optional(Config.Literals(roles, "OIDC_DEFAULT_ROLE"))
          }),
          ({ organization, ...rest }) => ({ issuer, ...rest, ...organization })
        )
)

const Discovered = Schema.Struct({ issuer: Schema.String, jwks_uri: ProviderUrl })

/** What a token is at fault for; anything else that fails is the provider's. */
const isTokenFault = (cause: unknown) =>
  cause instanceof errors.JOSEError &&
  !(cause instanceof errors.JWKSTimeout || cause instanceof errors.JWKSInvalid || cause.code === errors.JOSEError.code)

const discover = async (issuer: string): Promise<JWTVerifyGetKey> => {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`
  const response = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(ANSWER_WITHIN_MILLIS) })
  if (!response.ok) throw new Error(`${url} answers ${response.status}`)
  const document = Schema.decodeUnknownSync(Discovered)(await response.json())
  if (document.issuer !== issuer) throw new Error(`${url} is of the issuer ${document.issuer}, not of ${issuer}`)
  return createRemoteJWKSet(new URL(document.jwks_uri), {
    timeoutDuration: ANSWER_WITHIN_MILLIS,
    cooldownDuration: KEYS_COOLDOWN_MILLIS,
    cacheMaxAge: KEYS_KEPT_MILLIS
  })
}

const issuerOf = (token: string): unknown => {
  try {
    return decodeJwt(token).iss
  } catch {
    return undefined
  }
}

export interface VerifiedToken extends ExternalIdentity {
  readonly issuer: string
}

export class ExternalTokens extends Context.Service<
  ExternalTokens,
  {
    /** Undefined for what is no token of the provider in force. */
    verify(token: string): Effect.Effect<VerifiedToken | undefined, ExternalRefused | ProviderUnavailable>
  }
>()("argusiq/layers/identity/ExternalTokens") {
  /** Verifies nothing where no provider is set. The provider is asked when its first token comes. */
  static readonly layerConfig = Layer.effect(
    ExternalTokens,
    Effect.map(providerConfig, (provider) =>
      provider === undefined ? ExternalTokens.of({ verify: () => Effect.succeed(undefined) }) : make(provider)
    )
  )
  static readonly layer = (provider: Provider) => Layer.sync(ExternalTokens, () => make(provider))
}

const make = (provider: Provider) => {
  const claims = {
    role: provider.roleClaim,
    defaultRole: provider.defaultRole,
    organization: provider.organizationClaim
  }
  let keys: Promise<JWTVerifyGetKey> | undefined
  const askForKeys = () =>
    (keys ??= discover(provider.issuer).catch((cause: unknown) => {
      setTimeout(() => (keys = undefined), RETRY_AFTER_MILLIS).unref()
      throw cause
    }))
  type Payload = Readonly<Record<string, unknown>>
  const verified = new BoundedMap<{ readonly payload: Payload; readonly endsAtMillis: number }>(10_000)

  const payloadOf = Effect.fnUntraced(function* (token: string) {
    const nowMillis = yield* Clock.currentTimeMillis
    const known = verified.get(token)
    if (known !== undefined) return nowMillis < known.endsAtMillis ? known.payload : undefined
    if (issuerOf(token) !== provider.issuer) return undefined
    return yield* Effect.tryPromise({
      try: async () => {
        const jwks = await askForKeys()
        try {
          const { payload } = await jwtVerify(token, jwks, {
            algorithms,
            issuer: provider.issuer,
            audience: provider.audience,
            requiredClaims: ["sub", "exp"],
            clockTolerance: CLOCKS_DIFFER_SECONDS,
            currentDate: new Date(nowMillis)
          })
          if (payload.exp === undefined || payload.sub === undefined || payload.sub === "") return undefined
          verified.set(token, { payload, endsAtMillis: payload.exp * 1_000 })
          return payload as Payload
        } catch (cause) {
          if (isTokenFault(cause)) return undefined
          throw cause
        }
      },
      catch: (cause) => new ProviderUnavailable({ cause })
    })
  })

  const verify = Effect.fn("ExternalTokens.verify")(function* (token: string) {
    const payload = yield* payloadOf(token)
    if (payload === undefined) return undefined
    const identity = yield* Effect.fromResult(externalIdentity(payload, claims))
    return { ...identity, issuer: provider.issuer }
  })
  return ExternalTokens.of({ verify })
}
