import { publishedApi } from "@argusiq/api/documentation.ts"
import { exampleOf, type JsonSchema } from "@argusiq/api/openapi/examples.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Authorization } from "@argusiq/domain/http/security.ts"
import { isAllowed, RequiredPermission, type Role, roles } from "@argusiq/domain/permissions.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Option } from "effect"
import { HttpApi, OpenApi } from "effect/http-api"
import { addOrganization, Api, apiServer, type Call, withoutRequestId } from "./apiServer.ts"
import { type Fixtures, makeFixtures } from "./tenantFixtures.ts"

interface Route {
  readonly method: string
  readonly path: string
  readonly permission: string | undefined
}

/** Every route behind the authorization, as declared: what is added later is walked too. */
const routes: Array<Route> = []
HttpApi.reflect(RestApi, {
  onGroup: () => {},
  onEndpoint: ({ endpoint, mergedAnnotations }) => {
    if (!endpoint.middlewares.has(Authorization as never)) return
    const permission = Option.getOrUndefined(Context.getOption(mergedAnnotations, RequiredPermission))
    routes.push({ method: endpoint.method, path: endpoint.path.replace(/(?<=.)\/$/, ""), permission })
  }
})
const named = ({ method, path }: Route) => `${method} ${path}`

interface Operation {
  readonly parameters?: ReadonlyArray<{ name: string; in: string; required: boolean; schema: JsonSchema }>
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly example?: unknown }>> }
}
const document = OpenApi.fromApi(publishedApi) as unknown as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}
const operationOf = ({ method, path }: Route): Operation =>
  document.paths[path.replaceAll(/:(\w+)/g, "{$1}")]![method.toLowerCase()]!

/** A request as the document shows it, so that what is refused is refused for whom it asks, not for how. */
const requestOf = (route: Route): { readonly query: string; readonly call: Call } => {
  const { parameters = [], requestBody } = operationOf(route)
  const needed = parameters.filter((one) => one.in === "query" && one.required)
  const query = needed.map(
    ({ name, schema }) => `${name}=${encodeURIComponent(String(exampleOf(schema, {}, { isWhole: true, name })))}`
  )
  const [type, body] = Object.entries(requestBody?.content ?? {})[0] ?? []
  const isJson = type?.endsWith("json") === true
  return {
    query: query.length === 0 ? "" : `?${query.join("&")}`,
    call:
      type === undefined
        ? {}
        : isJson
          ? { body: body?.example }
          : { rawBody: "%PDF-1.4", headers: { "content-type": type } }
  }
}

const nobody = "01890a5d-ac96-774b-bcce-b302099a8057"
const fillMissing = (path: string) => path.replace(":topic", "telemetry.raw.v1").replaceAll(/:\w+/g, nobody)

/** Of the platform, not of an organization: what stands before the parameter is no tenant's. */
const platformWide: ReadonlySet<string> = new Set(["topics", "consumers"])

const fill = (path: string, fixtures: Fixtures) =>
  path.replaceAll(/([\w-]+)\/:(\w+)/g, (_, segment: string, parameter: string) => {
    const id = fixtures[segment]
    if (id === undefined) {
      throw new Error(
        `${path}: there is no fixture for :${parameter} behind "${segment}". Make one in tenantFixtures.ts and name it "${segment}".`
      )
    }
    return `${segment}/${id}`
  })
const isOfTenants = ({ path, permission }: Route) =>
  permission !== "platform:operate" &&
  permission !== "organizations:operate" &&
  ![...path.matchAll(/([\w-]+)\/:/g)].some(([, segment]) => platformWide.has(segment!))

