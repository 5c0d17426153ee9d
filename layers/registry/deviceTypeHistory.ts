/**
 * How versions of a device type are read, decided upon and added. Within the transaction that has locked the type.
 * @module
 */
import {
  type Draft,
  effectiveAtOf,
  type GateClosed,
  type NothingToPublish,
  type Publication,
  type PublishedVersion
} from "@argusiq/domain/device-versions.ts"
import { type Evaluate } from "@argusiq/domain/expression/expression.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { type PgClient } from "@effect/sql-pg"
import { Clock, Effect, type Result } from "effect"
import { type Sandbox } from "../sandbox/Sandbox.ts"
import { withExpressions } from "../sandbox/withExpressions.ts"
import { type Actor } from "./Devices.ts"
import { decodeConfig, encodeConfig } from "./deviceTypeRow.ts"
import { newId } from "./newId.ts"
import { WrongState } from "./refusals.ts"
import { NotPublishable } from "./resolvedConfig.ts"

/** The published versions, oldest first, and the draft. Only what is asked for is read as a configuration. */
export const history = Effect.fnUntraced(function* (sql: PgClient.PgClient, id: string) {
  const rows = yield* sql<{ number: number; effective_at: number | null; config: unknown }>`
    select number, (extract(epoch from effective_at) * 1000000)::float8 as effective_at, config
    from device_type_versions where device_type_id = ${id}::uuid order by number`
  const published: Array<PublishedVersion> = []
  let draft: Draft | undefined
  for (const { config, effective_at: effectiveAt, number } of rows) {
    if (effectiveAt === null) draft = { number, config: decodeConfig(config) }
    else
      published.push({
        number,
        effectiveAt,
        get config() {
          return decodeConfig(config)
        }
      })
  }
  return { draft, published }
})

export const insertVersion = (
  sql: PgClient.PgClient,
  actor: Actor,
  id: string,
  version: PublishedVersion,
  note: string
) =>
  sql`insert into device_type_versions
      (id, tenant_id, device_type_id, number, state, effective_at, config, note, author)
    values (${newId()}::uuid, ${actor.tenantId}::uuid, ${id}::uuid, ${version.number}, 'published',
      ${instant(sql, version.effectiveAt)}, ${sql.json(encodeConfig(version.config))}, ${note},
      ${actor.userId ?? null}::uuid)`
/** Epoch microseconds as a timestamptz, to the last one. */
export const instant = (sql: PgClient.PgClient, micros: Instant) => sql`to_timestamp(${micros}::float8 / 1000000)`

const nowMicros = Effect.map(Clock.currentTimeMillis, (millis) => millis * 1_000)

/** The decision, in force counted from its end: test vectors take their time, and every process must know of it before. */
export const decided = Effect.fnUntraced(function* (
  published: ReadonlyArray<PublishedVersion>,
  sandbox: Sandbox["Service"],
  decide: (now: Instant, evaluate: Evaluate) => Result.Result<Publication, NothingToPublish | GateClosed>
) {
  const now = yield* nowMicros
  const decision = yield* withExpressions(sandbox, (evaluate) => decide(now, evaluate))
  const publication = yield* Effect.fromResult(decision).pipe(
    Effect.catchTags({
      NothingToPublish: ({ message }) => Effect.fail(new WrongState({ message })),
      GateClosed: ({ faults }) => Effect.fail(new NotPublishable({ faults }))
    })
  )
  const effectiveAt = effectiveAtOf(published, yield* nowMicros)
  return { ...publication, version: { ...publication.version, effectiveAt } }
})
