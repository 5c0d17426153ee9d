/**
 * What is wrong with the configuration of an asset type, with what it inherits.
 * @module
 */
import { type AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import { assetTypeFaults, runTestVectors } from "@argusiq/domain/asset/asset-type-trial.ts"
import { type AssetTypeFault } from "@argusiq/domain/asset/compiled-asset-type.ts"
import { referenceFaults } from "@argusiq/domain/asset/type-references.ts"
import { Effect } from "effect"
import { type Sandbox } from "../sandbox/Sandbox.ts"
import { withExpressions } from "../sandbox/withExpressions.ts"

/** Of the configuration as it is written. */
export const configFaults = (config: AssetTypeConfig): ReadonlyArray<AssetTypeFault> => [
  ...assetTypeFaults(config),
  ...referenceFaults(config)
]

/** Of one that is to be published: its test vectors are run. */
export const publicationFaults = (
  sandbox: Sandbox["Service"],
  config: AssetTypeConfig
): Effect.Effect<ReadonlyArray<AssetTypeFault>> => {
  const faults = configFaults(config)
  if (faults.length > 0) return Effect.succeed(faults)
  return withExpressions(sandbox, (evaluate) => runTestVectors(config, evaluate))
}