layer(apiServer, { excludeTestServices: true })("every route, role and tenant", (it) => {
  it.effect("every route names its permission, and every parameter of a path has a fixture", () =>
    Effect.gen(function* () {
      const { organizationId, email } = yield* addOrganization("fixtures-only")
      const { fixtures } = yield* makeFixtures(yield* (yield* Api).login(email), organizationId)
      assert.isAbove(routes.length, 100)
      assert.deepStrictEqual(routes.filter(({ permission }) => permission === undefined).map(named), [])
      for (const route of routes.filter(isOfTenants)) fill(route.path, fixtures)
    })
  )

  it.effect("without a token, or with a wrong one, every route answers 401 and nothing else", () =>
    Effect.gen(function* () {
      const api = yield* Api
      for (const route of routes) {
        for (const token of [undefined, "x.y.z"]) {
          const { call, query } = requestOf(route)
          const answer = yield* api.call(route.method, fillMissing(route.path) + query, { ...call, token })
          assert.strictEqual(answer.status, 401, `${named(route)}: ${answer.text}`)
        }
      }
    })
  )

  it.effect("every role is let through where the table says so, and is answered 403 everywhere else", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const sql = yield* OwnerSql
      const callers: Array<{
        readonly name: string
        readonly role: Role
        readonly isPlatformAdmin: boolean
        token: string
      }> = []
      for (const role of roles) {
        const { email } = yield* addOrganization(`matrix-${role}`, role)
        callers.push({ name: role, role, isPlatformAdmin: false, token: yield* api.login(email) })
      }
      const operator = yield* addOrganization("matrix-operator", "viewer")
      yield* sql`update users set is_platform_admin = true where id = ${operator.userId}`
      callers.push({
        name: "platform admin",
        role: "viewer",
        isPlatformAdmin: true,
        token: yield* api.login(operator.email)
      })
      let refused = 0
      for (const caller of callers) {
        for (const route of routes) {
          const { permission } = route
          const isLetThrough = permission === "none" || isAllowed(caller, permission as never)
          // Without a body: who may is decided before what is asked for is looked at.
          const answer = yield* api.call(route.method, fillMissing(route.path), { token: caller.token })
          const said = `${caller.name} ${named(route)}: ${answer.status} ${answer.text.slice(0, 300)}`
          assert.strictEqual(answer.status !== 403, isLetThrough, said)
          assert.notStrictEqual(answer.status, 401, said)
          assert.isBelow(answer.status, 500, said)
          if (answer.status === 403) refused++
        }
      }
      assert.isAbove(refused, 100)
    })
  )

  it.effect("another tenant's ids answer as missing ones on every route, change nothing, and are in no list", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const owner = yield* addOrganization("matrix-owner")
      const stranger = yield* addOrganization("matrix-stranger")
      const ownerToken = yield* api.login(owner.email)
      const token = yield* api.login(stranger.email)
      const { fixtures, unnamed } = yield* makeFixtures(ownerToken, owner.organizationId)
      const walked = routes.filter(isOfTenants)
      const single = walked.filter(({ method, path }) => method === "GET" && path.includes(":"))

      const look = Effect.forEach(single, (route) =>
        Effect.map(api.call("GET", fill(route.path, fixtures), { token: ownerToken }), ({ body, status, text }) => {
          assert.strictEqual(status, 200, `${named(route)}: ${text}`)
          return [named(route), body] as const
        })
      )
      const before = yield* look

      for (const route of walked.filter(({ path }) => path.includes(":"))) {
        const { call, query } = requestOf(route)
        const there = yield* api.call(route.method, fill(route.path, fixtures) + query, { ...call, token })
        const absent = yield* api.call(route.method, fillMissing(route.path) + query, { ...call, token })
        const said = `${named(route)}: ${there.status} ${there.text} against ${absent.status} ${absent.text}`
        assert.strictEqual(there.status, absent.status, said)
        assert.strictEqual(there.status, 404, said)
        assert.deepStrictEqual(withoutRequestId(there.body), withoutRequestId(absent.body), said)
      }
      assert.deepStrictEqual(yield* look, before)

      const theirs = [...new Set([...Object.values(fixtures), ...unnamed])]
      for (const route of walked.filter(({ method, path }) => method === "GET" && !path.includes(":"))) {
        const { text } = yield* api.call("GET", route.path, { token })
        for (const id of theirs) assert.notInclude(text, id, named(route))
      }
    })
  )

  it.effect("a body that names another tenant, a role or an id is not obeyed", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const owner = yield* addOrganization("mass-owner")
      const stranger = yield* addOrganization("mass-stranger", "engineer")
      const token = yield* api.login(stranger.email)
      const smuggled = {
        id: nobody,
        tenantId: owner.organizationId,
        tenant_id: owner.organizationId,
        organizationId: owner.organizationId,
        role: "admin",
        isPlatformAdmin: true,
        version: 99,
        createdBy: nobody
      }
      const make = (path: string, body: object) =>
        api.call("POST", `/api/v1${path}`, { token, body: { ...body, ...smuggled } })
      const type = yield* make("/device-types", { name: "mine" })
      const device = yield* make("/devices", { name: "mine", deviceTypeId: type.body.id })
      const assetType = yield* make("/asset-types", { name: "mine" })
      const asset = yield* make("/assets", { name: "mine", assetTypeId: assetType.body.id })
      const rule = yield* make("/rules", { name: "mine", entityType: "device", metricKey: "t", warningThreshold: 1 })
      for (const { body, status, text } of [type, device, assetType, asset, rule]) {
        assert.strictEqual(status, 201, text)
        assert.strictEqual(body.organizationId, stranger.organizationId)
        assert.notStrictEqual(body.id, nobody)
        assert.strictEqual(body.version, 1)
      }
      const changed = yield* api.call("PATCH", `/api/v1/devices/${device.body.id}`, { token, body: smuggled })
      assert.deepInclude(changed.body, { id: device.body.id, organizationId: stranger.organizationId, version: 2 })
      const { body: me } = yield* api.call("GET", "/api/v1/auth/me", { token })
      assert.deepInclude(me, { role: "engineer", isPlatformAdmin: false, organizationId: stranger.organizationId })
    })
  )
})
