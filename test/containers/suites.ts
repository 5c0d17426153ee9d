/**
 * The integration suites of `npm test` on components in containers: those of test/required-suites.json that need a
 * component, and those of the tables on PostgreSQL.
 * @module
 */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { nodeBinary } from "../support/PlatformProcess.ts"
import { root } from "./images.ts"

interface Suite {
  readonly adapter: string
  readonly file: string
  readonly suite: string
}

/** Adapters without a component: what they run on is in the process. */
const inProcess = ["embedded log", "memory", "embedded PostgreSQL"]
/** Brokers that need settings of their own, which those in containers are not given. */
const withOwnSettings = ["Kafka with a login"]

/** Suites of the tables, by folder. */
const onPostgres = ["test/migrations", "test/layers/telemetry"]

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly message: string
    readonly assertionResults: ReadonlyArray<{
      readonly ancestorTitles: ReadonlyArray<string>
      readonly status: string
      readonly fullName: string
    }>
  }>
}

/** Installs Testcontainers when it is missing or not what the lock file says, and checks the types that depend on it. */
const provideTestcontainers = () => {
  const directory = join(root, "test/containers")
  const changedAt = (file: string) => statSync(join(directory, file), { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (changedAt("node_modules/.package-lock.json") < changedAt("package-lock.json")) {
    const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    execFileSync("npm", ["ci", ...options], { cwd: directory, stdio: "inherit" })
  }
  execFileSync(nodeBinary, [join(root, "node_modules/typescript/bin/tsc"), "-p", directory], { stdio: "inherit" })
}

const removeLeftContainers = (label: string) => {
  const ids = execFileSync("docker", ["ps", "--all", "--quiet", "--filter", `label=${label}`], { encoding: "utf8" })
  const left = ids.split("\n").filter((id) => id !== "")
  if (left.length > 0) execFileSync("docker", ["rm", "--force", "--volumes", ...left], { stdio: "ignore" })
}

const fileOf = (name: string) => name.slice(root.length)

/** One line for each suite and adapter. A listed suite of which no test has passed makes it false. */
const tell = ({ testResults }: Report, required: ReadonlyArray<Suite>): boolean => {
  let complete = true
  console.log("\n| suite | adapter | passed | failed | skipped |\n|---|---|---|---|---|")
  const line = (suite: string, adapter: string, statuses: ReadonlyArray<string>) => {
    const passed = statuses.filter((status) => status === "passed").length
    const failed = statuses.filter((status) => status === "failed").length
    console.log(`| ${suite} | ${adapter} | ${passed} | ${failed} | ${statuses.length - passed - failed} |`)
  }
  const told = new Set<string>()
  const results = (file: string) => testResults.find(({ name }) => fileOf(name) === file)?.assertionResults ?? []
  for (const { adapter, file, suite } of required) {
    const tests = results(file).filter(({ ancestorTitles }) => ancestorTitles[0] === suite)
    if (!tests.some(({ status }) => status === "passed")) complete = false
    line(
      suite,
      adapter,
      tests.map(({ status }) => status)
    )
    for (const { fullName } of tests) told.add(`${file} ${fullName}`)
  }
  for (const { name } of testResults) {
    const file = fileOf(name)
    const tests = results(file).filter(({ fullName }) => !told.has(`${file} ${fullName}`))
    if (tests.length > 0)
      line(
        `the others of ${file}`,
        "",
        tests.map(({ status }) => status)
      )
  }
  return complete
}

/** Whether every test has passed, and some of every listed suite. */
export const runSuites = (): boolean => {
  provideTestcontainers()
  const all = JSON.parse(readFileSync(join(root, "test/required-suites.json"), "utf8")) as ReadonlyArray<Suite>
  const required = all.filter(({ adapter }) => ![...inProcess, ...withOwnSettings].includes(adapter))
  const files = [...new Set(required.map(({ file }) => file)), ...onPostgres]
  const directory = mkdtempSync(join(tmpdir(), "argusiq-suites-"))
  const report = join(directory, "report.json")
  const run = `argusiq-${process.pid}`
  try {
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`]
    const times = ["--testTimeout=60000", "--hookTimeout=120000"]
    const { status } = spawnSync(
      nodeBinary,
      [join(root, "node_modules/vitest/vitest.mjs"), "run", "--silent=passed-only", ...times, ...reporters, ...files],
      {
        cwd: root,
        stdio: "inherit",
        env: {
          ...process.env,
          TEST_COMPONENTS: new URL("containers.ts", import.meta.url).href,
          TEST_RUN: run,
          // This removes its containers itself; the daemon is this machine's.
          TESTCONTAINERS_RYUK_DISABLED: "true",
          TESTCONTAINERS_HOST_OVERRIDE: "127.0.0.1"
        }
      }
    )
    return tell(JSON.parse(readFileSync(report, "utf8")) as Report, required) && status === 0
  } finally {
    removeLeftContainers(`argusiq-test-run=${run}`)
    rmSync(directory, { recursive: true, force: true })
  }
}
