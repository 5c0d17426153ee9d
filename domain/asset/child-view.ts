/**
 * What a parent sees of a child: the last of each second, under the parent's key.
 * @module
 */
import type { AssetId, Instant, ReadingId } from "../ids.ts"
import type { MetricValue } from "../readings.ts"
import { uuidV5 } from "../uuid.ts"
import type { AssetProfile } from "./asset.ts"
import type { ChildAssetReading } from "./asset-reading.ts"
import { type CompiledAssetType, HEALTH_SCORE } from "./compiled-asset-type.ts"
import type { SeenReading } from "./device-view.ts"

const SECOND_MICROS = 1_000_000

/** A parent looks at each child at whole seconds, however many readings lie between: the last of each second is its. */
export const secondOf = (ts: Instant): Instant => Math.ceil(ts / SECOND_MICROS) * SECOND_MICROS

/** After this instant a second begins: it is the last of the one before. */
export const beginOfSecond = (second: Instant): Instant => second - SECOND_MICROS

/** The identity of what a parent sees of a child at a second. */
export const childReadingId = (parentId: string, childId: string, second: Instant): ReadingId =>
  uuidV5(parentId, `${childId}:${second}`) as ReadingId

/** The children's metrics that a parent rolls up under any of its type's versions; undefined when it does not look at them. */
export const rolledUp = (versions: ReadonlyArray<CompiledAssetType>): ReadonlySet<string> | undefined => {
  const rollups = versions.flatMap(({ rollup }) => rollup ?? [])
  return rollups.length === 0 ? undefined : new Set(rollups.flatMap(({ metrics }) => Object.keys(metrics)))
}

/**
 * From the frames of one child in one second, oldest first, what its parent sees of it. Metrics that none of them has are
 * held by the parent as it saw them before.
 */
export const childReadingOf = (
  child: AssetProfile,
  parentId: string,
  wanted: ReadonlySet<string>,
  frames: ReadonlyArray<Pick<SeenReading, "metrics" | "quality" | "receivedAt" | "ts">>
): ChildAssetReading => {
  const last = frames.at(-1)!
  const ts = secondOf(last.ts)
  const metrics: Record<string, MetricValue> = {}
  for (const { metrics: measured, quality } of frames) {
    for (const key of wanted)
      if (Object.hasOwn(measured, key) && quality?.[key] !== "bad") metrics[key] = measured[key]!
  }
  const health = last.metrics[HEALTH_SCORE]
  return {
    kind: "child",
    readingId: childReadingId(parentId, child.assetId, ts),
    assetId: parentId as AssetId,
    tenantId: child.tenantId,
    childId: child.assetId,
    weight: child.healthWeight,
    revision: 0,
    retracted: false,
    ts,
    receivedAt: last.receivedAt,
    metrics,
    ...(typeof health === "number" && { health })
  }
}
