import { assert, layer } from "@effect/vitest"
import { RequiredPermission, rolePermissions, roles } from "@argusiq/domain/permissions.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Authorization } from "@argusiq/domain/http/security.ts"
import { Context, Effect, Option } from "effect"
import { type HttpApiEndpoint, type HttpApiGroup } from "effect/http-api"
import { addOrganization, Api, apiServer, withoutRequestId } from "./apiServer.ts"

const nobody = "01890a5d-ac96-774b-bcce-b302099a8057"

/** Every endpoint behind the authorization, as declared. */
const guarded = Object.values(RestApi.groups as unknown as Record<string, HttpApiGroup.Top>).flatMap((group) =>
  Object.values(group.endpoints).filter((endpoint) => endpoint.middlewares.has(Authorization as never))
)
const permissionOf = (endpoint: HttpApiEndpoint.Top) =>
  Option.getOrUndefined(Context.getOption(endpoint.annotations, RequiredPermission))

const fill = (path: string) => path.replace(":topic", "telemetry.raw.v1").replaceAll(/:\w+/g, nobody) // what is let through finds nothing

layer(apiServer, { excludeTestServices: true })("tenants and roles", (it) => {
  it.effect("every route names the permission that it needs", () =>
    Effect.sync(() => {
      assert.isAbove(guarded.length, 20)
      for (const endpoint of guarded) assert.isDefined(permissionOf(endpoint), endpoint.path)
    })
  )

  it.effect("another tenant's device, type and key answer exactly as missing ones, on every route", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const { email } = yield* addOrganization("stranger")
      const owner = yield* api.login()
      const stranger = yield* api.login(email)
      const { body: device } = yield* api.call("GET", `/api/v1/devices/${api.firstDevice.deviceId}`, { token: owner })
      const { body: key } = yield* api.call("POST", `/api/v1/devices/${device.id}/api-keys`, { token: owner })
      const config = { processingMode: "endpoint" }
      const routes = (deviceId: string, typeId: string, keyId: string): ReadonlyArray<[string, string, unknown?]> => [
        ["GET", `/api/v1/devices/${deviceId}`],
        ["PATCH", `/api/v1/devices/${deviceId}`, { name: "taken over" }],
        ["PUT", `/api/v1/devices/${deviceId}`, { name: "taken over" }],
        ["POST", `/api/v1/devices/${deviceId}/decommission`],
        ["DELETE", `/api/v1/devices/${deviceId}`],
        ["GET", `/api/v1/devices/${deviceId}/children`],
        ["GET", `/api/v1/devices/${deviceId}/api-keys`],
        ["POST", `/api/v1/devices/${deviceId}/api-keys`],
        ["DELETE", `/api/v1/devices/${deviceId}/api-keys/${keyId}`],
        ["GET", `/api/v1/device-types/${typeId}`],
        ["PATCH", `/api/v1/device-types/${typeId}`, { name: "taken over" }],
        ["GET", `/api/v1/device-types/${typeId}/versions`],
        ["PUT", `/api/v1/device-types/${typeId}/draft`, { config }],
        ["POST", `/api/v1/device-types/${typeId}/publish`],
        ["POST", `/api/v1/device-types/${typeId}/rollback`, { version: 1 }],
        ["POST", `/api/v1/device-types/${typeId}/test`, { payload: {} }],
        [
          "POST",
          `/api/v1/device-types/${typeId}/reprocess`,
          { from: "2026-01-01T00:00:00Z", to: "2026-01-02T00:00:00Z" }
        ],
        ["GET", `/api/v1/telemetry/device/${deviceId}`],
        ["GET", `/api/v1/telemetry/device/${deviceId}?aggregation=1h&metricKey=a`],
        ["GET", `/api/v1/telemetry/device/${deviceId}/latest`],
        ["POST", "/api/v1/devices", { name: "mine", deviceTypeId: typeId }]
      ]
      const theirs = routes(device.id, device.deviceTypeId, key.id)
      const missing = routes(nobody, nobody, nobody)
      for (const [index, [method, path, body]] of theirs.entries()) {
        const there = yield* api.call(method, path, { token: stranger, body })
        const absent = yield* api.call(method, missing[index]?.[1] ?? "", {
          token: stranger,
          body: method === "POST" && path === "/api/v1/devices" ? missing[index]?.[2] : body
        })
        assert.include([404, 422], there.status, `${method} ${path}: ${there.text}`)
        assert.strictEqual(there.status, absent.status, `${method} ${path}`)
        assert.deepStrictEqual(withoutRequestId(there.body), withoutRequestId(absent.body), `${method} ${path}`)
      }
      const { body: untouched } = yield* api.call("GET", `/api/v1/devices/${device.id}`, { token: owner })
      assert.deepStrictEqual(untouched, device)
      for (const list of ["devices", "device-types"]) {
        const { body } = yield* api.call("GET", `/api/v1/${list}`, { token: stranger })
        assert.deepStrictEqual(body.items, [])
      }
      const { body: me } = yield* api.call("GET", "/api/v1/auth/me", { token: stranger })
      const switched = yield* api.call("POST", "/api/v1/auth/switch", {
        token: stranger,
        body: { organizationId: device.organizationId }
      })
      assert.strictEqual(switched.status, 404)
      assert.notStrictEqual(me.organizationId, device.organizationId)
    })
  )

  it.effect(
    "another tenant's assets, and all that belongs to them, answer exactly as missing ones, on every route",
    () =>
      Effect.gen(function* () {
        const api = yield* Api
        const { email } = yield* addOrganization("asset-stranger")
        const owner = yield* api.login()
        const stranger = yield* api.login(email)
        const make = (path: string, body: object) =>
          Effect.map(api.call("POST", `/api/v1${path}`, { token: owner, body }), (answer) => {
            assert.strictEqual(answer.status, 201, answer.text)
            return answer.body
          })
        const { deviceId } = api.firstDevice
        const type = yield* make("/asset-types", { name: "T", config: {} })
        const profile = yield* make("/asset-profiles", { name: "P", assetTypeId: type.id })
        const space = yield* make("/spaces", { name: "S", kind: "site" })
        const asset = yield* make("/assets", { name: "A", profileId: profile.id, spaceId: space.id })
        const group = yield* make("/asset-groups", { name: "G", assetIds: [asset.id] })
        const breach = { metricKey: "t", warningThreshold: 1, criticalThreshold: 2 }
        const rule = yield* make("/rules", { name: "R", entityType: "asset", entityId: asset.id, ...breach })
        yield* make(`/devices/${deviceId}/assets/${asset.id}/link`, {})

        const own = yield* api.call("POST", "/api/v1/asset-types", { token: stranger, body: { name: "Mine" } })
        const assetTypeId = own.body.id
        type Ids = Readonly<Record<"asset" | "device" | "group" | "profile" | "rule" | "space" | "type", string>>
        const routes = (ids: Ids): ReadonlyArray<[string, string, unknown?]> => [
          ...["assets", "asset-types", "asset-profiles", "asset-groups", "spaces", "rules", "threshold-rules"].flatMap(
            (list): ReadonlyArray<[string, string, unknown?]> => {
              const id = {
                assets: ids.asset,
                "asset-types": ids.type,
                "asset-profiles": ids.profile,
                "asset-groups": ids.group,
                spaces: ids.space
              }[list]
              const path = `/api/v1/${list}/${id ?? ids.rule}`
              return [
                ["GET", path],
                ["PATCH", path, { name: "taken over" }],
                ["DELETE", path]
              ]
            }
          ),
          ["PUT", `/api/v1/assets/${ids.asset}`, { name: "taken over" }],
          ["GET", `/api/v1/assets/${ids.asset}/children`],
          ["GET", `/api/v1/assets/${ids.asset}/devices`],
          ["GET", `/api/v1/assets/${ids.asset}/documents`],
          ["GET", `/api/v1/spaces/${ids.space}/documents`],
          ["GET", `/api/v1/devices/${ids.device}/assets`],
          ["POST", `/api/v1/devices/${ids.device}/assets/${ids.asset}/link`],
          ["DELETE", `/api/v1/devices/${ids.device}/assets/${ids.asset}/unlink`],
          ["GET", `/api/v1/asset-types/${ids.type}/telemetry-config`],
          ["PATCH", `/api/v1/asset-types/${ids.type}/telemetry-config`, { note: "taken over" }],
          ["GET", `/api/v1/asset-types/${ids.type}/versions`],
          ["GET", `/api/v1/asset-types/${ids.type}/dashboard`],
          ["PUT", `/api/v1/asset-types/${ids.type}/dashboard`, {}],
          ["POST", `/api/v1/asset-types/${ids.type}/publish`],
          ["POST", `/api/v1/asset-types/${ids.type}/rollback`, { version: 1 }],
          ["POST", `/api/v1/asset-profiles/${ids.profile}/assets`, { name: "mine" }],
          ["PUT", `/api/v1/rules/${ids.rule}`, { name: "taken over" }],
          ["GET", `/api/v1/rules/${ids.rule}/versions`],
          ["POST", "/api/v1/assets", { name: "mine", assetTypeId: ids.type }],
          ["POST", "/api/v1/assets", { name: "mine", assetTypeId, parentId: ids.asset }],
          ["POST", "/api/v1/assets", { name: "mine", assetTypeId, spaceId: ids.space }],
          ["POST", "/api/v1/assets", { name: "mine", profileId: ids.profile }],
          ["POST", "/api/v1/asset-types", { name: "mine", parentTypeId: ids.type }],
          ["POST", "/api/v1/asset-profiles", { name: "mine", assetTypeId: ids.type }],
          ["POST", "/api/v1/asset-groups", { name: "mine", assetIds: [ids.asset] }],
          ["POST", "/api/v1/spaces", { name: "mine", kind: "room", parentId: ids.space }],
          ["POST", "/api/v1/rules", { name: "mine", entityType: "asset", entityId: ids.asset, ...breach }],
          ["POST", "/api/v1/rules", { name: "mine", entityType: "asset", assetTypeId: ids.type, ...breach }],
          ["POST", "/api/v1/rules", { name: "mine", entityType: "asset", groupId: ids.group, ...breach }]
        ]
        const theirs = routes({
          asset: asset.id,
          device: deviceId,
          group: group.id,
          profile: profile.id,
          rule: rule.id,
          space: space.id,
          type: type.id
        })
        const missing = routes({
          asset: nobody,
          device: nobody,
          group: nobody,
          profile: nobody,
          rule: nobody,
          space: nobody,
          type: nobody
        })
        for (const [index, [method, path, body]] of theirs.entries()) {
          const there = yield* api.call(method, path, { token: stranger, body })
          const absent = yield* api.call(method, missing[index]![1], { token: stranger, body: missing[index]![2] })
          assert.include([404, 422], there.status, `${method} ${path}: ${there.text}`)
          assert.strictEqual(there.status, absent.status, `${method} ${path}`)
          assert.deepStrictEqual(withoutRequestId(there.body), withoutRequestId(absent.body), `${method} ${path}`)
        }
        const { body: bulk } = yield* api.call("POST", "/api/v1/devices/bulk-link", {
          token: stranger,
          body: { links: [{ deviceId, assetId: asset.id }] }
        })
        assert.deepStrictEqual([bulk.linked, bulk.failed], [0, 1])
        for (const list of [
          "assets",
          "asset-profiles",
          "asset-groups",
          "spaces",
          "rules",
          `assets?groupId=${group.id}`
        ]) {
          const { body } = yield* api.call("GET", `/api/v1/${list}`, { token: stranger })
          assert.deepStrictEqual(body.items, [], list)
        }
        const shown = yield* api.call("GET", `/api/v1/assets/${asset.id}`, { token: owner })
        assert.strictEqual(shown.body.version, asset.version)
        assert.strictEqual(shown.body.linkedDevicesCount, 1)
      })
  )

  it.effect("every role is let through where the table says so, and nowhere else", () =>
    Effect.gen(function* () {
      const api = yield* Api
      for (const role of roles) {
        const { email } = yield* addOrganization(`only-${role}`, role)
        const token = yield* api.login(email)
        for (const endpoint of guarded) {
          const permission = permissionOf(endpoint)
          const isAllowed = permission === "none" || (permission !== undefined && rolePermissions[role].has(permission))
          const answer = yield* api.call(endpoint.method, fill(endpoint.path), { token })
          assert.strictEqual(
            answer.status !== 403,
            isAllowed,
            `${role} ${endpoint.method} ${endpoint.path}: ${answer.text}`
          )
          assert.notStrictEqual(answer.status, 401)
          assert.isBelow(answer.status, 500, answer.text)
        }
      }
    })
  )

  it.effect("an administrator of one organization does not operate the platform", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const { email } = yield* addOrganization("local-admin")
      const token = yield* api.login(email)
      for (const path of ["/api/v1/topics", "/api/v1/topics/telemetry.raw.v1/records", "/api/v1/consumers"]) {
        assert.strictEqual((yield* api.call("GET", path, { token })).status, 403)
      }
    })
  )
})
