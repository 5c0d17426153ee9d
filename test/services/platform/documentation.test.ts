import { assert, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { settings } from "../../../services/platform/settings.ts"

it("every setting is described in docs/setup.md as the platform itself describes it", () => {
  const document = readFileSync(new URL("../../../docs/setup.md", import.meta.url), "utf8")
  const missing = settings
    .map(({ allowed, name, unset }) => `| \`${name}\` | ${allowed} | ${unset} |`)
    .filter((line) => !document.includes(line))
  assert.deepStrictEqual(missing, [])
})
