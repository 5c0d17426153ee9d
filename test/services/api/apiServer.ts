/**
 * The REST API on a free port, over a fresh database, a log and a data directory of its own: what its tests talk to.
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { routes } from "@argusiq/api/routes.ts"
import { answeringServer, requestLimits } from "@argusiq/platform/answeringServer.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { ensureFirstAdministrator } from "@argusiq/layers/identity/FirstStart.ts"
import { Passwords } from "@argusiq/layers/identity/Passwords.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { newId } from "@argusiq/layers/registry/newId.ts"
import { NodeHttpServer } from "@effect/platform-node"
import { ConfigProvider, Context, Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { testDatabase } from "../../support/postgres.ts"

export const adminPassword = "correct horse battery"
export const adminEmail = "admin@localhost"

export class DataDirectory extends Context.Service<DataDirectory, string>()("argusiq/test/DataDirectory") {
  static readonly layer = Layer.effect(
    DataDirectory,
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "argusiq-test-api-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
  )
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // Tests look into bodies of any shape.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any
}
export interface Call {
  readonly token?: string | undefined
  readonly body?: unknown
  readonly rawBody?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
}

export class Api extends Context.Service<
  Api,
  {
    readonly url: string
    readonly call: (method: string, path: string, options?: Call) => Effect.Effect<Answer>
    readonly login: (email?: string, password?: string) => Effect.Effect<string>
    readonly firstDevice: { readonly organizationId: string; readonly deviceId: string; readonly key: string }
  }
>()("argusiq/test/Api") {}

const configured = (environment: Readonly<Record<string, string>>) =>
  Layer.unwrap(
    Effect.map(DataDirectory, (directory) =>
      ConfigProvider.layer(
        ConfigProvider.fromUnknown({
          ARGUSIQ_DATA_DIR: directory,
          ARGUSIQ_ADMIN_PASSWORD: adminPassword,
          ...environment
        })
      )
    )
  )

const infrastructure = Layer.mergeAll(
  ProfileCache.layer({ size: 1_000 }),
  Layer.unwrap(
    Effect.map(DataDirectory, (directory) => LocalBus.layer({ directory: join(directory, "bus"), minFreeBytes: 1 }))
  )
)

const started = Layer.effect(
  Api,
  Effect.gen(function* () {
    const { firstDevice } = yield* ensureFirstAdministrator
    if (firstDevice === undefined) return yield* Effect.die(new Error("no first device"))
    const { address } = yield* HttpServer.HttpServer
    if (address._tag === "UnixPathAddress") return yield* Effect.die(new Error("no port"))
    const url = `http://127.0.0.1:${address.port}`
    const call = (method: string, path: string, { body, headers, rawBody, token }: Call = {}) =>
      Effect.promise(async (): Promise<Answer> => {
        const sent = rawBody ?? (body === undefined ? undefined : JSON.stringify(body))
        const response = await fetch(url + path, {
          method,
          headers: {
            ...(sent !== undefined && { "content-type": "application/json" }),
            ...(token !== undefined && { authorization: `Bearer ${token}` }),
            ...headers
          },
          ...(sent !== undefined && { body: sent })
        })
        const text = await response.text()
        const isJson = (response.headers.get("content-type") ?? "").includes("json")
        return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined }
      })
    const login = (email = adminEmail, password = adminPassword) =>
      Effect.map(call("POST", "/api/v1/auth/login", { body: { email, password } }), ({ body, status, text }) => {
        if (status !== 200) throw new Error(`login: ${status} ${text}`)
        return String(body.accessToken)
      })
    return Api.of({ url, call, login, firstDevice })
  })
)

/** With further settings, and with other limits. Everything that stands behind the API is there for the tests too. */
export const apiServerWith = (environment: Readonly<Record<string, string>>, limits = requestLimits) =>
  started.pipe(
    Layer.provideMerge(
      HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provideMerge(NodeHttpServer.layer(() => answeringServer(limits), { port: 0, host: "127.0.0.1" }))
      )
    ),
    Layer.provideMerge(Passwords.layer),
    Layer.provideMerge(infrastructure),
    Layer.provideMerge(configured(environment)),
    Layer.provideMerge(Layer.merge(testDatabase, DataDirectory.layer)),
    Layer.orDie
  )
export const apiServer = apiServerWith({})

/** Another organization with a user of that role; everybody has the administrator's password. */
export const addOrganization = Effect.fnUntraced(function* (slug: string, role = "admin") {
  const sql = yield* OwnerSql
  const passwordHash = yield* (yield* Passwords).hash(Redacted.make(adminPassword))
  const [organizationId, userId, email] = [newId(), newId(), `${slug}@example.com`]
  yield* sql`insert into organizations (id, name, slug) values (${organizationId}::uuid, ${slug}, ${slug})`
  yield* sql`insert into users (id, email, name, password_hash) values (${userId}::uuid, ${email}, ${slug}, ${passwordHash})`
  yield* sql`insert into memberships (id, tenant_id, user_id, role, is_default)
    values (${newId()}::uuid, ${organizationId}::uuid, ${userId}::uuid, ${role}, true)`
  return { organizationId, userId, email }
})

/** A problem without the one member that differs from request to request. */
export const withoutRequestId = (problem: object) =>
  Object.fromEntries(Object.entries(problem).filter(([member]) => member !== "requestId"))
