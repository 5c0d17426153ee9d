import { createHmac, createPublicKey, generateKeyPairSync, sign } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Api, apiServer, DataDirectory } from "./apiServer.ts"

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url")
const decode = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString())

const statusOf = (token: string) =>
  Effect.flatMap(Api, (api) => api.call("GET", "/api/v1/auth/me", { token })).pipe(Effect.map(({ status }) => status))

layer(apiServer, { excludeTestServices: true })("forged tokens", (it) => {
  const material = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const [head = "", body = "", signature = ""] = token.split(".")
    const jwk = JSON.parse(readFileSync(join(yield* DataDirectory, "signing-key.json"), "utf8"))
    const key = { key: jwk, format: "jwk" as const }
    const signed = (header: object, claims: object) => {
      const input = `${encode(header)}.${encode(claims)}`
      return `${input}.${sign(null, Buffer.from(input), key).toString("base64url")}`
    }
    const publicPem = createPublicKey(key).export({ type: "spki", format: "pem" })
    return { api, header: decode(head), claims: decode(body), signature, token, jwk, signed, publicPem, head, body }
  })

  it.effect(
    "the same claims signed anew with the installation's key are accepted: what follows fails for its own reason",
    () =>
      Effect.gen(function* () {
        const { claims, header, signed } = yield* material
        assert.strictEqual(yield* statusOf(signed(header, claims)), 200)
      })
  )

  it.effect("alg none is refused, with and without a signature", () =>
    Effect.gen(function* () {
      const { body, header, signature } = yield* material
      for (const alg of ["none", "None", "NONE"]) {
        const head = encode({ ...header, alg })
        assert.strictEqual(yield* statusOf(`${head}.${body}.`), 401)
        assert.strictEqual(yield* statusOf(`${head}.${body}.${signature}`), 401)
      }
    })
  )

  it.effect("HS256 with the public key as its secret is refused", () =>
    Effect.gen(function* () {
      const { body, header, jwk, publicPem } = yield* material
      const input = `${encode({ ...header, alg: "HS256" })}.${body}`
      for (const secret of [publicPem, jwk.x, Buffer.from(jwk.x, "base64url")]) {
        const signature = createHmac("sha256", secret).update(input).digest("base64url")
        assert.strictEqual(yield* statusOf(`${input}.${signature}`), 401)
      }
    })
  )

  it.effect("a key that the token brings along in jwk, jku or x5u is not used", () =>
    Effect.gen(function* () {
      const { claims, header } = yield* material
      const own = generateKeyPairSync("ed25519")
      const jwk = own.publicKey.export({ format: "jwk" })
      for (const extra of [{ jwk }, { jku: "http://127.0.0.1:1/keys" }, { x5u: "http://127.0.0.1:1/cert" }]) {
        const input = `${encode({ ...header, ...extra })}.${encode(claims)}`
        const signature = sign(null, Buffer.from(input), own.privateKey).toString("base64url")
        assert.strictEqual(yield* statusOf(`${input}.${signature}`), 401)
      }
    })
  )

  it.effect("another issuer, audience, type or key id, an expired token and missing claims are refused", () =>
    Effect.gen(function* () {
      const { claims, header, signed } = yield* material
      const now = Math.floor(Date.now() / 1_000)
      const { exp: _, ...endless } = claims
      const { org: __, ...homeless } = claims
      const forgeries = [
        signed(header, { ...claims, iss: "somebody" }),
        signed(header, { ...claims, aud: "something" }),
        signed(header, { ...claims, exp: now - 1, iat: now - 901 }),
        signed(header, { ...claims, nbf: now + 60 }),
        signed(header, { ...claims, sid: undefined }),
        signed(header, { ...claims, gen: -1 }),
        signed(header, endless),
        signed(header, homeless),
        signed(header, { ...claims, role: "owner" }),
        signed({ ...header, typ: "JWT" }, claims),
        signed({ ...header, kid: "another" }, claims)
      ]
      for (const token of forgeries) assert.strictEqual(yield* statusOf(token), 401, token)
    })
  )

  it.effect("claims changed under an old signature are refused", () =>
    Effect.gen(function* () {
      const { claims, head, signature } = yield* material
      assert.strictEqual(yield* statusOf(`${head}.${encode({ ...claims, role: "viewer" })}.${signature}`), 401)
      assert.strictEqual(yield* statusOf(`${head}.${encode({ ...claims, admin: false })}.${signature}`), 401)
    })
  )
})
