/**
 * What is wrong with the mappings of a profile or a link, against the asset type that they are for.
 * @module
 */
import { mappingFault } from "@argusiq/domain/asset/mapping.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { decodeConfig } from "./assetTypeRow.ts"
import { NotValid } from "./refusals.ts"

/** @param path of the mappings in the request. A type that was never published defines no metrics yet, and refuses none. */
export const refuseMappings = Effect.fnUntraced(function* (
  sql: PgClient.PgClient,
  assetTypeId: string,
  path: string,
  mappings: Readonly<Record<string, string>> | undefined
) {
  const entries = Object.entries(mappings ?? {})
  if (entries.length === 0) return
  const [row] = yield* sql<{ resolved: unknown }>`
    select version.resolved from asset_types type
    join asset_type_versions version on version.asset_type_id = type.id and version.number = type.published_version
    where type.id = ${assetTypeId}::uuid`
  const defined =
    row === undefined ? undefined : new Set(decodeConfig(row.resolved).metricDefinitions.map(({ key }) => key))
  const faults = entries.flatMap(([key, source]) => {
    const at = `${path}.${key}`
    const wrong = mappingFault(source)
    return [
      ...(defined === undefined || defined.has(key)
        ? []
        : [{ path: at, message: "maps to a metric that the asset type does not define" }]),
      ...(wrong === undefined ? [] : [{ path: at, message: wrong }])
    ]
  })
  if (faults.length > 0) return yield* new NotValid({ faults })
})
