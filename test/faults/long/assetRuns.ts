/**
 * The long run of assets: a whole day of two hundred of them, with kills at every place in turn, on a PostgreSQL of its own.
 * @module
 */
import * as EmbeddedPostgres from "@argusiq/layers/database/EmbeddedPostgres.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { Effect, Redacted } from "effect"
import { freshDatabase } from "../../../bench/database.ts"
import { type DayPlan, randomOf } from "../assetDay.ts"
import { places, runAssets } from "../assetRuns.ts"
import { atLeast, type Outcome } from "./outcome.ts"

const KILLS_AT_EACH = 5

interface AssetsPlan extends Omit<DayPlan, "seed"> {
  /** Times at most that a process comes to its place before it is killed there. */
  readonly times: number
}

export const assetDay =
  (seed: number, { times, ...day }: AssetsPlan) =>
  (): Promise<Outcome> =>
    Effect.gen(function* () {
      yield* Migrate.up()
      const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
      const random = randomOf(seed)
      const kills = Array.from({ length: KILLS_AT_EACH }, () => places)
        .flat()
        .map((place) => ({ place, times: 1 + Math.floor(random() * times) }))
      const { doubles, faults, hits, live, sent } = yield* runAssets({
        day: { ...day, seed },
        kills,
        url: Redacted.value(url("argusiq_pipeline")),
        saveMillis: 300,
        maxRecords: 500,
        withinMillis: 1_800_000
      })
      const total = hits.values().reduce((sum, count) => sum + count, 0)
      const counts = Object.entries(live).map(([name, lines]) => `${lines.length} ${name}`)
      return {
        faults: [...faults.slice(0, 20), ...atLeast("kills", total, 50)],
        facts:
          `${sent} messages, ${doubles} of them twice; ${total} kills ` +
          `(${[...hits].map(([place, count]) => `${place} ${count}`).join(", ")}); ${counts.join(", ")}`
      }
    }).pipe(Effect.scoped, Effect.provide(freshDatabase("asset-day")), Effect.runPromise)
