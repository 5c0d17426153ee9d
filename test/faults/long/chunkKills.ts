/**
 * The long run of the chunker's kills: on a PostgreSQL of its own, at every place in turn.
 * @module
 */
import { failpoints } from "@argusiq/chunker/Failpoints.ts"
import * as EmbeddedPostgres from "@argusiq/layers/database/EmbeddedPostgres.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { Effect, Redacted } from "effect"
import { freshDatabase } from "../../../bench/database.ts"
import { freshDirectory } from "../../layers/bus/ConsumerWorld.ts"
import { runChunkKills } from "../chunks.ts"
import { atLeast, type Outcome } from "./outcome.ts"

const KILLS_AT_EACH = 5

export const chunkKills = (seed: number) => (): Promise<Outcome> =>
  Effect.gen(function* () {
    yield* Migrate.up()
    const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
    const report = yield* runChunkKills({
      places: Array.from({ length: KILLS_AT_EACH }, () => failpoints).flat(),
      seed,
      directory: yield* freshDirectory,
      pipelineUrl: Redacted.value(url("argusiq_pipeline"))
    })
    const { children, chunks, completed, failed, hits, messages, repeated } = report
    const kills = hits.values().reduce((sum, count) => sum + count, 0)
    return {
      faults: [
        ...report.faults.slice(0, 20),
        ...atLeast("kills", kills, 50),
        ...failpoints.flatMap((place) => atLeast(`kills at ${place}`, hits.get(place) ?? 0, 1))
      ],
      facts:
        `${kills} kills (${failpoints.map((place) => `${place} ${hits.get(place) ?? 0}`).join(", ")}); ${chunks} different chunks ` +
        `of ${messages} messages: ${completed} completed, ${failed} failed, ${children} children stored once; ` +
        `${repeated} records left twice under the same id`
    }
  }).pipe(Effect.scoped, Effect.provide(freshDatabase("chunk-kills")), Effect.runPromise)
