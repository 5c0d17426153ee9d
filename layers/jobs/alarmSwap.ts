/**
 * What a rebuild of an entity's alarms puts in place of what there was: the rows of alarms and the base of the entity's state, in
 * the transaction that the fiber is in. Rows of alarms are locked before the state's, as the rule engine does it.
 * @module
 */
import { BEFORE_ALL } from "@argusiq/domain/fold-state.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { loadRuleStates, type RuleStateKind, saveRuleStates, type StoredRuleState } from "../alarms/RuleStates.ts"
import { bigintegers } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

const at = (parameter: string) => `timestamptz 'epoch' + (${parameter}::bigint[])[1] * interval '1 microsecond'`

export const loadState = (sql: Sql, kind: RuleStateKind, entityId: string) =>
  Effect.map(loadRuleStates(sql, kind, [entityId]), ([row]) => row)

/** The alarms that go beyond `since`, and the state's row, locked until the transaction ends; undefined: there is none. */
export const lockState = Effect.fnUntraced(function* (sql: Sql, kind: RuleStateKind, entityId: string, since: Instant) {
  yield* sql.unsafe(
    `select from alarms where entity_id = $1::uuid and (state = 'active' or not settled or ended_at > ${at("$2")})
    order by id for update`,
    [entityId, bigintegers([BigInt(Math.round(since))])]
  )
  yield* sql`select from fold_states where kind = ${kind} and entity_id = ${entityId}::uuid for update`
  return yield* loadState(sql, kind, entityId)
})

/** Up to when what an asset has come to is settled; before everything where nothing is. */
export const assetBaseTime = (sql: Sql, assetId: string) =>
  Effect.map(
    sql<{ at: number }>`select (extract(epoch from base_time) * 1000000)::float8 as at from fold_states
      where kind = 'asset' and entity_id = ${assetId}::uuid`,
    ([row]) => row?.at ?? BEFORE_ALL
  )

/** The rule engine takes it over when it next saves the entity. Its time never goes back. */
export const replaceBase = Effect.fnUntraced(function* (
  sql: Sql,
  kind: RuleStateKind,
  partition: number,
  state: StoredRuleState,
  isTimed: boolean
) {
  yield* saveRuleStates(sql, kind, partition, [{ ...state, dueAt: isTimed ? state.baseTime : undefined }])
  yield* sql`update fold_states set revision = revision + 1 where kind = ${kind} and entity_id = ${state.entityId}::uuid`
})

/** Of an entity that has no row; false when it has one by now. */
export const insertState = Effect.fnUntraced(function* (
  sql: Sql,
  kind: RuleStateKind,
  partition: number,
  state: Omit<StoredRuleState, "revision">,
  isTimed: boolean
) {
  const { entityId } = state
  const [present] = yield* sql`select from fold_states where kind = ${kind} and entity_id = ${entityId}::uuid`
  if (present !== undefined) return false
  const dueAt = isTimed ? state.baseTime : undefined
  const refused = yield* saveRuleStates(sql, kind, partition, [{ ...state, revision: 1, dueAt }])
  return refused.length === 0
})

/** The earliest beginning of the alarms that were under way in a span; undefined: there were none. */
export const earliestUnderWay = (sql: Sql, entityId: string, from: Instant, to: Instant) =>
  Effect.map(
    sql.unsafe<{ started: number | null }>(
      `select (extract(epoch from min(started_at)) * 1000000)::float8 as started from alarms
      where entity_id = $1::uuid and state <> 'retracted' and started_at < ${at("$3")}
        and (ended_at is null or ended_at > ${at("$2")})`,
      [entityId, bigintegers([BigInt(Math.round(from))]), bigintegers([BigInt(Math.round(to))])]
    ),
    ([row]) => row?.started ?? undefined
  )
