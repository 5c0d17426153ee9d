import { settings, wrongSettings, describeSettings } from "@argusiq/platform/settings.ts"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const withEnvironment = (env: Record<string, string>) =>
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))

const sources = (directory: string): ReadonlyArray<string> =>
  readdirSync(join(root, directory), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !path.includes("node_modules"))
    .map((path) => readFileSync(join(root, directory, path), "utf8"))

describe("the settings", () => {
  it.effect("need nothing set", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* wrongSettings, [])
    }).pipe(withEnvironment({}))
  )

  it.effect("count an empty variable as not set", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* wrongSettings, [])
    }).pipe(withEnvironment({ HTTP_PORT: "", KAFKA_BROKERS: "", ARGUSIQ_ADMIN_PASSWORD: "" }))
  )

  it.effect("that are wrong are each named with their value and what is allowed", () =>
    Effect.gen(function* () {
      const lines = yield* wrongSettings
      assert.strictEqual(lines.length, 3)
      assert.match(lines[0] ?? "", /^ARGUSIQ_SERVICES=bridge,kitchen is wrong\. Allowed: any of bridge, /)
      assert.match(lines[1] ?? "", /^HTTP_PORT=70000 is wrong\. Allowed: a port from 1 to 65535\./)
      assert.match(lines[2] ?? "", /^LOG_FORMAT=xml is wrong\. Allowed: pretty or json\./)
    }).pipe(withEnvironment({ HTTP_PORT: "70000", LOG_FORMAT: "xml", ARGUSIQ_SERVICES: "bridge,kitchen" }))
  )

  it.effect("that are secret are not shown when they are wrong", () =>
    Effect.gen(function* () {
      const [line, ...others] = yield* wrongSettings
      assert.deepStrictEqual(others, [])
      assert.match(line ?? "", /^ARGUSIQ_ADMIN_PASSWORD is wrong/)
      assert.notInclude(line ?? "", "hunter2")
    }).pipe(withEnvironment({ ARGUSIQ_ADMIN_PASSWORD: "hunter2" }))
  )

  it.effect("are described as they are set, secrets redacted", () =>
    Effect.gen(function* () {
      const described = (yield* describeSettings).join(" ")
      assert.include(described, "HTTP_PORT=3001")
      assert.include(described, "DATABASE_URL=<redacted>")
      assert.notInclude(described, "secret")
    }).pipe(withEnvironment({ HTTP_PORT: "3001", DATABASE_URL: "postgres://a:secret@h:5432/d" }))
  )

  it("are all in the table that is checked at start", () => {
    const readers = [...sources("layers"), ...sources("services")].filter((text) => text.includes("Config."))
    const names = new Set(
      readers.flatMap((text) => [...text.matchAll(/"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"/g)].map((match) => match[1]))
    )
    const elsewhere = ["PG_VERSION", "NODE_ENV"]
    const table = new Set([...settings.map(({ name }) => name), ...elsewhere])
    assert.deepStrictEqual(
      [...names].filter((name) => name !== undefined && !table.has(name)),
      []
    )
  })
})
