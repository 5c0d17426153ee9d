/**
 * Exit code 0 when the platform of this container is ready, else 1 with the reason. It asks where the platform wrote down
 * that it listens.
 * @module
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"

try {
  const record = JSON.parse(readFileSync(join(process.env.ARGUSIQ_DATA_DIR ?? "./data", "platform.json"), "utf8"))
  const answer = await fetch(`${record.metrics ?? record.http}/ready`, { signal: AbortSignal.timeout(4_000) })
  process.stdout.write(await answer.text())
  process.exitCode = answer.ok ? 0 : 1
} catch (error) {
  process.stdout.write(`The platform does not answer: ${error.message}`)
  process.exitCode = 1
}
