/**
 * The two groups of the rule engine: the rules of devices, and those of assets.
 * @module
 */
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { RuleStateKind } from "@argusiq/layers/alarms/RuleStates.ts"
import { readAssetReadings, readDeviceReadings, type ReadReadings } from "./readReadings.ts"

export interface Kind {
  readonly entityType: "asset" | "device"
  readonly group: string
  readonly topic: string
  readonly states: RuleStateKind
  readonly read: ReadReadings
  /** Readings of one entity come through several partitions on their way: the base of none passes what is known of all. */
  readonly isFedByAll: boolean
}

export const kinds = {
  device: {
    entityType: "device",
    group: Groups.deviceRules,
    topic: Topics.normalized,
    states: "device_rule",
    read: readDeviceReadings,
    isFedByAll: false // all readings of a device come through one partition
  },
  asset: {
    entityType: "asset",
    group: Groups.assetRules,
    topic: Topics.asset,
    states: "asset_rule",
    read: readAssetReadings,
    isFedByAll: true
  }
} as const satisfies Record<string, Kind>
