/**
 * What a configuration would have made of an asset's history: the fold of live running over readings of devices as they are
 * stored, page by page, in the order of time.
 * @module
 */
import type { Evaluate } from "../expression/expression.ts"
import { parseExpression } from "../expression/compile.ts"
import { evaluateHere } from "../expression/memo.ts"
import { compareInputs, foldAll } from "../fold-state.ts"
import type { DeviceId, Instant, MessageId, ReadingId } from "../ids.ts"
import type { MetricValue, Quality } from "../readings.ts"
import { uuidV5 } from "../uuid.ts"
import type { Link } from "./asset.ts"
import { assetFold, type AssetOutput, type AssetState } from "./asset-fold.ts"
import type { DeviceAssetReading } from "./asset-reading.ts"
import type { AssetTypeConfig } from "./asset-type.ts"
import { compileAssetType } from "./compiled-asset-type.ts"
import { compileMapping, type Mappings, takes } from "./mapping.ts"

/** A reading of a device as it is stored. */
export interface StoredReading {
  readonly readingId: string
  readonly deviceId: string
  readonly ts: Instant
  readonly receivedAt: Instant
  readonly metrics: Readonly<Record<string, MetricValue>>
  readonly quality: Readonly<Record<string, Quality>> | null
}

export interface Preview {
  readonly initial: AssetState
  /** Adds a page, in the order of time and with whole instants: the state after it, and what is told of each instant. */
  readonly add: (
    state: AssetState,
    page: ReadonlyArray<StoredReading>,
    evaluate: Evaluate
  ) => { readonly state: AssetState; readonly told: ReadonlyMap<string, AssetOutput> }
  /** How long before the first instant of interest it has to begin, for its windows to be full, in microseconds. */
  readonly warmUp: number
}

const portOf = (link: Link, metrics: StoredReading["metrics"]) =>
  link.port !== undefined && Object.keys(metrics).some((key) => key.startsWith(`port${link.port}.`))
    ? { port: link.port }
    : {}

/** Of a configuration without faults. */
export const previewOf = (config: AssetTypeConfig, links: ReadonlyArray<Link>, profileMapping: Mappings): Preview => {
  const compiled = compileAssetType(config, parseExpression)
  const byDevice = Map.groupBy(
    links.map((link) => ({
      link,
      map: compileMapping(
        [config.transformationEngine.mappings, profileMapping, link.metricsMapping],
        config.metricDefinitions,
        link.port
      )
    })),
    ({ link }) => link.deviceId as string
  )
  const seen = ({ deviceId, metrics, quality, readingId, receivedAt, ts }: StoredReading) =>
    (byDevice.get(deviceId) ?? []).flatMap(({ link, map }): ReadonlyArray<DeviceAssetReading> => {
      const port = portOf(link, metrics)
      const mapped = takes(link, { ts, ...port }) ? map({ metrics, ...(quality !== null && { quality }) }) : undefined
      if (mapped === undefined) return []
      return [
        {
          kind: "device",
          readingId: uuidV5(link.assetId, `${readingId}:${link.linkId}`) as ReadingId,
          assetId: link.assetId,
          tenantId: link.tenantId,
          assetTypeVersion: compiled.number,
          sourceReadingId: readingId as ReadingId,
          sourceMessageId: readingId as MessageId,
          sourceDeviceId: deviceId as DeviceId,
          linkId: link.linkId,
          role: link.role,
          ts,
          receivedAt,
          metrics: mapped.metrics,
          ...(mapped.quality !== undefined && { quality: mapped.quality })
        }
      ]
    })
  const windows = Object.values(config.aggregationRules).map(({ windowSeconds }) => windowSeconds)
  const { initial } = assetFold({ versions: [compiled], evaluate: evaluateHere })
  return {
    initial,
    warmUp: Math.max(900, ...windows) * 1e6,
    add: (state, page, evaluate) => {
      const inputs = page.flatMap(seen).toSorted(compareInputs)
      return foldAll(assetFold({ versions: [compiled], evaluate }), inputs, undefined, state)
    }
  }
}
