/**
 * Publishing in another process, which is killed as soon as its publish has completed.
 * @module
 */
import { type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { type BusSetup } from "./BusContract.ts"

const script = fileURLToPath(new URL("publishAndWait.ts", import.meta.url))

/** `where`: as publishAndWait.ts takes it. */
export const publishAndKill =
  (where: string, { partitions, topics }: Pick<BusSetup, "partitions" | "topics">) =>
  (records: ReadonlyArray<BusRecord>): Effect.Effect<void> =>
    Effect.callback((resume) => {
      const texts = records.map(({ value, ...record }) => ({ ...record, text: new TextDecoder().decode(value) }))
      const child = spawn(
        process.execPath,
        [script, where, JSON.stringify({ partitions, topics }), JSON.stringify(texts)],
        {
          stdio: ["ignore", "pipe", "inherit"]
        }
      )
      let killed = false
      child.stdout.on("data", (chunk: Buffer) => {
        if (!chunk.includes("published")) return
        killed = true
        child.kill("SIGKILL")
      })
      child.on("exit", () => resume(killed ? Effect.void : Effect.die("the publisher ended by itself")))
    })
