/**
 * The long runs of assets: a whole day of two hundred of them, and kills at every place again and again, on a PostgreSQL of their
 * own.
 * @module
 */
import * as EmbeddedPostgres from "@argusiq/layers/database/EmbeddedPostgres.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { Effect, Redacted } from "effect"
import { freshDatabase } from "../../../bench/database.ts"
import { randomFrom } from "../../support/random.ts"
import type { DayPlan } from "../assetDay.ts"
import { places, runAssets } from "../assetRuns.ts"
import { atLeast, type Outcome } from "./outcome.ts"

interface AssetsPlan extends Omit<DayPlan, "seed"> {
  readonly killsAtEach: number
  /** Of a batch, at most. */
  readonly maxRecords: number
  /** Between two times at which states are saved. The more of them there is to save, the longer: all of the day may still change. */
  readonly saveMillis: number
  /** Times at most that a process comes to its place before it is killed there. */
  readonly times: number
}

export const assetDay =
  (seed: number, { killsAtEach, maxRecords, saveMillis, times, ...day }: AssetsPlan) =>
  (): Promise<Outcome> =>
    Effect.gen(function* () {
      yield* Migrate.up()
      const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
      const random = randomFrom(seed)
      const kills = Array.from({ length: killsAtEach }, () => places)
        .flat()
        .map((place) => ({ place, times: 1 + Math.floor(random() * times) }))
      const { doubles, faults, hits, live, sent } = yield* runAssets({
        day: { ...day, seed },
        kills,
        url: Redacted.value(url("argusiq_pipeline")),
        saveMillis,
        maxRecords,
        withinMillis: 1_800_000
      })
      const total = hits.values().reduce((sum, count) => sum + count, 0)
      const counts = Object.entries(live).map(([name, lines]) => `${lines.length} ${name}`)
      return {
        faults: [...faults.slice(0, 20), ...atLeast("kills", total, kills.length - killsAtEach)],
        facts:
          `${sent} messages, ${doubles} of them twice; ${total} kills ` +
          `(${[...hits].map(([place, count]) => `${place} ${count}`).join(", ")}); ${counts.join(", ")}`
      }
    }).pipe(Effect.scoped, Effect.provide(freshDatabase("asset-day")), Effect.runPromise)
