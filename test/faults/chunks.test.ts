import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { freshDirectory } from "../layers/bus/ConsumerWorld.ts"
import { TestDatabase, testDatabase } from "../support/postgres.ts"
import { runChunkKills } from "./chunks.ts"

layer(testDatabase, { excludeTestServices: true })("a chunker that is killed at any place", (it) => {
  it.effect(
    "completes each message once or fails it once, and no child is lost or doubled",
    () =>
      Effect.gen(function* () {
        const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000)
        console.log(`seed ${seed} (SEED=${seed} repeats it)`)
        const { pipeline } = yield* TestDatabase
        const report = yield* runChunkKills({
          places: ["storing", "claimed", "committed", "published", "expired", "buried"],
          seed,
          directory: yield* freshDirectory,
          pipelineUrl: pipeline
        })
        assert.deepStrictEqual(report.faults, [])
        assert.strictEqual(report.hits.size, 6)
        assert.isAbove(report.completed, 20)
        assert.isAbove(report.failed, 20)
      }),
    180_000
  )
})
