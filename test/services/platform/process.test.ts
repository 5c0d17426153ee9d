import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { eventually, nodeBinary } from "../../support/PlatformProcess.ts"

const script = fileURLToPath(new URL("./slowToStop.ts", import.meta.url))

/** Starts a program that takes `seconds` to stop, and waits until it runs. */
const program = async (seconds: number) => {
  const child = spawn(nodeBinary, [script, String(seconds)], { stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()))
  const ended = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)))
  const says = (text: string) => eventually(`"${text}"`, 30, () => (output.includes(text) ? true : undefined))
  await says("running")
  return { child, ended, says, output: () => output }
}

describe.concurrent("a program that is told to stop", () => {
  it("releases what it holds and ends with exit code 0", async () => {
    const { child, ended, output } = await program(0.3)
    child.kill("SIGTERM")
    assert.strictEqual(await ended, 0)
    assert.include(output(), "stopping on SIGTERM")
    assert.include(output(), "stopped")
  })

  it("counts a signal that comes twice within a moment once", async () => {
    const { child, ended, says } = await program(1)
    child.kill("SIGINT")
    await says("stopping on SIGINT")
    child.kill("SIGINT")
    assert.strictEqual(await ended, 0)
  })

  it("ends at once on a second signal", async () => {
    const { child, ended, says, output } = await program(60)
    child.kill("SIGINT")
    await says("stopping on SIGINT")
    await sleep(2_000)
    child.kill("SIGINT")
    assert.strictEqual(await ended, 130)
    assert.include(output(), "Stopped at once")
  })

  it("ends with a warning and exit code 1 when stopping takes more than 10 s", async () => {
    const { child, ended, output } = await program(60)
    const began = performance.now()
    child.kill("SIGTERM")
    assert.strictEqual(await ended, 1)
    assert.isBelow(performance.now() - began, 20_000)
    assert.include(output(), "Not everything stopped within 10 s")
  })
})
