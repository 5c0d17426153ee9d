/**
 * What the rules of an entity have come to, as rows of fold_states: `base` and `recent` as JSON, the rest follows from them.
 *
 * They are saved now and then and not with every batch. How far the partition was when all that had changed was saved stands
 * beside the group's offset: a process that takes the partition over reads the log from there.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { Instant, TenantId } from "@argusiq/domain/ids.ts"
import { jsonBytes } from "@argusiq/domain/record-json.ts"
import { RecentInputs, type WrittenInputs } from "@argusiq/domain/recent-inputs.ts"
import type { EntityRules } from "@argusiq/domain/rule/entity-rules.ts"
import type { RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import type { TopicPartition } from "../bus/Bus.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { bigintegers, byteStrings, integers, uuids } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

export type RuleStateKind = "asset_rule" | "device_rule"

export interface StoredRuleState {
  readonly entityId: string
  readonly tenantId: TenantId
  readonly base: EntityRules
  readonly baseTime: Instant
  readonly recent: RecentInputs<RuleInput>
  /** Of the newest reading. */
  readonly last: Pick<RuleInput, "receivedAt" | "ts"> | undefined
  /** Raised by a rebuild, and by nothing else. */
  readonly revision: number
}

export interface SavedRuleState extends StoredRuleState {
  /** In partition time: when the entity has to be looked at though nothing comes. */
  readonly dueAt: Instant | undefined
}

const toTime = (column: string) => `timestamptz 'epoch' + ${column} * interval '1 microsecond'`
const toMicros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`
/** States encoded before others are let in. */
const ENCODED_AT_ONCE = 20
const decoder = new TextDecoder()

const saveStatement = `
insert into fold_states as present (kind, entity_id, tenant_id, partition, base, recent, base_time, due_at, revision)
select $1, entity_id, tenant_id, $2::int, base, recent, ${toTime("base_time")}, ${toTime("due_at")}, revision
from unnest($3::uuid[], $4::uuid[], $5::bytea[], $6::bytea[], $7::bigint[], $8::bigint[], $9::int[])
  as given (entity_id, tenant_id, base, recent, base_time, due_at, revision)
order by entity_id
on conflict (kind, entity_id, rule_id) do update set
  (partition, base, recent, base_time, due_at) =
  (excluded.partition, excluded.base, excluded.recent, excluded.base_time, excluded.due_at)
where present.revision = excluded.revision
returning entity_id`

/** In the transaction that the fiber is in. Answers with the ids of those that stayed out, since a rebuild has replaced theirs. */
export const saveRuleStates = (
  sql: Sql,
  kind: RuleStateKind,
  partition: number,
  states: ReadonlyArray<SavedRuleState>
): Effect.Effect<ReadonlyArray<string>, DatabaseUnavailable> =>
  Effect.gen(function* () {
    const bases: Array<Uint8Array> = []
    const recents: Array<Uint8Array> = []
    for (const { base, last, recent } of states) {
      bases.push(jsonBytes(base))
      recents.push(Buffer.from(recent.json({ last })))
      if (bases.length % ENCODED_AT_ONCE === 0) yield* Effect.yieldNow
    }
    return yield* sql.unsafe<{ entity_id: string }>(saveStatement, [
      kind,
      partition,
      uuids(states.map(({ entityId }) => entityId)),
      uuids(states.map(({ tenantId }) => tenantId)),
      byteStrings(bases),
      byteStrings(recents),
      bigintegers(states.map(({ baseTime }) => BigInt(baseTime))),
      bigintegers(states.map(({ dueAt }) => (dueAt === undefined ? null : BigInt(Math.round(dueAt))))),
      integers(states.map(({ revision }) => revision))
    ])
  }).pipe(
    Effect.map((rows) => {
      const saved = new Set(rows.map(({ entity_id }) => entity_id))
      return states.filter(({ entityId }) => !saved.has(entityId)).map(({ entityId }) => entityId)
    }),
    Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
  )

interface StateRow {
  readonly entity_id: string
  readonly tenant_id: string
  readonly base: Uint8Array
  readonly recent: Uint8Array
  readonly base_time: bigint
  readonly revision: number
}

/** `recent` of a row; `inputs` where it was saved before they were packed. */
type Recent = (WrittenInputs<RuleInput> | { readonly inputs: ReadonlyArray<RuleInput> }) & {
  readonly last?: StoredRuleState["last"]
}

const toState = (row: StateRow): StoredRuleState => {
  const { last, ...recent } = JSON.parse(decoder.decode(row.recent)) as Recent
  return {
    entityId: row.entity_id,
    tenantId: row.tenant_id as TenantId,
    base: JSON.parse(decoder.decode(row.base)) as EntityRules,
    baseTime: Number(row.base_time),
    recent: RecentInputs.of("inputs" in recent ? recent.inputs : RecentInputs.read(recent)),
    last,
    revision: row.revision
  }
}

const columns = `entity_id, tenant_id, base, recent, ${toMicros("base_time")} as base_time, revision`

const loaded = (rows: Effect.Effect<ReadonlyArray<StateRow>, unknown>) =>
  rows.pipe(
    Effect.map((found) => found.map(toState)),
    Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
  )

export const loadRuleStates = (sql: Sql, kind: RuleStateKind, entityIds: ReadonlyArray<string>) =>
  loaded(
    sql.unsafe<StateRow>(`select ${columns} from fold_states where kind = $1 and entity_id = any($2::uuid[])`, [
      kind,
      uuids(entityIds)
    ])
  )

/** Of a partition of so many, those that time alone may change; also where a row's number is of a log that had a multiple of them. */
export const loadDueRuleStates = (sql: Sql, kind: RuleStateKind, partition: number, partitions: number) =>
  loaded(
    sql.unsafe<StateRow>(
      `select ${columns} from fold_states where kind = $1 and partition % $3::int = $2 and due_at is not null`,
      [kind, partition, partitions]
    )
  )

/** The name beside the group's under which the offset stands as of which all states are saved. */
const savedGroup = (group: string) => `${group}.saved`

/** The group's next offset and time, and the offset from which the log has to be read to bring the saved states up to it. */
export const readProgress = (sql: Sql, group: string, { partition, topic }: TopicPartition, logId: string) =>
  sql<{ group: string; next: bigint | null; time: bigint | null }>`
    select "group", next, ${sql.literal(toMicros("partition_time"))} as time from consumer_offsets
    where "group" in (${group}, ${savedGroup(group)}) and topic = ${topic} and partition = ${partition} and log_id = ${logId}
  `.pipe(
    Effect.map((rows) => {
      const own = rows.find((row) => row.group === group)
      const saved = rows.find((row) => row.group === savedGroup(group))?.next ?? undefined
      return { next: own?.next ?? 0n, time: Number(own?.time ?? 0), saved }
    }),
    Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
  )

/** In the transaction that the fiber is in. */
export const saveProgress = (sql: Sql, group: string, at: TopicPartition, logId: string, next: bigint) =>
  sql`
    insert into consumer_offsets ("group", topic, partition, epoch, log_id, next)
    values (${savedGroup(group)}, ${at.topic}, ${at.partition}, 0, ${logId}, ${String(next)}::bigint)
    on conflict ("group", topic, partition) do update set log_id = excluded.log_id, next = excluded.next
  `.pipe(
    Effect.asVoid,
    Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
  )
