import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Api, apiServer, type Call } from "./apiServer.ts"

layer(apiServer, { excludeTestServices: true })("If-Match, removal and pages", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const call = (method: string, path: string, options: Call = {}) =>
      api.call(method, `/api/v1${path}`, { token, ...options })
    const make = (path: string, body: object) =>
      Effect.map(call("POST", path, { body }), (answer) => {
        assert.strictEqual(answer.status, 201, answer.text)
        return answer.body
      })
    return { api, call, make }
  })

  it.effect("what is removed on the basis of an older version stays, whatever it is", () =>
    Effect.gen(function* () {
      const { call, make } = yield* session
      const deviceType = yield* make("/device-types", { name: "Versioned" })
      const assetType = yield* make("/asset-types", { name: "Versioned" })
      const made = {
        "asset-groups": yield* make("/asset-groups", { name: "Versioned", assetIds: [] }),
        "asset-profiles": yield* make("/asset-profiles", { name: "Versioned", assetTypeId: assetType.id }),
        spaces: yield* make("/spaces", { name: "Versioned", kind: "site" }),
        assets: yield* make("/assets", { name: "Versioned", assetTypeId: assetType.id }),
        devices: yield* make("/devices", { name: "Versioned", deviceTypeId: deviceType.id }),
        "asset-types": assetType,
        "device-types": deviceType
      }
      for (const [list, { id }] of Object.entries(made)) {
        const path = `/${list}/${id}`
        const based = (version: number) => ({ headers: { "if-match": `"${version}"` } })
        const changed = yield* call("PUT", path, { body: { name: "Changed" }, ...based(1) })
        assert.deepStrictEqual([changed.status, changed.body.version], [200, 2], changed.text)
        const lost = yield* call("DELETE", path, based(1))
        assert.strictEqual(lost.status, 412, `${list}: ${lost.text}`)
        assert.include(lost.body.detail, "version 2")
        assert.strictEqual((yield* call("GET", path)).status, 200)
        assert.strictEqual((yield* call("DELETE", path, { headers: { "if-match": "soon" } })).status, 400)
        const removed = yield* call("DELETE", path, based(2))
        assert.strictEqual(removed.status, 204, `${list}: ${removed.text}`)
        assert.strictEqual((yield* call("DELETE", path, based(2))).status, 404)
      }
      const type = yield* make("/device-types", { name: "Versioned" })
      const device = yield* make("/devices", { name: "Versioned", deviceTypeId: type.id })
      const early = yield* call("POST", `/devices/${device.id}/decommission`, { headers: { "if-match": "9" } })
      assert.strictEqual(early.status, 412, early.text)
      assert.strictEqual((yield* call("GET", `/devices/${device.id}`)).body.status, "active")
    })
  )

  it.effect("a device type is removed once no device, rule or other type names it, and its versions with it", () =>
    Effect.gen(function* () {
      const { call, make } = yield* session
      const type = yield* make("/device-types", { name: "Named", config: { processingMode: "endpoint" } })
      const remove = call("DELETE", `/device-types/${type.id}`)
      const refused = (by: string) =>
        Effect.map(remove, ({ body, status, text }) => {
          assert.strictEqual(status, 409, text)
          assert.include(body.detail, by)
        })
      const device = yield* make("/devices", { name: "Of the type", deviceTypeId: type.id })
      yield* refused('device "Of the type"')
      yield* call("DELETE", `/devices/${device.id}`)
      const rule = yield* make("/rules", {
        name: "About the type",
        entityType: "device",
        deviceTypeId: type.id,
        metricKey: "t",
        warningThreshold: 1
      })
      yield* refused('rule "About the type"')
      yield* call("DELETE", `/rules/${rule.id}`)
      assert.strictEqual((yield* remove).status, 204)
      assert.strictEqual((yield* call("GET", `/device-types/${type.id}/versions`)).status, 404)
    })
  )

  it.effect("keys, versions, links and jobs are listed page by page, each once", () =>
    Effect.gen(function* () {
      const { call, make } = yield* session
      const type = yield* make("/device-types", { name: "Paged", config: { processingMode: "endpoint" } })
      const device = yield* make("/devices", { name: "Paged", deviceTypeId: type.id })
      const assetType = yield* make("/asset-types", { name: "Paged" })
      for (let index = 0; index < 5; index++) {
        const asset = yield* make("/assets", { name: `Paged ${index}`, assetTypeId: assetType.id })
        yield* make(`/devices/${device.id}/assets/${asset.id}/link`, {})
        yield* make(`/devices/${device.id}/api-keys`, {})
        yield* call("PUT", `/device-types/${type.id}/draft`, { body: { config: { processingMode: "endpoint" } } })
        yield* call("POST", `/device-types/${type.id}/publish`)
        const span = { startTime: "2026-01-01T00:00:00Z", endTime: "2026-01-02T00:00:00Z" }
        const job = yield* call("POST", "/telemetry/replay", {
          body: { deviceId: device.id, ...span, source: "database", targetStream: "raw" }
        })
        assert.include([202, 400], job.status, job.text)
      }
      const lists = [
        `/devices/${device.id}/api-keys`,
        `/device-types/${type.id}/versions`,
        `/devices/${device.id}/assets`
      ]
      for (const list of [...lists, "/jobs"]) {
        const { body: whole } = yield* call("GET", list)
        const seen: Array<object> = []
        let cursor: string | null = null
        do {
          const next: string = cursor === null ? "" : `&cursor=${cursor}`
          const { body, status, text } = yield* call("GET", `${list}?limit=2${next}`)
          assert.strictEqual(status, 200, text)
          assert.isAtMost(body.items.length, 2)
          seen.push(...body.items)
          cursor = body.nextCursor
        } while (cursor !== null)
        assert.deepStrictEqual(seen, whole.items, list)
        if (list !== "/jobs") assert.isAtLeast(seen.length, 5, list)
        const foreign = Buffer.from(JSON.stringify(["key", "x"])).toString("base64url")
        for (const bad of ["x", foreign])
          assert.strictEqual((yield* call("GET", `${list}?cursor=${bad}`)).status, 400, list)
        assert.strictEqual((yield* call("GET", `${list}?limit=501`)).status, 400, list)
      }
    })
  )

  it.effect("devices are found by their external id, serial number and connection", () =>
    Effect.gen(function* () {
      const { api, call, make } = yield* session
      const { body: first } = yield* call("GET", `/devices/${api.firstDevice.deviceId}`)
      const device = yield* make("/devices", {
        name: "Found",
        deviceTypeId: first.deviceTypeId,
        externalId: "found-1",
        serialNumber: "F-1"
      })
      const ids = (query: string) =>
        Effect.map(call("GET", `/devices?${query}`), ({ body }) => body.items.map(({ id }: { id: string }) => id))
      assert.deepStrictEqual(yield* ids("externalId=found-1"), [device.id])
      assert.deepStrictEqual(yield* ids("serialNumber=F-1&externalId=found-1"), [device.id])
      assert.deepStrictEqual(yield* ids("externalId=found"), [])
      assert.include(yield* ids("connectivityStatus=unknown&limit=500"), device.id)
      assert.notInclude(yield* ids("connectivityStatus=online&limit=500"), device.id)
    })
  )

  it.effect("a rebuild of a group of devices, which there is none of, is refused with its reason", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const answer = yield* call("POST", "/rules/rebuild", {
        body: {
          entityType: "device",
          scope: { kind: "group", id: "01890a5d-ac96-774b-bcce-b302099a8057" },
          from: "2026-01-31T08:00:00Z",
          to: "2026-02-01T08:00:00Z"
        }
      })
      assert.strictEqual(answer.status, 422, answer.text)
      assert.strictEqual(answer.body.errors[0].path, "scope.kind")
    })
  )
})
