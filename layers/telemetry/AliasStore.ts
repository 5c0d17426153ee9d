/**
 * What devices of stateful protocols (Sparkplug B) have told in earlier messages: the names behind their aliases.
 *
 * A table of aliases is kept with the received-at of the message that left it, and a message is decoded with the last table
 * before its own received-at. So a batch that is handled again, a retry and a replay decode as the first time did, whatever has
 * been stored since; and storing a table early, or twice, changes nothing. Received-at rises within a device's messages.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type AliasTable } from "@argusiq/domain/protocol/decoder.ts"
import { Context, Effect, Layer, Result } from "effect"
import { PipelineSql } from "../database/Sql.ts"
import { WeightedCache } from "../cache/WeightedCache.ts"
import { type AliasedRecord, AliasHistories, type FoundRow, type NewRow, type Span, spansOf } from "./aliasHistories.ts"
import { instants, texts, uuids } from "./columns.ts"

/** The aliases that the messages of one batch need, and what they leave. */
export interface AliasBatch {
  /**
   * Decodes one of the batch's messages with the aliases of its time, and remembers those that it leaves when it succeeds. To be
   * called in the order of the batch.
   */
  through<A extends { readonly aliases?: AliasTable }, E>(
    record: AliasedRecord,
    decode: (aliases: AliasTable) => Result.Result<A, E>
  ): Result.Result<A, E>
  /** Stores what the messages have left. To be run before the batch's offsets move. */
  readonly save: Effect.Effect<void, DatabaseUnavailable>
}

export class AliasStore extends Context.Service<
  AliasStore,
  {
    /** @param records those of a batch whose adapter is stateful, in their order; without any nothing is asked. */
    open(records: ReadonlyArray<AliasedRecord>): Effect.Effect<AliasBatch, DatabaseUnavailable>
  }
>()("argusiq/layers/telemetry/AliasStore") {
  static readonly layer: Layer.Layer<AliasStore, never, PipelineSql> = Layer.effect(
    AliasStore,
    Effect.map(PipelineSql, (sql) => {
      const cache = new WeightedCache<AliasTable>(MOST_CACHED_ALIASES)
      const run = <A extends object>(statement: string, parameters: ReadonlyArray<unknown>) =>
        Effect.mapError(sql.unsafe<A>(statement, parameters), (cause) => new DatabaseUnavailable({ cause }))

      const load = Effect.fnUntraced(function* (spans: ReadonlyArray<Span>) {
        const rows = yield* run<FoundRow>(findStatement, [
          uuids(spans.map(({ deviceId }) => deviceId)),
          instants(spans.map(({ first }) => first)),
          instants(spans.map(({ last }) => last)),
          uuids(spans.flatMap(({ deviceId, hasRetries }) => (hasRetries ? [deviceId] : [])))
        ])
        const tables = new Map<string, AliasTable>()
        const missing = new Map<string, FoundRow>()
        for (const row of rows) {
          const cached = cache.get(row.digest)
          if (cached === undefined) missing.set(row.digest, row)
          else tables.set(row.digest, cached)
        }
        if (missing.size > 0) {
          const places = [...missing.values()]
          const read = yield* run<ReadRow>(readStatement, [
            uuids(places.map((row) => row.device_id)),
            instants(places.map((row) => row.received_at))
          ])
          for (const { aliases, digest } of read) {
            const table = JSON.parse(aliases) as AliasTable
            tables.set(digest, table)
            cache.set(digest, table, Object.keys(table).length + 1)
          }
        }
        return rows.flatMap((row) => {
          const aliases = tables.get(row.digest) // none: removed as too old since it was found
          return aliases === undefined ? [] : [{ ...row, aliases }]
        })
      })

      const store = Effect.fnUntraced(function* (rows: ReadonlyArray<NewRow>) {
        if (rows.length === 0) return
        yield* run(storeStatement, [
          uuids(rows.map((row) => row.deviceId)),
          instants(rows.map((row) => row.receivedAt)),
          uuids(rows.map((row) => row.tenantId)),
          texts(rows.map((row) => row.digest)),
          texts(rows.map((row) => row.json))
        ])
        yield* run(pruneStatement, [uuids([...new Set(rows.map((row) => row.deviceId))])])
      })

      return AliasStore.of({
        open: Effect.fn("AliasStore.open")(function* (records) {
          const batch = new AliasHistories()
          if (records.length === 0) return batchOf(batch, Effect.void)
          for (const row of yield* load(spansOf(records))) batch.stored(row)
          return batchOf(
            batch,
            Effect.suspend(() => store(batch.changes()))
          )
        })
      })
    })
  )
}

/** Of all tables in memory together: about 30 MB. */
const MOST_CACHED_ALIASES = 200_000
/** So many tables of a device are kept: a retry or a replay of what is older finds none, and is refused rather than misread. */
const KEPT_PER_DEVICE = 100

interface ReadRow {
  readonly digest: string
  readonly aliases: string
}
const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::float8`

/** For each device: the last table before its messages, those among them, and for its retries the first one after. */
const findStatement = `
select asked.device_id, ${micros("found.received_at")} as received_at, found.digest
from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) as asked (device_id, first, last)
cross join lateral (
  (select received_at, digest from device_aliases where device_id = asked.device_id and received_at < asked.first
    order by received_at desc limit 1)
  union all
  select received_at, digest from device_aliases
    where device_id = asked.device_id and received_at between asked.first and asked.last
  union all
  (select received_at, digest from device_aliases
    where device_id = asked.device_id and received_at > asked.last and asked.device_id = any($4::uuid[])
    order by received_at limit 1)
) as found
order by asked.device_id, found.received_at`

const readStatement = `
select digest, aliases from device_aliases
join unnest($1::uuid[], $2::timestamptz[]) as asked (device_id, received_at) using (device_id, received_at)`

const storeStatement = `
insert into device_aliases (device_id, received_at, tenant_id, digest, aliases)
select * from unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[]) as row order by 1, 2
on conflict (device_id, received_at) do update set digest = excluded.digest, aliases = excluded.aliases`

const pruneStatement = `
delete from device_aliases using unnest($1::uuid[]) as device (id)
where device_id = device.id and received_at < (
  select received_at from device_aliases newer where newer.device_id = device.id
  order by received_at desc offset ${KEPT_PER_DEVICE - 1} limit 1)`

const batchOf = (histories: AliasHistories, save: AliasBatch["save"]): AliasBatch => ({
  through: (record, decode) => {
    const before = histories.before(record)
    const decoded = decode(before)
    if (Result.isSuccess(decoded)) {
      const { aliases } = decoded.success
      if (aliases !== undefined && aliases !== before) histories.learned(record, aliases)
    }
    return decoded
  },
  save
})
