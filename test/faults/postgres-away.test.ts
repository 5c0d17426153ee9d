import { assert, it } from "@effect/vitest"
import { MAX_RSS_ANON_BYTES } from "./memory.ts"
import { spotless } from "./ledger.ts"
import { runPostgresAway } from "./postgresAway.ts"

it("devices stay acknowledged while PostgreSQL is away for 10 s, and afterwards everything is stored once", async () => {
  const seconds = 10
  const messagesPerSecond = 500
  const report = await runPostgresAway({ how: "stopped", seconds, devices: 20, messagesPerSecond })
  console.log(report)
  assert.deepStrictEqual(report.verdict, spotless)
  assert.isAbove(report.acknowledgedMeanwhile, (seconds * messagesPerSecond) / 2)
  assert.isBelow(report.peakRssAnonBytes, MAX_RSS_ANON_BYTES)
}, 180_000)
