/**
 * Dead letters into their table, one statement per batch.
 * @module
 */
import { type DeadLetter } from "@argusiq/domain/dead-letter.ts"
import { storableJson, storableText } from "@argusiq/domain/storable.ts"
import { type PgTypes } from "@effect/sql-pg"
import { type StoredRecord } from "../bus/Bus.ts"
import { bigintegers, instants, integers, texts, uuids } from "../telemetry/columns.ts"

/** A dead letter and the record that tells of it. */
export interface Indexed {
  readonly letter: DeadLetter
  readonly record: StoredRecord
}

/**
 * A further failure opens the dead letter again; the same failure told once more, by a batch that was repeated or a group
 * that was rewound, only moves its place. Rows are taken in the order of their ids, as whoever else locks several does.
 */
export const indexStatement = `
insert into dead_letters as present (id, tenant_id, "group", stage, reason, message, path, entry, device_id, message_id, topic,
  partition, "offset", headers, size, attempts, failed_at, received_at, retries)
select id, tenant_id, "group", stage, reason, message, path, entry, device_id, message_id, topic, partition, "offset",
  headers::jsonb, size, attempts, failed_at, received_at, attempts - 1
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::uuid[],
    $10::uuid[], $11::text[], $12::int[], $13::bigint[], $14::text[], $15::int[], $16::int[], $17::timestamptz[],
    $18::timestamptz[])
  as given (id, tenant_id, "group", stage, reason, message, path, entry, device_id, message_id, topic, partition, "offset",
    headers, size, attempts, failed_at, received_at)
order by id
on conflict (id) do update set partition = excluded.partition, "offset" = excluded."offset",
  stage = case when excluded.attempts > present.attempts then excluded.stage else present.stage end,
  reason = case when excluded.attempts > present.attempts then excluded.reason else present.reason end,
  message = case when excluded.attempts > present.attempts then excluded.message else present.message end,
  path = case when excluded.attempts > present.attempts then excluded.path else present.path end,
  headers = case when excluded.attempts > present.attempts then excluded.headers else present.headers end,
  failed_at = case when excluded.attempts > present.attempts then excluded.failed_at else present.failed_at end,
  state = case when excluded.attempts > present.attempts then 'open' else present.state end,
  resolved_at = case when excluded.attempts > present.attempts then null else present.resolved_at end,
  retries = greatest(present.retries, excluded.retries),
  attempts = greatest(present.attempts, excluded.attempts)
where excluded."offset" > present."offset"`

/** Of several records of one dead letter that of the last failure. */
const lastOfEach = (indexed: ReadonlyArray<Indexed>): ReadonlyArray<Indexed> => {
  const last = new Map<string, Indexed>()
  for (const one of indexed) {
    const known = last.get(one.letter.id)
    if (known === undefined || known.letter.attempts <= one.letter.attempts) last.set(one.letter.id, one)
  }
  return [...last.values()]
}

const textOrNull = (text: string | null) => (text === null ? null : storableText(text))

export const indexParameters = (indexed: ReadonlyArray<Indexed>): ReadonlyArray<PgTypes.Parameter> => {
  const rows = lastOfEach(indexed)
  return [
    uuids(rows.map(({ letter }) => letter.id)),
    uuids(rows.map(({ letter }) => letter.tenantId)),
    texts(rows.map(({ letter }) => storableText(letter.group))),
    texts(rows.map(({ letter }) => storableText(letter.stage))),
    texts(rows.map(({ letter }) => storableText(letter.reason))),
    texts(rows.map(({ letter }) => storableText(letter.message))),
    texts(rows.map(({ letter }) => textOrNull(letter.path))),
    integers(rows.map(({ letter }) => letter.entry)),
    uuids(rows.map(({ letter }) => letter.deviceId)),
    uuids(rows.map(({ letter }) => letter.messageId)),
    texts(rows.map(({ record }) => record.topic)),
    integers(rows.map(({ record }) => record.partition)),
    bigintegers(rows.map(({ record }) => record.offset)),
    texts(rows.map(({ record }) => JSON.stringify(storableJson(record.headers)))),
    integers(rows.map(({ record }) => record.value.byteLength)),
    integers(rows.map(({ letter }) => letter.attempts)),
    instants(rows.map(({ letter }) => letter.failedAt)),
    instants(rows.map(({ letter }) => letter.receivedAt))
  ]
}
