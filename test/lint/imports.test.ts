import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

const forbidden = {
  "domain takes from layers by name": ["domain/a.ts", "@argusiq/layers/bus/Bus.ts"],
  "domain takes from a service by name": ["domain/a.ts", "@argusiq/bridge/Ingest.ts"],
  "domain takes from layers by path": ["domain/a.ts", "../layers/bus/Bus.ts"],
  "a nested domain file escapes by path": ["domain/http/a.ts", "../../layers/bus/Bus.ts"],
  "a nested domain file escapes through its own folder": ["domain/http/a.ts", "./../../services/api/routes.ts"],
  "domain reads files": ["domain/a.ts", "node:fs"],
  "domain uses a platform package": ["domain/a.ts", "@effect/platform-node"],
  "domain uses a database driver": ["domain/a.ts", "@effect/sql-pg"],
  "domain uses an undeclared package": ["domain/a.ts", "mqtt"],
  "domain names itself": ["domain/a.ts", "@argusiq/domain/ids.ts"],
  "layers take from a service by name": ["layers/bus/a.ts", "@argusiq/api/routes.ts"],
  "layers take from a service by path": ["layers/bus/a.ts", "../../services/api/routes.ts"],
  "layers reach the domain by path": ["layers/bus/a.ts", "../../domain/ids.ts"],
  "a service takes from another by name": ["services/api/a.ts", "@argusiq/bridge/Ingest.ts"],
  "a service takes from another by path": ["services/api/a.ts", "../bridge/Ingest.ts"],
  "a nested service file takes from another by path": ["services/api/http/a.ts", "../../bridge/Ingest.ts"],
  "a service reaches layers by path": ["services/api/a.ts", "../../layers/bus/Bus.ts"],
  "a nested service file reaches layers by path": ["services/api/http/a.ts", "../../../layers/bus/Bus.ts"],
  "the domain takes from the client": ["domain/a.ts", "@argusiq/client/ArgusIq.ts"],
  "layers take from the client": ["layers/bus/a.ts", "@argusiq/client/ArgusIq.ts"],
  "a service takes from the client": ["services/api/a.ts", "@argusiq/client/ArgusIq.ts"],
  "the client takes from layers": ["client/a.ts", "@argusiq/layers/bus/Bus.ts"],
  "the client takes from a service": ["client/a.ts", "@argusiq/api/routes.ts"],
  "the client reaches the domain by path": ["client/a.ts", "../domain/ids.ts"],
  "a service takes from platform": ["services/api/a.ts", "@argusiq/platform/main.ts"],
  "platform reaches a service by path": ["services/platform/a.ts", "../api/routes.ts"]
} as const

const allowed = {
  "domain uses effect": ["domain/a.ts", "effect/http-api"],
  "domain hashes": ["domain/a.ts", "node:crypto"],
  "domain takes from itself": ["domain/http/a.ts", "../ids.ts"],
  "layers take from the domain": ["layers/bus/a.ts", "@argusiq/domain/ids.ts"],
  "layers take from one another": ["layers/bus/a.ts", "../database/Sql.ts"],
  "a service takes from domain and layers": ["services/api/a.ts", "@argusiq/layers/bus/Bus.ts"],
  "platform takes from a service by name": ["services/platform/a.ts", "@argusiq/api/routes.ts"],
  "the client takes from the domain": ["client/a.ts", "@argusiq/domain/http/rest.ts"],
  "platform takes from the client": ["services/platform/a.ts", "@argusiq/client/ArgusIq.ts"],
  "a test takes from the client": ["test/a.test.ts", "@argusiq/client/ArgusIq.ts"],
  "a test takes from anywhere": ["test/a.test.ts", "@argusiq/api/routes.ts"]
} as const

/** Each way in which one file can depend on another. */
const forms = {
  import: (specifier: string) => `import { x } from "${specifier}"\nexport const y = x\n`,
  "import type": (specifier: string) => `import { type X } from "${specifier}"\nexport type Y = X\n`,
  "export from": (specifier: string) => `export { x } from "${specifier}"\n`,
  "export all": (specifier: string) => `export * from "${specifier}"\n`,
  "dynamic import": (specifier: string) => `export const x = () => import("${specifier}")\n`
}

interface Report {
  readonly diagnostics: ReadonlyArray<{ readonly code: string; readonly filename: string; readonly message: string }>
}

/** Lints one file per case and form in a copy of the checkout; the files that the import rule refuses. */
const lint = (cases: Readonly<Record<string, readonly [path: string, specifier: string]>>) => {
  const directory = mkdtempSync(join(tmpdir(), "argusiq-lint-"))
  try {
    cpSync(join(root, ".oxlintrc.json"), join(directory, ".oxlintrc.json"))
    cpSync(join(root, "scripts/lint"), join(directory, "scripts/lint"), { recursive: true })
    const files = Object.entries(cases).flatMap(([name, [path, specifier]], index) =>
      Object.entries(forms).map(([form, write], formIndex) => {
        const file = path.replace(/a(\.test)?\.ts$/, `case${index}form${formIndex}$1.ts`)
        mkdirSync(dirname(join(directory, file)), { recursive: true })
        writeFileSync(join(directory, file), write(specifier))
        return { name: `${name} (${form})`, file }
      })
    )
    const { stdout } = spawnSync(process.execPath, [join(root, "node_modules/oxlint/bin/oxlint"), "--format", "json"], {
      cwd: directory,
      encoding: "utf8"
    })
    const report = JSON.parse(stdout) as Report
    const refused = new Set(
      report.diagnostics
        .filter((diagnostic) => diagnostic.code === "argusiq(import-directions)")
        .map((diagnostic) => diagnostic.filename)
    )
    return files.map(({ name, file }) => ({ name, refused: refused.has(file) }))
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

describe("the direction of imports", () => {
  it("fails the lint for every forbidden import, in each of its forms", () => {
    assert.deepStrictEqual(
      lint(forbidden).filter((result) => !result.refused),
      []
    )
  })

  it("lets every permitted import pass", () => {
    assert.deepStrictEqual(
      lint(allowed).filter((result) => result.refused),
      []
    )
  })
})
