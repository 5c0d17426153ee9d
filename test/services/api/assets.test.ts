import { assert, layer } from "@effect/vitest"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { Api, apiServer, type Call } from "./apiServer.ts"

const metric = (key: string) => ({ key, displayName: key, dataType: "numeric" })

const pathsOf = (answer: { body: { errors: ReadonlyArray<{ path: string }> } }) =>
  answer.body.errors.map(({ path }) => path)

layer(apiServer, { excludeTestServices: true })("assets", (it) => {
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
  let names = 0
  const name = (what: string) => `${what} ${++names}`

  it.effect("stand in a tree, without cycles, level by level", () =>
    Effect.gen(function* () {
      const { call, make } = yield* session
      const { id: assetTypeId } = yield* make("/asset-types", { name: name("Type") })
      const site = yield* make("/assets", { name: "Site", assetTypeId, location: { lat: 53.5, lon: 10 } })
      const room = yield* make("/assets", {
        name: "Room",
        assetTypeId,
        parentId: site.id,
        planPosition: { x: 1, y: 2 }
      })
      const shelf = yield* make("/assets", { name: "Shelf", assetTypeId, parentId: room.id })
      assert.deepStrictEqual(site.location, { lat: 53.5, lon: 10 })
      assert.isNull(site.healthScore)
      const level = (parent: string) =>
        Effect.map(call("GET", `/assets?assetTypeId=${assetTypeId}&parentId=${parent}`), ({ body }) =>
          body.items.map((asset: { name: string; childrenCount: number }) => [asset.name, asset.childrenCount])
        )
      assert.deepStrictEqual(yield* level("root"), [["Site", 1]])
      assert.deepStrictEqual(yield* level(site.id), [["Room", 1]])
      const { body: children } = yield* call("GET", `/assets/${room.id}/children`)
      assert.deepStrictEqual(
        children.items.map(({ id }: { id: string }) => id),
        [shelf.id]
      )
      for (const parentId of [site.id, room.id, shelf.id]) {
        const cycle = yield* call("PATCH", `/assets/${site.id}`, { body: { parentId } })
        assert.strictEqual(cycle.status, 422, cycle.text)
        assert.deepStrictEqual(pathsOf(cycle), ["parentId"])
      }
      assert.strictEqual((yield* call("DELETE", `/assets/${room.id}`)).status, 409)
      const moved = yield* call("PATCH", `/assets/${shelf.id}`, {
        body: { parentId: null },
        headers: { "if-match": `"${shelf.version}"` }
      })
      assert.strictEqual(moved.status, 200, moved.text)
      const late = yield* call("PATCH", `/assets/${shelf.id}`, {
        body: {},
        headers: { "if-match": `"${shelf.version}"` }
      })
      assert.strictEqual(late.status, 412, late.text)
      assert.strictEqual((yield* call("DELETE", `/assets/${room.id}`)).status, 204)
      assert.strictEqual((yield* call("GET", `/assets/${room.id}`)).status, 404)
    })
  )

  it.effect("custom attributes must fit the custom fields of the type, or of the type it inherits from", () =>
    Effect.gen(function* () {
      const { call, make } = yield* session
      const customFields = {
        type: "object",
        properties: { volume: { type: "number", minimum: 0 } },
        required: ["volume"]
      }
      const parent = yield* make("/asset-types", { name: name("Type"), customFields })
      const child = yield* make("/asset-types", { name: name("Type"), parentTypeId: parent.id })
      const refused = yield* call("POST", "/assets", {
        body: { name: "A", assetTypeId: child.id, customAttributes: { volume: -1 } }
      })
      assert.strictEqual(refused.status, 422, refused.text)
      assert.deepStrictEqual(pathsOf(refused), ["customAttributes.volume"])
      yield* make("/assets", { name: "A", assetTypeId: child.id, customAttributes: { volume: 40 } })
      const wrong = yield* call("POST", "/asset-types", { body: { name: name("Type"), customFields: { typo: true } } })
      assert.strictEqual(wrong.status, 422, wrong.text)
      assert.match(pathsOf(wrong)[0] ?? "", /^customFields/)
    })
  )

  it.effect("from a profile take its default attributes, and count as its uses", () =>
    Effect.gen(function* () {
      const { call, make } = yield* session
      const type = yield* make("/asset-types", {
        name: name("Type"),
        config: { metricDefinitions: [metric("temperature")] }
      })
      const other = yield* make("/asset-types", { name: name("Type") })
      const profile = yield* make("/asset-profiles", {
        name: name("Profile"),
        assetTypeId: type.id,
        defaultAttributes: { volume: 40, kind: "cold" },
        telemetryMappings: { temperature: "$.probe" },
        healthThresholds: { warning: 80, critical: 50 }
      })
      const unknown = yield* call("PATCH", `/asset-profiles/${profile.id}`, {
        body: { telemetryMappings: { pressure: "$.p", temperature: "$.[" } }
      })
      assert.strictEqual(unknown.status, 422, unknown.text)
      assert.deepStrictEqual(pathsOf(unknown), ["telemetryMappings.pressure", "telemetryMappings.temperature"])
      const one = yield* make("/assets", { name: "A", profileId: profile.id, customAttributes: { volume: 50 } })
      assert.deepStrictEqual(one.customAttributes, { volume: 50, kind: "cold" })
      assert.strictEqual(one.assetTypeId, type.id)
      const two = yield* make(`/asset-profiles/${profile.id}/assets`, { name: "B" })
      assert.deepStrictEqual(two.customAttributes, { volume: 40, kind: "cold" })
      const wrong = yield* call("POST", "/assets", {
        body: { name: "C", assetTypeId: other.id, profileId: profile.id }
      })
      assert.strictEqual(wrong.status, 422, wrong.text)
      const { body: shown } = yield* call("GET", `/asset-profiles/${profile.id}`)
      assert.strictEqual(shown.usageCount, 2)
      assert.strictEqual((yield* call("DELETE", `/asset-profiles/${profile.id}`)).status, 409)
    })
  )

  it.effect("are in groups by a list, or by a filter over what they are today", () =>
    Effect.gen(function* () {
      const { call, make } = yield* session
      const { id: assetTypeId } = yield* make("/asset-types", { name: name("Type") })
      const site = yield* make("/spaces", { name: "Site", kind: "site" })
      const floor = yield* make("/spaces", { name: "Floor", kind: "floor", parentId: site.id })
      const a = yield* make("/assets", {
        name: "A",
        assetTypeId,
        spaceId: floor.id,
        customAttributes: { kind: "cold" }
      })
      const b = yield* make("/assets", { name: "B", assetTypeId, customAttributes: { kind: "warm" } })
      const list = yield* make("/asset-groups", { name: name("List"), assetIds: [a.id, b.id] })
      const inSite = yield* make("/asset-groups", { name: name("In the site"), filter: { spaceId: site.id } })
      const cold = yield* make("/asset-groups", {
        name: name("Cold"),
        filter: { assetTypeId, attributes: { kind: "cold" } }
      })
      assert.deepStrictEqual([list.assetCount, inSite.assetCount, cold.assetCount], [2, 1, 1])
      const members = (groupId: string) =>
        Effect.map(call("GET", `/assets?groupId=${groupId}`), ({ body }) =>
          body.items.map((item: { id: string }) => item.id)
        )
      assert.deepStrictEqual(yield* members(cold.id), [a.id])
      yield* call("PATCH", `/assets/${b.id}`, { body: { customAttributes: { kind: "cold" }, spaceId: site.id } })
      assert.deepStrictEqual(yield* members(cold.id), [a.id, b.id])
      assert.deepStrictEqual(yield* members(inSite.id), [a.id, b.id])
      const { body: inFloor } = yield* call("GET", `/assets?spaceId=${floor.id}`)
      assert.strictEqual(inFloor.items.length, 1)
      const both = yield* call("POST", "/asset-groups", { body: { name: name("Both"), assetIds: [a.id], filter: {} } })
      assert.strictEqual(both.status, 400, both.text)
      const strange = yield* call("PATCH", `/asset-groups/${list.id}`, { body: { assetIds: [site.id] } })
      assert.strictEqual(strange.status, 422, strange.text)
      assert.deepStrictEqual(pathsOf(strange), ["assetIds[0]"])
      assert.deepStrictEqual(yield* members(list.id), [a.id, b.id])
      yield* make("/rules", {
        name: "R",
        entityType: "asset",
        groupId: cold.id,
        metricKey: "t",
        condition: { operator: ">", value: 1 }
      })
      assert.strictEqual((yield* call("DELETE", `/asset-groups/${cold.id}`)).status, 409)
      assert.strictEqual((yield* call("DELETE", `/asset-groups/${list.id}`)).status, 204)
      assert.strictEqual((yield* call("DELETE", `/spaces/${site.id}`)).status, 409)
    })
  )

  it.effect(
    "whoever is first wins: of links made at once one is made, of moves into one another one is carried out",
    () =>
      Effect.gen(function* () {
        const { api, call, make } = yield* session
        const { id: assetTypeId } = yield* make("/asset-types", { name: name("Type") })
        const one = yield* make("/assets", { name: "One", assetTypeId })
        const two = yield* make("/assets", { name: "Two", assetTypeId })
        const linked = yield* Effect.all(
          Array.from({ length: 8 }, () => call("POST", `/devices/${api.firstDevice.deviceId}/assets/${one.id}/link`)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(linked.map(({ status }) => status).toSorted(), [201, ...Array(7).fill(409)])
        yield* call("DELETE", `/devices/${api.firstDevice.deviceId}/assets/${one.id}/unlink`)
        for (let round = 0; round < 5; round++) {
          const moved = yield* Effect.all(
            [
              call("PATCH", `/assets/${one.id}`, { body: { parentId: two.id } }),
              call("PATCH", `/assets/${two.id}`, { body: { parentId: one.id } })
            ],
            { concurrency: 2 }
          )
          assert.deepStrictEqual(moved.map(({ status }) => status).toSorted(), [200, 422])
          for (const { id } of [one, two]) yield* call("PATCH", `/assets/${id}`, { body: { parentId: null } })
        }
      })
  )

  it.effect("a profile says how many devices measure an asset at a time", () =>
    Effect.gen(function* () {
      const { api, call, make } = yield* session
      const { body: first } = yield* call("GET", `/devices/${api.firstDevice.deviceId}`)
      const other = yield* make("/devices", { name: "Other", deviceTypeId: first.deviceTypeId })
      const { id: assetTypeId } = yield* make("/asset-types", { name: name("Type") })
      const assetWith = (deviceMode: string) =>
        Effect.flatMap(make("/asset-profiles", { name: name("Profile"), assetTypeId, deviceMode }), ({ id }) =>
          make("/assets", { name: "A", profileId: id })
        )
      const none = yield* assetWith("none")
      assert.strictEqual((yield* call("POST", `/devices/${first.id}/assets/${none.id}/link`)).status, 409)
      const one = yield* assetWith("one")
      yield* make(`/devices/${first.id}/assets/${one.id}/link`, { port: "1" })
      yield* make(`/devices/${first.id}/assets/${one.id}/link`, { port: "2" })
      assert.strictEqual((yield* call("POST", `/devices/${other.id}/assets/${one.id}/link`)).status, 409)
      yield* call("DELETE", `/devices/${first.id}/assets/${one.id}/unlink`)
      yield* make(`/devices/${other.id}/assets/${one.id}/link`, {})
    })
  )

  it.effect("are linked to devices for a time; a link ends and stays", () =>
    Effect.gen(function* () {
      const { api, call, make } = yield* session
      const { body: first } = yield* call("GET", `/devices/${api.firstDevice.deviceId}`)
      const { id: deviceId } = yield* make("/devices", { name: "Probe", deviceTypeId: first.deviceTypeId })
      const type = yield* make("/asset-types", {
        name: name("Type"),
        config: { metricDefinitions: [metric("temperature")] }
      })
      const asset = yield* make("/assets", { name: "A", assetTypeId: type.id })
      const path = `/devices/${deviceId}/assets/${asset.id}`
      const { link } = yield* make(`${path}/link`, {
        validFrom: "2026-01-01T00:00:00.123456Z",
        metricsMapping: { "device.temp_1": "asset.temperature" }
      })
      assert.deepInclude(link, {
        deviceId,
        assetId: asset.id,
        port: null,
        role: "primary",
        validFrom: "2026-01-01T00:00:00.123456Z",
        validUntil: null,
        metricsMapping: { temperature: "temp_1" }
      })
      const again = yield* call("POST", `${path}/link`, { body: { role: "backup" } })
      assert.strictEqual(again.status, 409, again.text)
      yield* make(`${path}/link`, { port: "1", role: "backup" })
      yield* make(`${path}/link`, { validFrom: "2025-01-01T00:00:00Z", validUntil: "2026-01-01T00:00:00Z" })
      const within = { validFrom: "2025-06-01T00:00:00Z", validUntil: "2025-07-01T00:00:00Z" }
      assert.strictEqual((yield* call("POST", `${path}/link`, { body: within })).status, 409)
      const unknown = yield* call("POST", `${path}/link`, { body: { port: "2", metricsMapping: { pressure: "p" } } })
      assert.strictEqual(unknown.status, 422, unknown.text)
      assert.deepStrictEqual(pathsOf(unknown), ["metricsMapping.pressure"])
      const { body: devices } = yield* call("GET", `/assets/${asset.id}/devices`)
      assert.strictEqual(devices.items.length, 2)
      assert.deepInclude(devices.items[0], { id: deviceId, port: "1", role: "backup", connectivityStatus: "unknown" })
      const { body: device } = yield* call("GET", `/devices/${deviceId}`)
      assert.strictEqual(device.linkedAssetsCount, 1)
      assert.strictEqual((yield* call("GET", `/assets/${asset.id}`)).body.linkedDevicesCount, 1)

      const ended = yield* call("DELETE", `${path}/unlink`)
      assert.strictEqual(ended.status, 200, ended.text)
      assert.strictEqual(ended.body.links.length, 2)
      assert.isNotNull(ended.body.links[0].validUntil)
      assert.strictEqual((yield* call("DELETE", `${path}/unlink`)).status, 404)
      assert.deepStrictEqual((yield* call("GET", `/devices/${deviceId}/assets`)).body.items, [])
      assert.strictEqual((yield* call("GET", `/devices/${deviceId}/assets?ended=true`)).body.items.length, 3)

      const bulk = yield* call("POST", "/devices/bulk-link", {
        body: {
          links: [
            { deviceId, assetId: asset.id },
            { deviceId, assetId: deviceId },
            { deviceId, assetId: asset.id }
          ]
        }
      })
      assert.strictEqual(bulk.status, 200, bulk.text)
      assert.deepStrictEqual([bulk.body.linked, bulk.body.failed], [1, 2])
      assert.strictEqual(bulk.body.results[1].errors[0].path, "assetId")
      yield* call("DELETE", `/assets/${asset.id}`)
      const sql = yield* OwnerSql
      const open =
        yield* sql`select id from entity_edges where target_entity_id = ${asset.id}::uuid and valid_until is null`
      assert.deepStrictEqual(open, [], "removing the asset ends its links")
    })
  )
})
