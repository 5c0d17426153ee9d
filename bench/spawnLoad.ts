import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { nodeBinary } from "../test/support/PlatformProcess.ts"
import { type LoadPlan, type LoadResult } from "./load.ts"

const script = fileURLToPath(new URL("load.ts", import.meta.url))

/** Runs the load generator in a process of its own until every message is acknowledged; `started` is told its process id. */
export const spawnLoad = async (plan: LoadPlan, started?: (pid: number) => void): Promise<LoadResult> => {
  const directory = mkdtempSync(join(tmpdir(), "argusiq-load-"))
  const file = join(directory, "plan.json")
  writeFileSync(file, JSON.stringify(plan))
  try {
    return await new Promise((resolve, reject) => {
      const child = spawn(nodeBinary, [script, file], { stdio: ["ignore", "pipe", "inherit"] })
      if (child.pid !== undefined) started?.(child.pid)
      const end = () => child.kill()
      process.once("exit", end)
      let output = ""
      child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
      child.on("error", reject)
      child.on("exit", (code, signal) => {
        process.off("exit", end)
        const line = output.trim().split("\n").at(-1) ?? ""
        if (code === 0 && line !== "") resolve(JSON.parse(line))
        else reject(new Error(`the load generator ended: ${signal ?? `exit code ${code}`}`))
      })
    })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
