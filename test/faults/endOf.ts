import { Effect } from "effect"
import { spawn } from "node:child_process"
import { nodeBinary } from "../support/PlatformProcess.ts"

/** Runs a program that is killed, and ends with how it ended: the signal, or the exit code in words. */
export const endOf = (program: string, parameters: ReadonlyArray<string>) =>
  Effect.callback<string>((resume) => {
    const child = spawn(nodeBinary, [program, ...parameters], { stdio: ["ignore", "ignore", "inherit"] })
    child.on("exit", (code, signal) => resume(Effect.succeed(signal ?? `exit code ${code}`)))
    return Effect.sync(() => void child.kill("SIGKILL"))
  })
