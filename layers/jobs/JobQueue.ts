/**
 * The table `jobs` as its worker sees it. Whoever takes a job up raises its epoch, and each step is stored on condition of that
 * epoch and of the job's still being wanted: a worker that has lost its job, or whose job was cancelled, stores nothing more.
 * @module
 */
import { type JobKind } from "@argusiq/domain/http/jobs.ts"
import { Effect, Schema } from "effect"
import { type SqlClient } from "effect/sql"

export interface TakenJob {
  readonly id: string
  readonly tenantId: string
  readonly kind: JobKind
  readonly parameters: unknown
  readonly epoch: string
  readonly progress: number
  /** What the last step left; null: none was taken. */
  readonly checkpoint: unknown
  /** It has said what it waits for, and taken no step since. */
  readonly isWaiting: boolean
}

/** Jobs of one lane are worked off one after another, since a later one may build on what an earlier one does. */
export const laneOf = ({ kind, tenantId }: Pick<TakenJob, "kind" | "tenantId">): string => `${tenantId}/${kind}`

/** Cancelled meanwhile, or taken up by another worker: nothing of it may be stored any more. */
export class NotWanted extends Schema.TaggedError<NotWanted>()("NotWanted", {}) {}

type Sql = SqlClient.SqlClient
type Held = Pick<TakenJob, "id" | "epoch">

/** The oldest job that waits, or that somebody has left running, in none of the busy lanes; undefined: there is none. */
export const take = (sql: Sql, kinds: ReadonlyArray<JobKind>, busyLanes: Iterable<string>) =>
  sql<TakenJob>`
    update jobs set state = 'running', epoch = epoch + 1, started_at = coalesce(started_at, now())
    where id = (
      select id from jobs where state in ('queued', 'running') and kind = any(${kinds}::text[])
        and tenant_id::text || '/' || kind <> all(${[...busyLanes]}::text[])
      order by created_at, id limit 1 for update skip locked)
    returning id::text, tenant_id::text as "tenantId", kind, parameters, epoch::text, progress::float8, checkpoint,
      error is not null as "isWaiting"`.pipe(Effect.map((rows) => rows[0]))

/**
 * Stores how far it has come; in the transaction of what was done, where that is rows. Fails when nobody wants it any more. The
 * commit does not wait for the disk: a crash of the machine takes back the last steps with their rows, and they are taken again.
 */
export const step = Effect.fnUntraced(function* (sql: Sql, { epoch, id }: Held, progress: number, checkpoint: object) {
  const rows = yield* sql`
    update jobs set progress = ${progress}, checkpoint = ${JSON.stringify(checkpoint)}::text::jsonb, error = null
    where id = ${id}::uuid and state = 'running' and epoch = ${epoch}::bigint
    returning set_config('synchronous_commit', 'off', true)`
  if (rows.length === 0) return yield* new NotWanted()
})

/** Whether the job is still to be worked on by the one who took it up. */
export const isWanted = (sql: Sql, { epoch, id }: Held) =>
  sql`select from jobs where id = ${id}::uuid and state = 'running' and epoch = ${epoch}::bigint`.pipe(
    Effect.map((rows) => rows.length === 1)
  )

/** Says what a running job waits for; the next step takes it back. */
export const waiting = (sql: Sql, { epoch, id }: Held, reason: string) =>
  sql`update jobs set error = ${reason}
    where id = ${id}::uuid and state = 'running' and epoch = ${epoch}::bigint`.pipe(Effect.asVoid)

/** It has come to its end: all that it went through is its total. */
export const complete = (sql: Sql, { epoch, id }: Held) =>
  sql`update jobs set state = 'completed', completed_at = now(), total = progress, error = null
    where id = ${id}::uuid and state = 'running' and epoch = ${epoch}::bigint`.pipe(Effect.asVoid)

/** `error`: why, and what a person can do. */
export const fail = (sql: Sql, { epoch, id }: Held, error: string) =>
  sql`update jobs set state = 'failed', completed_at = now(), error = ${error}
    where id = ${id}::uuid and state = 'running' and epoch = ${epoch}::bigint`.pipe(Effect.asVoid)
