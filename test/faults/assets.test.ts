import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomInt } from "node:crypto"
import { TestDatabase, testDatabase } from "../support/postgres.ts"
import { randomFrom } from "../support/random.ts"
import type { DayPlan } from "./assetDay.ts"
import { places, runAssets } from "./assetRuns.ts"

const seed = Number(process.env["SEED"] ?? randomInt(2 ** 31))
const day: DayPlan = { seed, devices: 16, assets: 24, parents: 2, hours: 1.75, everySeconds: 20 }
const life = { saveMillis: 300, withinMillis: 90_000, maxRecords: 50 }
/** Of all places some, others each time; the long run takes all of them. */
const KILLS = 4
const PATIENCE = 300_000
const options = { excludeTestServices: true } as const

layer(testDatabase, options)("assets and alarms", (it) => {
  it.effect(
    "live, killed at any place, are those of a rebuild from nothing and of a backtest",
    () =>
      Effect.gen(function* () {
        const { pipeline: url } = yield* TestDatabase
        const random = randomFrom(seed)
        const kills = places
          .toSorted(() => random() - 0.5)
          .slice(0, KILLS)
          .map((place) => ({ place, times: 1 + Math.floor(random() * 4) }))
        const { doubles, faults, hits, live, sent } = yield* runAssets({ ...life, url, day, kills })
        const counts = Object.entries(live).map(([name, lines]) => `${lines.length} ${name}`)
        console.log(
          `seed ${seed}: ${sent} messages, ${doubles} of them twice, ${hits.size} kills, ${counts.join(", ")}`
        )
        assert.deepStrictEqual(faults, [], `seed ${seed}`)
        assert.isAtLeast(hits.size, KILLS - 1, `seed ${seed}: places at which it was killed`)
        assert.isAbove(live.alarms.length, 100, `seed ${seed}`)
      }),
    PATIENCE
  )
})

/** A process that ends as it would without kills: time has come to the end of its part of the day, and goes on where that is read. */
const pause = { place: "nowhere", times: 1 }

/** Small batches let disorder go across them; a pause in the day gives timers the time to go off. */
for (const [what, control, kills, maxRecords] of [
  ["with a horizon of zero", { horizonMicros: 0 }, [], 4],
  ["with timers that go by the wall clock", { wallClock: true }, [pause], 20]
] as const) {
  layer(testDatabase, options)(`assets and alarms ${what}`, (it) => {
    it.effect(
      "are others: the disorder is real",
      () =>
        Effect.gen(function* () {
          const { pipeline: url } = yield* TestDatabase
          const small = { ...day, devices: 8, assets: 8, parents: 1, hours: 0.4, everySeconds: 6 }
          const { faults } = yield* runAssets({ ...life, maxRecords, url, day: small, kills, control })
          assert.isNotEmpty(
            faults.filter((fault) => /^(backtested|alarms):/.test(fault)),
            `seed ${seed}: ${faults.join("; ")}`
          )
        }),
      PATIENCE
    )
  })
}
