/**
 * Pages of series: where one ends, how the next goes on, and how its values are put together.
 * @module
 */
import { type DataPoint } from "@argusiq/domain/http/telemetry.ts"
import { Instant, Uuid } from "@argusiq/domain/ids.ts"
import { Effect, Result, Schema } from "effect"
import { BadCursor } from "../registry/refusals.ts"
import { type History, type HistoryRequest } from "./TelemetryHistory.ts"

/** An answer holds no more values than this, however many metrics a reading has. */
export const mostPoints = 50_000

/** The last frame of a page (its instant and reading), or the last bucket (its beginning). */
const Place = Schema.Union([
  Schema.Tuple([Schema.Literals(["asc", "desc"]), Instant, Uuid]),
  Schema.Tuple([Schema.Literals(["asc", "desc"]), Instant])
])
type Place = typeof Place.Type
const decodePlace = Schema.decodeUnknownResult(Schema.fromJsonString(Place))
export const encodeCursor = (place: readonly [order: "asc" | "desc", at: Instant, readingId?: string]) =>
  Buffer.from(JSON.stringify(place)).toString("base64url")

/** `length`: 3 for a frame's place, 2 for a bucket's. */
export const placeOf = (request: HistoryRequest, length: 2 | 3): Effect.Effect<Place | undefined, BadCursor> => {
  if (request.cursor === undefined) return Effect.succeed(undefined)
  const place = decodePlace(Buffer.from(request.cursor, "base64url").toString("utf8"))
  return Result.isSuccess(place) && place.success[0] === request.order && place.success.length === length
    ? Effect.succeed(place.success)
    : Effect.fail(new BadCursor())
}

export class SeriesCollector {
  readonly #series = new Map<string, Array<DataPoint>>()
  #count = 0

  constructor(metricKeys: ReadonlyArray<string>) {
    for (const key of metricKeys) this.#series.set(key, [])
  }
  get count(): number {
    return this.#count
  }
  add(metricKey: string, point: DataPoint): void {
    const data = this.#series.get(metricKey)
    if (data === undefined) this.#series.set(metricKey, [point])
    else data.push(point)
    this.#count++
  }
  history(nextCursor: string | null): History {
    const series = Array.from(this.#series, ([metricKey, data]) => ({ metricKey, data }))
    return { series, count: this.#count, nextCursor }
  }
}
