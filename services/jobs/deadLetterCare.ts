/**
 * Care for the index of the dead letters: how many wait is measured, too many are told of, and what retention has removed
 * from the topics leaves the index as well.
 * @module
 */
import { isHigh } from "@argusiq/domain/dead-letter.ts"
import { deadLetterTopics } from "@argusiq/domain/topics.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Clock, Effect, Metric } from "effect"

const waiting = Metric.gauge("argusiq_dead_letters", { description: "Dead letters that are not resolved, by topic" })

const EVENT = "DLQ_HIGH"

interface Level {
  readonly topic: string
  /** Null: of nobody that is known. */
  readonly tenantId: string | null
  readonly unresolved: number
  readonly high: boolean
}

/** Measures what waits, and writes an event where a tenant's dead letters have become too many in a topic: once, until they are few again. */
export const measureDeadLetters = Effect.gen(function* () {
  const sql = yield* PipelineSql
  const levels = yield* sql<Level>`
    with waiting as (
      select topic, tenant_id, count(*)::int as unresolved from dead_letters where state <> 'resolved'
      group by topic, tenant_id
    )
    select coalesce(waiting.topic, high.topic) as topic, coalesce(waiting.tenant_id, high.tenant_id) as "tenantId",
      coalesce(unresolved, 0) as unresolved, high.topic is not null as high
    from waiting full join dead_letter_levels high
      on high.topic = waiting.topic and high.tenant_id = waiting.tenant_id`
  const ofTopic = new Map(deadLetterTopics.map((topic) => [topic, 0]))
  for (const { topic, unresolved } of levels) ofTopic.set(topic, (ofTopic.get(topic) ?? 0) + unresolved)
  for (const [topic, unresolved] of ofTopic) {
    yield* Metric.update(Metric.withAttributes(waiting, { service: "jobs", topic }), unresolved)
  }
  for (const level of levels) {
    if (level.tenantId !== null && isHigh(level.high, level.unresolved) !== level.high)
      yield* change(level, level.tenantId)
  }
})

const change = Effect.fnUntraced(function* ({ high, topic, unresolved }: Level, tenantId: string) {
  const sql = yield* PipelineSql
  if (high) {
    yield* sql`delete from dead_letter_levels where tenant_id = ${tenantId}::uuid and topic = ${topic}`
    return yield* Effect.logInfo(`Organization ${tenantId} has ${unresolved} dead letters in ${topic}: few again`)
  }
  const occurredAt = (yield* Clock.currentTimeMillis) * 1_000
  const at = sql`timestamptz 'epoch' + ${String(occurredAt)}::bigint * interval '1 microsecond'`
  const rise = sql`insert into dead_letter_levels (tenant_id, topic, since)
    select id, ${topic}, ${at} from organizations where id = ${tenantId}::uuid
    on conflict do nothing returning topic`
  const tell = sql`insert into system_events
      (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
    values (${uuidV5(tenantId, `${EVENT}:${topic}:${occurredAt}`)}::uuid, ${tenantId}::uuid, ${EVENT}, 'organization',
      ${tenantId}::uuid, 'warning', ${at}, ${JSON.stringify({ topic, deadLetters: unresolved })}::text::jsonb)
    on conflict do nothing`
  const told = yield* sql.withTransaction(
    Effect.flatMap(rise, (rows) => (rows.length === 1 ? Effect.as(tell, true) : Effect.succeed(false)))
  )
  if (!told) return
  yield* Effect.logWarning(`Organization ${tenantId} has ${unresolved} dead letters in ${topic}: see argusiq dlq list`)
})

/** Forgets what the topics no longer hold, and answers how many that were. */
export const forgetRemoved = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* PipelineSql
  let forgotten = 0
  for (const topic of deadLetterTopics) {
    for (let partition = 0; partition < bus.partitions; partition++) {
      const { start } = yield* bus.range({ topic, partition })
      if (start === 0n) continue
      const removed = yield* sql<{ n: number }>`with removed as (
          delete from dead_letters where topic = ${topic} and partition = ${partition} and "offset" < ${String(start)}::bigint
          returning 1)
        select count(*)::int as n from removed`
      forgotten += removed[0]?.n ?? 0
    }
  }
  if (forgotten > 0) yield* Effect.logInfo(`${forgotten} dead letters forgotten: retention has removed their records`)
  return forgotten
})
