import { providerConfig } from "@argusiq/layers/identity/ExternalTokens.ts"
import { assert, it } from "@effect/vitest"
import { ConfigProvider, Effect } from "effect"

const configured = (environment: Readonly<Record<string, string>>) =>
  providerConfig.pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment))))
const issuer = "https://login.example.com"

it.effect("without an issuer there is no identity provider, whatever else is set", () =>
  Effect.gen(function* () {
    assert.isUndefined(yield* configured({}))
    assert.isUndefined(yield* configured({ OIDC_AUDIENCE: "a", OIDC_ORGANIZATION_ID: "acme" }))
  })
)

it.effect("an issuer needs an audience and an organization, by name or by claim; the rest has defaults", () =>
  Effect.gen(function* () {
    const set = { OIDC_ISSUER: issuer, OIDC_AUDIENCE: "a", OIDC_ORGANIZATION_ID: "acme" }
    assert.deepStrictEqual(yield* configured(set), {
      issuer,
      audience: "a",
      roleClaim: "roles",
      defaultRole: undefined,
      organizationClaim: undefined,
      organizationId: "acme"
    })
    yield* configured({ OIDC_ISSUER: issuer, OIDC_AUDIENCE: "a", OIDC_ORGANIZATION_CLAIM: "org" })
    for (const [missing, environment] of [
      ["OIDC_AUDIENCE", { OIDC_ISSUER: issuer, OIDC_ORGANIZATION_ID: "acme" }],
      ["OIDC_ORGANIZATION_ID", { OIDC_ISSUER: issuer, OIDC_AUDIENCE: "a" }],
      ["OIDC_DEFAULT_ROLE", { ...set, OIDC_DEFAULT_ROLE: "platform_admin" }],
      ["OIDC_ISSUER", { ...set, OIDC_ISSUER: "http://login.example.com" }]
    ] as const) {
      const error = yield* Effect.flip(configured(environment))
      assert.include(String(error), missing)
    }
  })
)
