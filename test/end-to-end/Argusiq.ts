/**
 * The `argusiq` command in a process of its own.
 * @module
 */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { nodeBinary } from "../support/PlatformProcess.ts"

const main = join(fileURLToPath(new URL("../..", import.meta.url)), "services/platform/main.ts")

export interface Ended {
  readonly code: number | null
  readonly output: string
  readonly errors: string
}

export interface Running {
  readonly output: () => string
  readonly signal: (signal: NodeJS.Signals) => void
  readonly ended: Promise<Ended>
}

/** Starts the command. Nothing of the surroundings reaches it but PATH and what `env` gives. */
export const startArgusiq = (parameters: ReadonlyArray<string>, env: Readonly<Record<string, string>>): Running => {
  const child = spawn(nodeBinary, [main, ...parameters], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", ...env }
  })
  let output = ""
  let errors = ""
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()))
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, output, errors }))
  })
  return { output: () => output, signal: (signal) => child.kill(signal), ended }
}

/** Runs the command to its end. */
export const argusiq = (parameters: ReadonlyArray<string>, env: Readonly<Record<string, string>>): Promise<Ended> =>
  startArgusiq(parameters, env).ended
