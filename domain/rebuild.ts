/**
 * Rebuilds: what assets and rules made of the past, made again from the readings that are stored.
 * @module
 */
import { Schema } from "effect"
import { Instant, Uuid } from "./ids.ts"

export const EntityType = Schema.Literals(["device", "asset"])

/** Whose past: of everything, of a type's, of a group's (of assets), or of those named. */
export const RebuildScope = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("all") }),
  Schema.Struct({ kind: Schema.Literals(["type", "group"]), id: Uuid }),
  Schema.Struct({ kind: Schema.Literal("entities"), ids: Schema.NonEmptyArray(Uuid).check(Schema.isMaxLength(1_000)) })
])
export type RebuildScope = typeof RebuildScope.Type

/**
 * By which versions: those that were in force at each instant; for all instants those that are published last; or the draft of
 * the asset type.
 */
export const RebuildConfiguration = Schema.Literals(["as it was", "published", "draft"])
export type RebuildConfiguration = typeof RebuildConfiguration.Type

const span = { from: Instant, to: Instant }

/** What a rebuild job was asked for: instants from `from` up to but not including `to`, by what was measured. */
export const RebuildParameters = Schema.Union([
  Schema.Struct({ what: Schema.Literal("assets"), scope: RebuildScope, configuration: RebuildConfiguration, ...span }),
  Schema.Struct({
    what: Schema.Literal("rules"),
    entityType: EntityType,
    scope: RebuildScope,
    configuration: Schema.Literals(["as it was", "published"]),
    ...span
  })
])
export type RebuildParameters = typeof RebuildParameters.Type
