/**
 * Lets a run of hours fit on the disk: the partitions of its time are cut into slices of five minutes, and each slice is
 * taken out, counted and dropped a while after its time. Rows that come later still find a partition and are counted at the end.
 * @module
 */
import { type Superuser } from "../test/support/superuser.ts"
import { type Percentiles } from "./percentiles.ts"
import { storedBetween } from "./stored.ts"

const SLICE_MILLIS = 300_000
/** After the end of its time a slice waits so long for what is still on its way. */
const GRACE_MILLIS = 60_000
/** From this on it pays. */
export const SLICED_FROM_SECONDS = 600

const tables = ["telemetry_frames", "telemetry_raw"] as const
type Table = (typeof tables)[number]

interface Slice {
  readonly table: Table
  readonly name: string
  readonly from: number
  readonly to: number
}

/** Rows and bytes of what has been dropped, and the ages of the frames by slice. */
export interface Dropped {
  readonly rows: Record<Table, number>
  readonly bytes: Record<Table, number>
  readonly millis: Array<Percentiles & { readonly max: number }>
}

const instant = (millis: number) => `'${new Date(millis).toISOString()}'`
const create = ({ from, name, table, to }: Slice) =>
  `create table ${name} partition of ${table} for values from (${instant(from)}) to (${instant(to)});
   alter table ${name} owner to argusiq_owner;`
const transaction = (statements: string) => `do $do$ begin ${statements} end $do$`

/** The first piece of a partition keeps its name, by which the platform knows that the partition is there. */
const piecesOf = (partition: Slice, start: number, end: number): ReadonlyArray<Slice> => {
  const cuts = [partition.from]
  for (let cut = start; cut <= end; cut += SLICE_MILLIS) if (cut > partition.from && cut < partition.to) cuts.push(cut)
  return cuts.map((from, index) => ({
    table: partition.table,
    name: index === 0 ? partition.name : `${partition.name}_bench_${index}`,
    from,
    to: cuts[index + 1] ?? partition.to
  }))
}

const partitionsOf = async (sql: Superuser, table: Table): Promise<ReadonlyArray<Slice>> => {
  const rows = await sql.query<{ name: string; from: number; to: number }>(
    `select name, (extract(epoch from split_part(bound, '''', 2)::timestamptz) * 1000)::float8 as "from",
       (extract(epoch from split_part(bound, '''', 4)::timestamptz) * 1000)::float8 as "to"
     from (select inhrelid::regclass::text as name, pg_get_expr(relpartbound, oid) as bound
       from pg_inherits join pg_class on oid = inhrelid where inhparent = '${table}'::regclass) as partition
     where bound like 'FOR VALUES FROM (''%'`
  )
  return rows.map((row) => ({ table, ...row }))
}

/** Before anything is stored that is to be kept: the partitions of the time are made anew. */
export const openSlices = async (sql: Superuser, seconds: number) => {
  const start = Date.now()
  const end = start + seconds * 1000 + 2 * SLICE_MILLIS
  let slices: Array<Slice> = []
  for (const table of tables) {
    const cut = (await partitionsOf(sql, table)).filter(({ from, to }) => from < end && to > start)
    const pieces = cut.flatMap((partition) => piecesOf(partition, start, end))
    const drops = cut.map(({ name }) => `drop table ${name};`)
    await sql.query(transaction(drops.join("\n") + pieces.map(create).join("\n")))
    slices.push(...pieces.filter(({ from, to }) => from >= start && to <= end))
  }
  const dropped: Dropped = {
    rows: { telemetry_frames: 0, telemetry_raw: 0 },
    bytes: { telemetry_frames: 0, telemetry_raw: 0 },
    millis: []
  }
  const take = async (slice: Slice) => {
    const { from, name, table, to } = slice
    await sql.query(
      transaction(`set local lock_timeout = '2s';
        alter table ${table} detach partition ${name}; alter table ${name} rename to taken; ${create({ ...slice, name: "taken_anew" })}
        alter table taken_anew rename to ${name};`)
    )
    if (table === "telemetry_frames") {
      const { frames, millis } = await storedBetween(sql, from * 1000, to * 1000, "taken tablesample system (5)")
      if (frames > 0) dropped.millis.push(millis)
    }
    const [size] = await sql.query<{ rows: number; bytes: number }>(
      "select count(*)::float8 as rows, pg_total_relation_size('taken')::float8 as bytes from taken"
    )
    dropped.rows[table] += size?.rows ?? 0
    dropped.bytes[table] += size?.bytes ?? 0
    await sql.query("drop table taken")
  }
  let working = Promise.resolve()
  let fault: unknown
  const timer = setInterval(() => {
    const due = slices.filter(({ to }) => to + GRACE_MILLIS < Date.now())
    slices = slices.filter((slice) => !due.includes(slice))
    for (const slice of due) {
      working = working
        .then(() => take(slice))
        .catch((error: unknown) => {
          fault ??= error
        })
    }
  }, 5_000)
  return {
    /** No more is dropped from then on. */
    stop: async (): Promise<Dropped> => {
      clearInterval(timer)
      await working
      if (fault !== undefined) throw fault
      return dropped
    }
  }
}
