/**
 * Runs a script of the project on the project's own Node 24, installing packages first when they are missing or out of
 * date: `node scripts/run.mjs <script> [arguments]`. The script's path counts from the checkout.
 * @module
 */
import { spawn } from "node:child_process"
import { constants } from "node:os"
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { compileCache, ensureInstalled, projectNode, root } from "./install.mjs"

/** Runs the script until it ends, and ends this process with its exit code. */
export const run = (script, parameters, nodeFlags = [], nodeEnvironment = {}) => {
  ensureInstalled()
  const child = spawn(projectNode, [...nodeFlags, resolve(root, script), ...parameters], {
    stdio: "inherit",
    env: { NODE_COMPILE_CACHE: compileCache, ...nodeEnvironment, ...process.env }
  })
  const forwarded = new Set()
  let isTold = false
  const forward = (signal) => {
    isTold = true
    // Ctrl-C in a terminal reaches the whole process group, the child included: passing it on would count as a second one.
    if (signal === "SIGINT" && process.stdin.isTTY) return
    // npm passes on to us what its group has received too; a moment later it is a person insisting.
    if (forwarded.has(signal)) return
    forwarded.add(signal)
    setTimeout(() => forwarded.delete(signal), 500).unref()
    child.kill(signal)
  }
  // npm signals the shell between us, which may end without telling: then npm is on its way out, and so are we.
  if (process.env.npm_lifecycle_event !== undefined) {
    const parent = process.ppid
    const watch = setInterval(() => {
      if (process.ppid === parent) return
      clearInterval(watch)
      if (!isTold) forward("SIGTERM")
    }, 250)
    watch.unref()
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => forward(signal))
  child.on("error", (error) => {
    console.error(`Cannot run ${projectNode}: ${error.message}`)
    process.exit(1)
  })
  child.on("exit", (code, signal) => {
    process.exit(signal === null ? code : 128 + (constants.signals[signal] ?? 0))
  })
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [script, ...parameters] = process.argv.slice(2)
  if (script === undefined) {
    console.error("usage: node scripts/run.mjs <script> [arguments]")
    process.exit(2)
  }
  run(script, parameters)
}
