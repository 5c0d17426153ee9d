/**
 * The rules of an organization, ordered by what they take in.
 * @module
 */
import type { RuleScope, RuleVersion } from "@argusiq/domain/rule/rule.ts"

/** The versions of one rule, oldest first. */
export interface Rule {
  readonly versions: ReadonlyArray<RuleVersion>
  /** The same versions, each saying nothing. */
  readonly silenced: ReadonlyArray<RuleVersion>
}

/** Who an entity is to a rule's scope. */
export interface ScopedEntity {
  readonly id: string
  readonly typeId: string
  readonly groups: ReadonlyArray<string>
}

export interface RuleIndex {
  readonly device: RulesByScope
  readonly asset: RulesByScope
  readonly sequence: number
}
export interface RulesByScope {
  readonly all: ReadonlyArray<Rule>
  readonly byId: ReadonlyMap<string, ReadonlyArray<Rule>> // of a type, a group or an entity
  readonly usesGroups: boolean
}

const takesIn = (scope: RuleScope, { groups, id, typeId }: ScopedEntity): boolean => {
  switch (scope.kind) {
    case "all":
      return true
    case "type":
      return scope.id === typeId
    case "group":
      return groups.includes(scope.id)
    case "entities":
      return scope.ids.includes(id)
  }
}

const byScope = (rules: ReadonlyArray<Rule>): RulesByScope => {
  const all: Array<Rule> = []
  const byId = new Map<string, Array<Rule>>()
  let usesGroups = false
  for (const rule of rules) {
    const scopes = rule.versions.map(({ config }) => config.scope)
    if (scopes.some(({ kind }) => kind === "all")) {
      all.push(rule)
      continue
    }
    usesGroups ||= scopes.some(({ kind }) => kind === "group")
    const ids = scopes.flatMap((scope) => ("ids" in scope ? scope.ids : "id" in scope ? [scope.id] : []))
    for (const id of new Set(ids)) {
      const known = byId.get(id)
      if (known === undefined) byId.set(id, [rule])
      else known.push(rule)
    }
  }
  return { all, byId, usesGroups }
}

/** @param versions by rule, oldest first */
export const indexRules = (versions: ReadonlyArray<RuleVersion>, sequence: number): RuleIndex => {
  const byRule = new Map<string, Array<RuleVersion>>()
  for (const version of versions) {
    const known = byRule.get(version.id)
    if (known === undefined) byRule.set(version.id, [version])
    else known.push(version)
  }
  const rules = [...byRule.values()].map((versions): Rule => ({
    versions,
    silenced: versions.map((version) => ({ ...version, config: { ...version.config, isActive: false } }))
  }))
  // What kind of entities a rule is about never changes.
  const about = (entityType: "device" | "asset") =>
    byScope(rules.filter(({ versions }) => versions[0]?.config.entityType === entityType))
  return { device: about("device"), asset: about("asset"), sequence }
}

/** The versions of every rule of which one takes the entity in; those that do not are silenced. */
export const versionsFor = ({ all, byId }: RulesByScope, entity: ScopedEntity): ReadonlyArray<RuleVersion> => {
  const candidates = new Set([
    ...all,
    ...[entity.typeId, ...entity.groups, entity.id].flatMap((id) => byId.get(id) ?? [])
  ])
  const found: Array<RuleVersion> = []
  for (const { silenced, versions } of candidates) {
    const taken = versions.map(({ config }) => takesIn(config.scope, entity))
    if (!taken.includes(true)) continue
    for (const [index, version] of versions.entries()) found.push(taken[index]! ? version : silenced[index]!)
  }
  return found
}
