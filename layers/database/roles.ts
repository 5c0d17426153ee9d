/**
 * The three database roles and what each is for. `argusiq_owner` owns the schema, `argusiq_pipeline` writes for all
 * tenants, `argusiq_app` sees one tenant at a time. None is a superuser, none passes by row-level security.
 * @module
 */
import { Effect, Schema } from "effect"
import { type SqlClient } from "effect/sql"
import { sqlState } from "./errors.ts"

export const roles = { owner: "argusiq_owner", pipeline: "argusiq_pipeline", app: "argusiq_app" } as const

/** On a server of our own, as its superuser: the roles with their passwords, and the database. Repeatable. */
export const makeServerRoles = Effect.fn("roles.makeServerRoles")(function* (
  sql: SqlClient.SqlClient,
  passwords: Readonly<Record<string, string>>,
  database: string
) {
  for (const role of Object.values(roles)) {
    const known = yield* sql`select 1 from pg_roles where rolname = ${role}`
    if (known.length === 0) yield* sql.unsafe(`create role ${role}`)
    yield* sql.unsafe(
      `alter role ${role} with login nosuperuser nocreatedb nocreaterole noreplication nobypassrls ` +
        `password '${passwords[role] ?? ""}'`
    )
  }
  const known = yield* sql`select 1 from pg_database where datname = ${database}`
  if (known.length === 0) yield* sql.unsafe(`create database ${database} owner ${roles.owner}`)
  yield* sql.unsafe(`revoke all on database ${database} from public`)
  yield* sql.unsafe(`grant connect on database ${database} to ${roles.pipeline}, ${roles.app}`)
})

/** The owner may not set up the roles: `message` says what somebody who may has to run. */
export class RolesError extends Schema.TaggedError<RolesError>()("RolesError", {
  message: Schema.String,
  cause: Schema.Defect()
}) {}

/**
 * On a server of somebody else's, as the owner: the roles that the policies name, without a login of their own. The logins
 * that services use are members of them; `actAs` names the roles that have none, as which the owner acts. Repeatable.
 */
export const makeGroupRoles = Effect.fn("roles.makeGroupRoles")(function* (
  sql: SqlClient.SqlClient,
  actAs: ReadonlyArray<string>
) {
  yield* sql.withTransaction(
    Effect.gen(function* () {
      // Of processes that start at the same time each would find a role missing.
      yield* sql`select pg_advisory_xact_lock(hashtext('argusiq/roles'))`
      for (const role of [roles.pipeline, roles.app]) {
        const known = yield* sql`select 1 from pg_roles where rolname = ${role}`
        if (known.length === 0) yield* asOwner(sql, `create role ${role} nologin`)
        if (!actAs.includes(role)) continue
        const rows = yield* sql<{ mayAct: boolean }>`select pg_has_role(current_user, ${role}, 'SET') as "mayAct"`
        if (rows[0]?.mayAct !== true) yield* asOwner(sql, `grant ${role} to current_user with inherit false, set true`)
      }
    })
  )
})

const asOwner = (sql: SqlClient.SqlClient, statement: string) =>
  sql.unsafe(statement).pipe(
    Effect.mapError((cause) =>
      sqlState(cause) === "42501"
        ? new RolesError({
            message:
              `The user of DATABASE_URL may not run "${statement}". Have an administrator of the server run it ` +
              "(for current_user put that user), or give it CREATEROLE.",
            cause
          })
        : cause
    )
  )
