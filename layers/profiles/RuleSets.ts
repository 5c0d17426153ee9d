/**
 * Which rules say something of which entities, in memory as the profiles are.
 * @module
 */
import type { CacheUnavailable, DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { RuleVersion } from "@argusiq/domain/rule/rule.ts"
import { Context, type Effect } from "effect"

export class RuleSets extends Context.Service<
  RuleSets,
  {
    /**
     * For each entity that exists, the rules of which at least one version takes it in: all their versions, also of rules that
     * have ended, by rule, oldest first. A version that does not take the entity in is given with `isActive: false`, so that
     * what the version before it said ends. Membership in types and groups is judged as of today. The same array until rules,
     * groups or the entity change. Fails when the change sequence cannot be checked.
     */
    rulesOf(
      entityType: "device" | "asset",
      entityIds: Iterable<string>
    ): Effect.Effect<ReadonlyMap<string, ReadonlyArray<RuleVersion>>, CacheUnavailable | DatabaseUnavailable>
  }
>()("argusiq/layers/profiles/RuleSets") {}
