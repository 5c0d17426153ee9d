import { externalIdentity } from "@argusiq/domain/external-identity.ts"
import { slugOf } from "@argusiq/domain/slug.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"

const claims = { role: "roles", defaultRole: undefined, organization: undefined }
const token = { sub: "1", roles: ["viewer"], email: "Pia@Example.com", email_verified: true, name: "Pia" }
const identity = (payload: object, settings: object = {}) =>
  externalIdentity({ ...payload }, { ...claims, ...settings })
const succeeds = (payload: object, settings: object = {}) => Result.getOrThrow(identity(payload, settings))
const refusal = (payload: object, settings: object = {}) => {
  const result = identity(payload, settings)
  assert.isTrue(Result.isFailure(result))
  return Result.isFailure(result) ? result.failure.message : ""
}

describe("a provider's token", () => {
  it("names the role by a claim, a path, or a claim that looks like a path; the mightiest counts", () => {
    assert.strictEqual(succeeds({ ...token, roles: ["viewer", "admin", "x"] }).role, "admin")
    assert.strictEqual(succeeds({ ...token, roles: "technician" }).role, "technician")
    const realm = { ...token, realm_access: { roles: ["manager"] } }
    assert.strictEqual(succeeds(realm, { role: "realm_access.roles" }).role, "manager")
    const url = { ...token, "https://example.com/roles": ["engineer"] }
    assert.strictEqual(succeeds(url, { role: "https://example.com/roles" }).role, "engineer")
  })

  it("without a known role is refused, unless the claim is missing and there is a role for that", () => {
    assert.include(refusal({ ...token, roles: ["Admin"] }), '"Admin"')
    assert.include(refusal({ ...token, roles: [1, null, {}] }), "is missing")
    assert.include(refusal({ ...token, roles: ["owner"] }, { defaultRole: "viewer" }), '"owner"')
    assert.strictEqual(succeeds({ ...token, roles: undefined }, { defaultRole: "viewer" }).role, "viewer")
    for (const role of ["__proto__", "constructor", "roles.constructor", "sub.length"]) refusal(token, { role })
  })

  it("has an address only where the provider vouches for it, in lower case", () => {
    assert.strictEqual(succeeds(token).email, "pia@example.com")
    assert.strictEqual(succeeds({ ...token, email_verified: "true" }).email, "pia@example.com")
    assert.strictEqual(succeeds({ ...token, email_verified: undefined, xms_edov: 1 }).email, "pia@example.com")
    for (const email_verified of [undefined, false, "false", 0, "yes", {}]) {
      assert.isUndefined(succeeds({ ...token, email_verified }).email)
    }
    for (const email of ["none", "a b@c", "a@b\n", "@", 1, `${"a".repeat(300)}@b`]) {
      assert.isUndefined(succeeds({ ...token, email }).email, String(email))
    }
  })

  it("has a name in any case, and a subject that can be kept", () => {
    assert.strictEqual(succeeds({ ...token, name: " ", preferred_username: "pia" }).name, "pia")
    assert.strictEqual(succeeds({ ...token, name: "a\u0000b" }).name, "pia@example.com")
    assert.strictEqual(succeeds({ sub: "42", roles: "viewer" }).name, "42")
    for (const sub of ["a\u0000", "\ud800", "x".repeat(256), 7]) assert.include(refusal({ ...token, sub }), "sub")
  })

  it("names the organization where a claim is set for it", () => {
    assert.isUndefined(succeeds({ ...token, org: "acme" }).organization)
    assert.strictEqual(succeeds({ ...token, org: "acme" }, { organization: "org" }).organization, "acme")
    assert.isUndefined(succeeds({ ...token, org: "a\u0000" }, { organization: "org" }).organization)
  })
})

describe("a slug", () => {
  it("is lower-case letters, digits and single hyphens, whatever the name", () => {
    for (const name of ["Acme", "Zürich  Süd!", "--", "日本", "a".repeat(500), "É".repeat(80)]) {
      assert.match(slugOf(name, "01890a5d-ac96-774b-bcce-b302099a8057"), /^[a-z0-9]+(-[a-z0-9]+)*-9a8057$/, name)
      assert.isAtMost(slugOf(name, "01890a5d-ac96-774b-bcce-b302099a8057").length, 63)
    }
  })
})
