import { isCommonPassword } from "@argusiq/layers/identity/commonPasswords.ts"
import { generatePassword } from "@argusiq/layers/identity/Passwords.ts"
import { assert, it } from "@effect/vitest"

const common = [
  "123456789012",
  "098765432109",
  "111111111111",
  "123123123123",
  "abcabcabcabc",
  "abcdefghijkl",
  "qwertyuiopas",
  "qwertyuiop123",
  "1q2w3e4r5t6y",
  "zxcvbnm12345",
  "asdfghjkl123",
  "password1234",
  "Password123!",
  "P@ssw0rd2024",
  "p@$$w0rd1234!",
  "1234password",
  "passwordpassword",
  "administrator",
  "adminadminadmin",
  "Admin@1234567",
  "Welcome@12345",
  "qwerty123456",
  "changeme!2026",
  "letmeinletmein",
  "iloveyou1234",
  "sunshine2024!",
  "pakistan123456",
  "theworldinyourhand",
  "argusiq12345"
]
const uncommon = [
  "correct horse battery",
  "a password of my own",
  "four words that nobody guesses",
  "tB7#kQz9-mLp2",
  "Grüße aus Bern",
  "violin under the stairs",
  "admin of the blue house",
  "日本語のパスワードです。長い",
  "hunter of dragons 9"
]

it("a common word with digits and signs around it, spelled with signs or repeated, and runs of keys are common", () => {
  for (const password of common) assert.isTrue(isCommonPassword(password), password)
})

it("several words, random characters and other languages are not, nor is anything that the platform makes", () => {
  for (const password of uncommon) assert.isFalse(isCommonPassword(password), password)
  for (let made = 0; made < 2_000; made++) {
    const password = generatePassword()
    assert.isFalse(isCommonPassword(password), password)
  }
})
