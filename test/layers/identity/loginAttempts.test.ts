import { LoginAttempts } from "@argusiq/layers/identity/LoginAttempts.ts"
import { assert, it } from "@effect/vitest"

const minute = 60_000

it("ten failures from one address close an account to that address for the rest of 15 minutes, and to nobody else", () => {
  const attempts = new LoginAttempts()
  for (let failure = 0; failure < 10; failure++) assert.isUndefined(attempts.begin("a@b", "1.1.1.1", failure * minute))
  assert.strictEqual(attempts.begin("A@B", "1.1.1.1", 10 * minute), 5 * 60)
  assert.isUndefined(attempts.begin("a@b", "2.2.2.2", 10 * minute))
  assert.isUndefined(attempts.begin("c@d", "1.1.1.1", 10 * minute))
  assert.isUndefined(attempts.begin("a@b", "1.1.1.1", 15 * minute))
})

it("one address may fail a hundred times in all, whatever the accounts", () => {
  const attempts = new LoginAttempts()
  for (let failure = 0; failure < 100; failure++) assert.isUndefined(attempts.begin(`user${failure}`, "1.1.1.1", 0))
  assert.strictEqual(attempts.begin("another", "1.1.1.1", 0), 15 * 60)
})

it("one account may fail a hundred times in all, whatever the addresses", () => {
  const attempts = new LoginAttempts()
  for (let failure = 0; failure < 100; failure++) assert.isUndefined(attempts.begin("a@b", `10.0.0.${failure}`, 0))
  assert.isDefined(attempts.begin("a@b", "10.0.1.1", 0))
})

it("attempts that are withdrawn, since they succeeded, are not counted", () => {
  const attempts = new LoginAttempts()
  for (let login = 0; login < 1_000; login++) {
    assert.isUndefined(attempts.begin("a@b", "1.1.1.1", login))
    attempts.withdraw("a@b", "1.1.1.1")
  }
})

it("a refused attempt does not prolong the wait", () => {
  const attempts = new LoginAttempts()
  for (let failure = 0; failure < 10; failure++) attempts.begin("a@b", "1.1.1.1", 0)
  for (let refused = 0; refused < 1_000; refused++) attempts.begin("a@b", "1.1.1.1", 14 * minute)
  assert.isUndefined(attempts.begin("a@b", "1.1.1.1", 15 * minute))
})
