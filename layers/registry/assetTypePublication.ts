/**
 * Publishes what a type sets: its own version, those of the types that inherit from it, and the rules in all of them.
 * @module
 */
import { type AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import { versionsOf } from "@argusiq/domain/asset/type-versions.ts"
import { effectiveAtOf, MICROS_UNTIL_IN_FORCE } from "@argusiq/domain/device-versions.ts"
import { type PgClient } from "@effect/sql-pg"
import { Clock, Effect } from "effect"
import { type Sandbox } from "../sandbox/Sandbox.ts"
import { publicationFaults } from "./assetTypeGate.ts"
import { encodeConfig } from "./assetTypeRow.ts"
import { type TypeTree } from "./assetTypeTree.ts"
import { type Actor } from "./Devices.ts"
import { instant } from "./deviceTypeHistory.ts"
import { newId } from "./newId.ts"
import { NotRegistered } from "./refusals.ts"
import { NotPublishable } from "./resolvedConfig.ts"
import { syncTypeRules } from "./typeRules.ts"

/** @param tree read after whatever this transaction has changed. `path` leads to the configuration in the request. */
export const publishVersions = Effect.fnUntraced(function* (
  { sandbox, sql }: { readonly sandbox: Sandbox["Service"]; readonly sql: PgClient.PgClient },
  actor: Actor,
  tree: TypeTree,
  id: string,
  config: AssetTypeConfig,
  { note, path }: { readonly note: string; readonly path: string }
) {
  const node = tree.node(id)
  if (node === undefined) return yield* new NotRegistered({ what: "asset type" })
  const versions = versionsOf(node, config, tree.parentOf(id)?.published?.resolved)
  for (const { because, name, resolved } of versions) {
    const faults = yield* publicationFaults(sandbox, resolved)
    if (faults.length === 0) continue
    const of = because === undefined ? "" : `of the type "${name}", which inherits from it: `
    return yield* new NotPublishable({
      faults: faults.map((fault) => ({ path: `${path}${fault.path}`, message: `${of}${fault.message}` }))
    })
  }
  // In force counted from the end of the checks: test vectors take their time, and every process must know of it before.
  const now = (yield* Clock.currentTimeMillis) * 1_000
  for (const version of versions) {
    const before = tree.node(version.id)?.published
    const effectiveAt = effectiveAtOf(before === undefined ? [] : [before], now)
    yield* sql`update asset_type_versions set number = ${version.number + 1}
      where asset_type_id = ${version.id}::uuid and state = 'draft'`
    yield* sql`insert into asset_type_versions
        (id, tenant_id, asset_type_id, number, state, effective_at, config, resolved, note, author)
      values (${newId()}::uuid, ${actor.tenantId}::uuid, ${version.id}::uuid, ${version.number}, 'published',
        ${instant(sql, effectiveAt)}, ${sql.json(encodeConfig(version.config))}, ${sql.json(encodeConfig(version.resolved))},
        ${version.because === undefined ? note : `Follows the type "${version.because}"`}, ${actor.userId ?? null}::uuid)`
    yield* sql`update asset_types set published_version = ${version.number}, version = version + 1, updated_at = now(),
        updated_by = ${actor.userId ?? null}::uuid
      where id = ${version.id}::uuid`
    // A first version applies to everything earlier too; a rule does not, and every process must know of it before.
    const rulesFrom = before === undefined ? now + MICROS_UNTIL_IN_FORCE : effectiveAt
    yield* syncTypeRules(sql, actor, version, rulesFrom)
  }
})
