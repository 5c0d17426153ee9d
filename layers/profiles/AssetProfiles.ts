/**
 * What the pipeline knows of assets, their types and their links: bounded in memory, filled from PostgreSQL by one load for
 * many waiters, kept true by the change feed that device profiles have too.
 * @module
 */
import type { AssetProfile, Link } from "@argusiq/domain/asset/asset.ts"
import type { AssetTypeProfile } from "@argusiq/domain/asset/asset-type.ts"
import type { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Context, type Effect } from "effect"

/** All fail when the change sequence cannot be checked: what is in memory may be outdated then. */
export class AssetProfiles extends Context.Service<
  AssetProfiles,
  {
    /** All links of each device, the ended ones too, oldest first; one entry for each id, empty where there are none. */
    links(deviceIds: Iterable<string>): Effect.Effect<ReadonlyMap<string, ReadonlyArray<Link>>, DatabaseUnavailable>
    /** Ids without an entry do not exist. The same object until the asset or its profile changes. */
    assets(assetIds: Iterable<string>): Effect.Effect<ReadonlyMap<string, AssetProfile>, DatabaseUnavailable>
    /** Ids without an entry do not exist, have never been published, or have a version that this release cannot read (logged).
     * The same object until the type changes: what is compiled of it can hang on it. */
    types(assetTypeIds: Iterable<string>): Effect.Effect<ReadonlyMap<string, AssetTypeProfile>, DatabaseUnavailable>
  }
>()("argusiq/layers/profiles/AssetProfiles") {}
