/**
 * An identity provider on a port of this machine: discovery, keys that can be rotated, and outages.
 * @module
 */
import { createServer } from "node:http"
import { type CryptoKey, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose"
import { Context, Effect, Layer } from "effect"

type Answer = "right" | "fails" | "another issuer" | "foreign keys"

export class TestProvider extends Context.Service<
  TestProvider,
  {
    readonly issuer: string
    /** How often the keys were asked for. */
    readonly asked: () => number
    readonly answer: (how: Answer) => void
    /** Signs with another key from then on, and publishes that alone. */
    readonly rotate: Effect.Effect<void>
    readonly publicKey: () => CryptoKey
    /** A token in force for ten minutes; `claims` and `header` replace what it says. */
    readonly token: (claims: JWTPayload, header?: { readonly kid?: string }) => Effect.Effect<string>
  }
>()("argusiq/test/TestProvider") {
  static readonly layer = Layer.effect(
    TestProvider,
    Effect.gen(function* () {
      let asked = 0
      let answer: Answer = "right"
      const makeKey = Effect.promise(() => generateKeyPair("RS256", { extractable: true }))
      let [number, pair] = [1, yield* makeKey]
      const server = createServer((request, response) => {
        const isDiscovery = request.url === "/realm/.well-known/openid-configuration"
        if (!isDiscovery && request.url !== "/realm/keys") return void response.writeHead(404).end()
        if (answer === "fails") return void response.writeHead(503).end()
        const send = (body: unknown) => response.setHeader("content-type", "application/json").end(JSON.stringify(body))
        if (isDiscovery) {
          const keys = answer === "foreign keys" ? "http://keys.example.com/keys" : `${issuer}/keys`
          return void send({ issuer: answer === "another issuer" ? "https://example.com" : issuer, jwks_uri: keys })
        }
        asked++
        void exportJWK(pair.publicKey).then((jwk) =>
          send({ keys: [{ ...jwk, kid: `key-${number}`, use: "sig", alg: "RS256" }] })
        )
      })
      const port = yield* Effect.acquireRelease(
        Effect.callback<number>((resume) => {
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
          })
        }),
        () => Effect.sync(() => (server.closeAllConnections(), server.close()))
      )
      const issuer = `http://127.0.0.1:${port}/realm`
      return TestProvider.of({
        issuer,
        asked: () => asked,
        answer: (how) => void (answer = how),
        rotate: Effect.map(makeKey, (made) => void ([number, pair] = [number + 1, made])),
        publicKey: () => pair.publicKey,
        token: (claims, header) =>
          Effect.promise(() => {
            const now = Math.floor(Date.now() / 1_000)
            const payload = { iss: issuer, aud: "argusiq", iat: now, exp: now + 600, ...claims }
            return new SignJWT(payload)
              .setProtectedHeader({ alg: "RS256", kid: `key-${number}`, typ: "JWT", ...header })
              .sign(pair.privateKey)
          })
      })
    })
  )
}
