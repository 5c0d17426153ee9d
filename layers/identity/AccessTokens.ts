/**
 * Access tokens: JWTs signed with the installation's own Ed25519 key. The algorithm and the key are fixed here; nothing in a
 * token's header decides how it is checked.
 * @module
 */
import { join } from "node:path"
import { roles } from "@argusiq/domain/permissions.ts"
import { TenantId, Uuid } from "@argusiq/domain/ids.ts"
import { Clock, Context, Effect, Layer, Schema } from "effect"
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, jwtVerify, SignJWT } from "jose"
import { BoundedMap } from "../cache/BoundedMap.ts"
import { secretsDirectory, keptSecret, SecretUnreadable } from "./keptSecret.ts"

export const accessTokenSeconds = 900

const issuer = "argusiq"
const audience = "argusiq-api"
const type = "at+jwt"

/** What a token says about its bearer. */
export const Claims = Schema.Struct({
  sub: Uuid, // the user
  org: TenantId,
  role: Schema.Literals(roles),
  admin: Schema.Boolean, // of the platform
  sid: Uuid, // the session
  gen: Schema.Int, // of the session
  tmp: Schema.optionalKey(Schema.Literal(true)) // the password is a temporary one
})
export type Claims = typeof Claims.Type

const decodeClaims = Schema.decodeUnknownResult(Claims)
const StoredKey = Schema.fromJsonString(
  Schema.Struct({
    kty: Schema.Literal("OKP"),
    crv: Schema.Literal("Ed25519"),
    x: Schema.NonEmptyString,
    d: Schema.NonEmptyString
  })
)

const makeKey = async () => {
  const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true })
  const { kty, crv, x, d } = await exportJWK(privateKey)
  return JSON.stringify({ kty, crv, x, d })
}

export class AccessTokens extends Context.Service<
  AccessTokens,
  {
    issue(claims: Claims): Effect.Effect<string>
    /** Undefined for whatever is not a token of this installation that is still in force. */
    verify(token: string): Effect.Effect<Claims | undefined>
  }
>()("argusiq/layers/identity/AccessTokens") {
  /** The key is `signing-key.json` in the secrets directory, made when it is missing. */
  static readonly layer = Layer.effect(
    AccessTokens,
    Effect.gen(function* () {
      const path = join(yield* secretsDirectory, "signing-key.json")
      const jwk = yield* keptSecret(path, makeKey).pipe(
        Effect.flatMap(Schema.decodeUnknownEffect(StoredKey)),
        Effect.mapError((cause) => new SecretUnreadable({ path, cause }))
      )
      const { d: _, ...publicJwk } = jwk
      const [privateKey, publicKey, kid] = yield* Effect.promise(() =>
        Promise.all([importJWK(jwk, "EdDSA"), importJWK(publicJwk, "EdDSA"), calculateJwkThumbprint(publicJwk)])
      )
      const issue = Effect.fn("AccessTokens.issue")(function* ({ sub, ...rest }: Claims) {
        const now = Math.floor((yield* Clock.currentTimeMillis) / 1_000)
        return yield* Effect.promise(() =>
          new SignJWT(rest)
            .setProtectedHeader({ alg: "EdDSA", kid, typ: type })
            .setSubject(sub)
            .setIssuer(issuer)
            .setAudience(audience)
            .setIssuedAt(now)
            .setExpirationTime(now + accessTokenSeconds)
            .sign(privateKey)
        )
      })
      // A signature costs more to check than the rest of a small request, and a client sends the same token many times.
      const verified = new BoundedMap<{ readonly claims: Claims; readonly endsAtMillis: number }>(10_000)
      const verify = Effect.fnUntraced(function* (token: string) {
        const nowMillis = yield* Clock.currentTimeMillis
        const known = verified.get(token)
        if (known !== undefined) return nowMillis < known.endsAtMillis ? known.claims : undefined
        return yield* Effect.promise(async () => {
          try {
            const { payload, protectedHeader } = await jwtVerify(token, publicKey, {
              algorithms: ["EdDSA"],
              issuer,
              audience,
              typ: type,
              requiredClaims: ["sub", "exp", "iat"],
              currentDate: new Date(nowMillis)
            })
            const claims = decodeClaims(payload)
            if (protectedHeader.kid !== kid || claims._tag === "Failure" || payload.exp === undefined) return undefined
            verified.set(token, { claims: claims.success, endsAtMillis: payload.exp * 1_000 })
            return claims.success
          } catch {
            return undefined
          }
        })
      })
      return AccessTokens.of({ issue, verify })
    })
  )
}
