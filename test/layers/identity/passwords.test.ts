import { generatePassword, passwordFault, Passwords } from "@argusiq/layers/identity/Passwords.ts"
import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"

it.effect("a password is right with its own hash only, and hashes of one password differ", () =>
  Effect.gen(function* () {
    const passwords = yield* Passwords
    const password = Redacted.make("correct horse battery")
    const [one, other] = [yield* passwords.hash(password), yield* passwords.hash(password)]
    assert.notStrictEqual(one, other)
    assert.match(one, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
    assert.isTrue(yield* passwords.verify(password, one))
    assert.isTrue(yield* passwords.verify(password, other))
    assert.isFalse(yield* passwords.verify(Redacted.make("correct horse batterx"), one))
  }).pipe(Effect.provide(Passwords.layer))
)

it.effect("composed and decomposed letters are the same password", () =>
  Effect.gen(function* () {
    const passwords = yield* Passwords
    const hash = yield* passwords.hash(Redacted.make("Gr\u00fc\u00dfe aus Bern"))
    assert.isTrue(yield* passwords.verify(Redacted.make("Gru\u0308\u00dfe aus Bern"), hash))
  }).pipe(Effect.provide(Passwords.layer))
)

it.effect("nobody's hash, an empty one and a broken one fit no password", () =>
  Effect.gen(function* () {
    const passwords = yield* Passwords
    for (const hash of [undefined, null, "", "$argon2id$v=19$m=19456,t=2,p=1$$", "secret"]) {
      assert.isFalse(yield* passwords.verify(Redacted.make("secret"), hash))
    }
  }).pipe(Effect.provide(Passwords.layer))
)

it("generated passwords are accepted and never the same", () => {
  const made = Array.from({ length: 200 }, generatePassword)
  assert.strictEqual(new Set(made).size, made.length)
  for (const password of made) assert.isUndefined(passwordFault(password, "admin@localhost"))
})

it("short, common and repeated passwords are refused with what is wrong", () => {
  for (const password of ["", "elevenchars", "Password1234", "zzzzzzzzzzzzzzzz", "someone@example.com"]) {
    assert.isDefined(passwordFault(password, "Someone@example.com"), password)
  }
})
