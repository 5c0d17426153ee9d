/**
 * Requests made up from the published contract, sent to a running platform: `npm run test:fuzz [-- options of schemathesis]`.
 * Fails on every answer above 499, and on every answer that the contract does not document by status, content type and shape.
 * Needs Python 3; schemathesis is installed into `.tmp/` once. SEED, EXAMPLES (per operation) and PHASES may be set.
 * @module
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { demoOrganizationId } from "../../services/platform/demo.ts"
import { nodeEnvironment, nodeFlags } from "../../services/platform/nodeFlags.mjs"
import { nodeBinary, PlatformProcess } from "../support/PlatformProcess.ts"

const VERSION = "4.32.5"
const root = fileURLToPath(new URL("../..", import.meta.url))
const { EXAMPLES = "15", PHASES = "examples,coverage,fuzzing,stateful", SEED = "1", SCHEMATHESIS } = process.env

const run = (
  command: string,
  parameters: ReadonlyArray<string>,
  { cwd = root, env = {} }: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {}
) => {
  const { error, status } = spawnSync(command, parameters, {
    cwd,
    stdio: "inherit",
    env: { ...process.env, ...env }
  })
  if (error !== undefined) throw new Error(`${command} cannot be run: ${error.message}`)
  return status ?? 1
}

/** What schemathesis leaves lies here. */
const scratch = join(root, ".tmp")

/** Where schemathesis is, installed where it is missing. */
const schemathesis = (): string => {
  mkdirSync(scratch, { recursive: true })
  if (SCHEMATHESIS !== undefined) return SCHEMATHESIS
  const environment = join(scratch, `schemathesis-${VERSION}`)
  const binary = join(environment, "bin", "schemathesis")
  if (!existsSync(binary)) {
    const isInstalled =
      run("python3", ["-m", "venv", environment]) === 0 &&
      run(join(environment, "bin", "pip"), ["install", "--quiet", `schemathesis==${VERSION}`]) === 0
    if (!isInstalled) throw new Error(`schemathesis ${VERSION} cannot be installed: see above`)
  }
  return binary
}

const checks = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_schema_conformance",
  "ignored_auth"
]

const binary = schemathesis()
const platform = await PlatformProcess.prepare({ env: { LOG_LEVEL: "Warn" } })
let failed = true
try {
  await platform.start()
  const env = { ...nodeEnvironment, ARGUSIQ_DATA_DIR: platform.dataDirectory }
  run(nodeBinary, [...nodeFlags, "services/platform/main.ts", "seed"], { env })
  const token = readFileSync(join(platform.dataDirectory, "cli-token"), "utf8").trim()
  const status = run(
    binary,
    [
      "run",
      `${platform.url}/openapi.json`,
      "--header",
      `Authorization: Bearer ${token}`,
      "--header",
      `X-Organization-Id: ${demoOrganizationId}`,
      "--checks",
      checks.join(),
      "--phases",
      PHASES,
      "--max-examples",
      EXAMPLES,
      "--seed",
      SEED,
      "--generation-database",
      "none",
      "--request-timeout",
      "30",
      "--warnings",
      "off",
      "--continue-on-failure",
      ...process.argv.slice(2)
    ],
    { cwd: scratch }
  )
  failed = status !== 0
  if (!platform.isRunning) console.error(`The platform ended:\n${platform.log().slice(-4_000)}`)
} finally {
  if (failed) console.error(`The platform's log:\n${platform.log().slice(-8_000)}`)
  await platform.dispose()
}
process.exit(failed ? 1 : 0)
