/**
 * What a merge must pass, from nothing: install, format, lint (import directions included), types, every test, and among
 * them every suite that `test/required-suites.json` lists. The last line printed is `N passed, N failed`, with `, N skipped`
 * when tests were skipped, which counts as a failure here.
 * @module
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { compileCache, projectNode, root } from "./install.mjs"

const failures = []

/** Runs one check to its end and remembers whether it failed; later checks run all the same. */
const check = (name, command, parameters) => {
  const started = Date.now()
  console.log(`\n== ${name}`)
  const { status, error } = spawnSync(command, parameters, {
    cwd: root,
    stdio: "inherit",
    env: { NODE_COMPILE_CACHE: compileCache, ...process.env }
  })
  const passed = status === 0
  if (error !== undefined) console.error(error.message)
  if (!passed) failures.push(name)
  console.log(`== ${name}: ${passed ? "passed" : "FAILED"} in ${((Date.now() - started) / 1000).toFixed(1)} s`)
  return passed
}

const onProjectNode = (name, script, ...parameters) =>
  check(name, projectNode, [join("node_modules", script), ...parameters])

/** The listed suites, each on one adapter, of which no test has passed. */
const suitesNotRun = (testResults) => {
  const required = JSON.parse(readFileSync(join(root, "test/required-suites.json"), "utf8"))
  return required.filter(({ file, suite }) => {
    const results = testResults.find(({ name }) => name === join(root, file))?.assertionResults ?? []
    return !results.some(({ ancestorTitles, status }) => status === "passed" && ancestorTitles[0] === suite)
  })
}

const countTests = (report) => {
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
      readFileSync(report, "utf8")
    )
    for (const { adapter, file, suite } of suitesNotRun(testResults)) {
      failures.push(`${suite}, on ${adapter} (${file}), has not run`)
    }
    // A file that cannot be loaded has no tests of its own to fail.
    const brokenFiles = testResults.filter(
      (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed")
    ).length
    return { passed: numPassedTests, failed: numFailedTests + brokenFiles, skipped: numPendingTests + numTodoTests }
  } catch (error) {
    console.error(`No test report: ${error.message}`)
    return { passed: 0, failed: 1, skipped: 0 }
  }
}

const runTests = () => {
  const directory = mkdtempSync(join(tmpdir(), "argusiq-ci-"))
  const report = join(directory, "report.json")
  try {
    onProjectNode(
      "tests",
      "vitest/vitest.mjs",
      "run",
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`
    )
    return countTests(report)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const checkAll = () => {
  if (!check("install", "npm", ["ci", "--no-audit", "--no-fund"])) return { passed: 0, failed: 0, skipped: 0 }
  onProjectNode("format", "oxfmt/bin/oxfmt", "--check")
  onProjectNode("lint", "oxlint/bin/oxlint", "--deny-warnings")
  onProjectNode("types", "typescript/bin/tsc", "-p", ".")
  return runTests()
}

const { passed, failed, skipped } = checkAll()
const otherFailures = failures.filter((name) => name !== "tests" || failed === 0)
const totalFailed = failed + otherFailures.length
if (failures.length > 0) console.error(`\nFailed:\n${failures.join("\n")}`)
console.log(`${passed} passed, ${totalFailed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`)
process.exit(totalFailed > 0 || skipped > 0 ? 1 : 0)
