import { assert, it } from "@effect/vitest"
import { spotless } from "./ledger.ts"
import { runKills } from "./kills.ts"

it("loses, doubles and reorders nothing when platform and PostgreSQL are killed under load", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  console.log(`seed ${seed} (SEED=${seed} repeats it)`)
  const report = await runKills({
    kills: 4,
    seed,
    devices: 50,
    messagesPerSecond: 2_000,
    lifeMillis: [500, 2_000],
    victims: ["platform", "postgres", "both"]
  })
  assert.deepStrictEqual(report.verdict, spotless)
  assert.isAtLeast(report.stored, report.acknowledged)
  // A hundredth of a second's: a platform that is quick has little under way.
  for (const kill of report.kills) assert.isAtLeast(kill.notStored, 20)
}, 240_000)
