/**
 * Brings `node_modules` to what `package-lock.json` asks for, and says which Node runs the project.
 * Plain JavaScript without dependencies: it runs on whatever Node the machine has.
 * @module
 */
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"

/** The checkout. */
export const root = resolve(fileURLToPath(new URL("..", import.meta.url)))

const oldestNode = 20

/** The Node that the project brings along (npm package `node`). */
export const projectNode = join(root, "node_modules", ".bin", process.platform === "win32" ? "node.cmd" : "node")

/** Where Node keeps what it has compiled for the next start, also of a process's own children: a third of a start's work. */
export const compileCache = join(root, "node_modules", ".cache", "node")

const packagesOf = (path) => JSON.parse(readFileSync(path, "utf8")).packages

/** Whether every package of the lock file stands in `node_modules` in its version. Packages for other platforms may be absent. */
export const isInstalled = (directory = root) => {
  const installed = join(directory, "node_modules", ".package-lock.json")
  if (!existsSync(installed)) return false
  const have = packagesOf(installed)
  const wanted = packagesOf(join(directory, "package-lock.json"))
  const withoutDev = process.env.NODE_ENV === "production"
  return Object.entries(wanted).every(([path, wants]) => {
    if (!path.includes("node_modules/") || wants.optional || (withoutDev && wants.dev)) return true
    return wants.link ? have[path]?.link === true : have[path]?.version === wants.version
  })
}

/** Ends the process with one clear sentence when the machine's Node is too old. */
const requireNode = () => {
  const major = Number(process.versions.node.split(".")[0])
  if (major < oldestNode) {
    exit(`Node ${oldestNode} or later is needed; this is Node ${process.versions.node}. See https://nodejs.org.`)
  }
}

const exit = (message) => {
  console.error(message)
  process.exit(1)
}

/** `npm ci`, with npm's own output. */
const install = () => {
  const started = Date.now()
  console.log("Installing packages (npm ci) …")
  // Under `npm start` the npm at hand is the one that was called, wherever PATH points.
  const npm = process.env.npm_execpath
  const [command, ...first] = npm !== undefined && /npm-cli\.c?js$/.test(npm) ? [process.execPath, npm] : ["npm"]
  const result = spawnSync(command, [...first, "ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    stdio: "inherit"
  })
  if (result.error?.code === "ENOENT") exit("npm was not found. It comes with Node: see https://nodejs.org.")
  if (result.signal !== null) process.exit(130)
  if (result.status !== 0) exit("npm ci failed; its output above says why. Nothing was started.")
  if (!existsSync(projectNode)) {
    exit(
      "npm ci did not install Node 24 (npm package `node`): its install script did not run. " +
        "Allow install scripts (npm config get ignore-scripts must say false) and start again."
    )
  }
  console.log(`Installed in ${((Date.now() - started) / 1000).toFixed(0)} s.`)
}

/** Installs only when something is missing. */
export const ensureInstalled = () => {
  requireNode()
  if (!isInstalled() || !existsSync(projectNode)) install()
}
