import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Api, apiServer, type Call } from "./apiServer.ts"

layer(apiServer, { excludeTestServices: true })("devices", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const call = (method: string, path: string, options: Call = {}) => api.call(method, path, { token, ...options })
    const { body: first } = yield* call("GET", `/api/v1/devices/${api.firstDevice.deviceId}`)
    const add = (device: object) =>
      call("POST", "/api/v1/devices", { body: { deviceTypeId: first.deviceTypeId, ...device } })
    return { api, call, first, add }
  })

  it.effect("the first device has every member that a device has, and its role comes from its type", () =>
    Effect.gen(function* () {
      const { api, first } = yield* session
      assert.hasAllKeys(first, [
        "id",
        "name",
        "organizationId",
        "deviceTypeId",
        "externalId",
        "serialNumber",
        "parentDeviceId",
        "logicalIdentifier",
        "deviceRole",
        "status",
        "connectivityStatus",
        "lastConnectivityChange",
        "lastSeenAt",
        "linkedAssetsCount",
        "protocol",
        "networkMetadata",
        "customAttributes",
        "createdAt",
        "updatedAt",
        "version"
      ])
      assert.strictEqual(first.organizationId, api.firstDevice.organizationId)
      assert.strictEqual(first.deviceRole, "endpoint")
      assert.strictEqual(first.connectivityStatus, "unknown")
    })
  )

  it.effect("a device is added, read, changed in part, decommissioned and removed", () =>
    Effect.gen(function* () {
      const { add, call } = yield* session
      const added = yield* add({ name: "Boiler 3", serialNumber: "B3", customAttributes: { floor: 2, tags: ["hot"] } })
      assert.strictEqual(added.status, 201, added.text)
      assert.strictEqual(added.headers.get("etag"), '"1"')
      const path = `/api/v1/devices/${added.body.id}`
      const changed = yield* call("PATCH", path, { body: { name: "Boiler three", protocol: "mqtt" } })
      assert.strictEqual(changed.status, 200, changed.text)
      assert.strictEqual(changed.body.serialNumber, "B3")
      assert.deepStrictEqual(changed.body.customAttributes, { floor: 2, tags: ["hot"] })
      const put = yield* call("PUT", path, { body: { serialNumber: null } })
      assert.strictEqual(put.body.name, "Boiler three")
      assert.isNull(put.body.serialNumber)
      assert.deepStrictEqual((yield* call("GET", path)).body, put.body)
      const gone = yield* call("POST", `${path}/decommission`)
      assert.strictEqual(gone.body.status, "decommissioned")
      const revived = yield* call("PATCH", path, { body: { status: "active" } })
      assert.strictEqual(revived.status, 409, revived.text)
      assert.strictEqual((yield* call("DELETE", path)).status, 204)
      assert.strictEqual((yield* call("GET", path)).status, 404)
      assert.strictEqual((yield* call("DELETE", path)).status, 404)
    })
  )

  it.effect("a change based on an older version is refused, and the present version is named", () =>
    Effect.gen(function* () {
      const { add, call } = yield* session
      const { body: device } = yield* add({ name: "Contended" })
      const path = `/api/v1/devices/${device.id}`
      const change = (ifMatch: string, name: string) =>
        call("PATCH", path, { body: { name }, headers: { "if-match": ifMatch } })
      const answers = yield* Effect.all([change('"1"', "one"), change("1", "two")], { concurrency: 2 })
      assert.deepStrictEqual(answers.map(({ status }) => status).toSorted(), [200, 412])
      const lost = answers.find(({ status }) => status === 412)
      assert.include(lost?.body.detail, "version 2")
      assert.strictEqual((yield* change("*", "three")).status, 200)
      assert.strictEqual((yield* change("yesterday", "four")).status, 400)
    })
  )

  it.effect("each fault of a body is answered with its path", () =>
    Effect.gen(function* () {
      const { add, call } = yield* session
      const answer = yield* add({ name: " ", serialNumber: 7, customAttributes: [] })
      assert.strictEqual(answer.status, 400, answer.text)
      const paths = answer.body.errors.map(({ path }: { path: string }) => path)
      assert.includeMembers(paths, ["name", "serialNumber", "customAttributes"])
      const badJson = yield* call("POST", "/api/v1/devices", { rawBody: "{" })
      assert.strictEqual(badJson.status, 400)
      const badId = yield* call("GET", "/api/v1/devices/7")
      assert.strictEqual(badId.body.errors[0].path, "params.id")
      const badLimit = yield* call("GET", "/api/v1/devices?limit=501")
      assert.strictEqual(badLimit.body.errors[0].path, "query.limit")
      for (const answer of [badJson, badId, badLimit]) {
        assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/)
        assert.strictEqual(answer.body.requestId, answer.headers.get("x-request-id"))
      }
    })
  )

  it.effect("a serial number that is taken, an unknown type and a circle of parents are refused by name", () =>
    Effect.gen(function* () {
      const { add, call } = yield* session
      assert.strictEqual((yield* add({ name: "one", serialNumber: "S-1" })).status, 201)
      const taken = yield* add({ name: "two", serialNumber: "S-1" })
      assert.strictEqual(taken.status, 409)
      assert.strictEqual(taken.body.errors[0].path, "serialNumber")
      const noType = yield* add({ name: "three", deviceTypeId: "01890a5d-ac96-774b-bcce-b302099a8057" })
      assert.strictEqual(noType.status, 422)
      assert.strictEqual(noType.body.errors[0].path, "deviceTypeId")
      const { body: top } = yield* add({ name: "top" })
      const { body: below } = yield* add({ name: "below", parentDeviceId: top.id })
      const circle = yield* call("PATCH", `/api/v1/devices/${top.id}`, { body: { parentDeviceId: below.id } })
      assert.strictEqual(circle.status, 422, circle.text)
      assert.strictEqual((yield* call("DELETE", `/api/v1/devices/${top.id}`)).status, 409)
    })
  )

  it.effect("characters that cannot be stored, deep and oversized bodies are refused, not failed on", () =>
    Effect.gen(function* () {
      const { add, call } = yield* session
      assert.strictEqual((yield* add({ name: "nul \u0000" })).status, 400)
      assert.strictEqual((yield* add({ name: "half \ud800" })).status, 400)
      assert.strictEqual((yield* add({ name: "deep nul", customAttributes: { a: "\u0000" } })).status, 422)
      assert.strictEqual((yield* add({ name: "deep half", customAttributes: { a: "\ud800" } })).status, 422)
      const deep = yield* call("POST", "/api/v1/devices", { rawBody: '{"name":' + "[".repeat(500_000) })
      assert.strictEqual(deep.status, 400)
      const large = yield* add({ name: "large", customAttributes: { a: "x".repeat(1_100_000) } })
      assert.strictEqual(large.status, 413)
      const endless = yield* add({ name: "x".repeat(201) })
      assert.strictEqual(endless.status, 400)
    })
  )

  it.effect("paging loses and doubles nothing while devices come and go, in both directions and orders", () =>
    Effect.gen(function* () {
      const { add, call } = yield* session
      const names = Array.from({ length: 23 }, (_, index) => `paged ${String(index % 7)}`) // names repeat
      const expected = new Set<string>()
      for (const name of names) expected.add((yield* add({ name, protocol: "paged" })).body.id)
      for (const sort of ["name", "-name", "createdAt", "-createdAt"]) {
        const seen: Array<string> = []
        let cursor: string | null = null
        let pages = 0
        do {
          const next: string = cursor === null ? "" : `&cursor=${cursor}`
          const { body, status, text } = yield* call("GET", `/api/v1/devices?q=paged&limit=5&sort=${sort}${next}`)
          assert.strictEqual(status, 200, text)
          seen.push(...body.items.map(({ id }: { id: string }) => id))
          cursor = body.nextCursor
          if (++pages === 2) {
            const { body: brief } = yield* add({ name: "paged 0" })
            yield* call("DELETE", `/api/v1/devices/${brief.id}`)
          }
        } while (cursor !== null)
        assert.deepStrictEqual(new Set(seen), expected, sort)
        assert.strictEqual(seen.length, expected.size, sort)
      }
      const { body } = yield* call("GET", "/api/v1/devices?limit=1&sort=name")
      const other = yield* call("GET", `/api/v1/devices?limit=1&sort=-name&cursor=${body.nextCursor}`)
      assert.strictEqual(other.status, 400)
      for (const cursor of ["x", "W10", Buffer.from('["name","a","\' or 1=1"]').toString("base64url")]) {
        assert.strictEqual((yield* call("GET", `/api/v1/devices?cursor=${cursor}`)).status, 400)
      }
    })
  )

  it.effect("filters find what they name, and wildcards are plain characters", () =>
    Effect.gen(function* () {
      const { add, call, first } = yield* session
      const { body: device } = yield* add({ name: "100%_sure", externalId: "ext-9", status: "inactive" })
      const found = (query: string) =>
        Effect.map(call("GET", `/api/v1/devices?${query}`), ({ body }) =>
          body.items.map(({ id }: { id: string }) => id)
        )
      assert.deepStrictEqual(yield* found("q=100%25_s"), [device.id])
      assert.deepStrictEqual(yield* found("q=1%25sure"), [])
      assert.deepStrictEqual(yield* found("q=EXT-9"), [device.id])
      assert.include(yield* found("status=inactive"), device.id)
      assert.notInclude(yield* found("status=active&limit=500"), device.id)
      assert.include(yield* found(`deviceTypeId=${first.deviceTypeId}&limit=500`), device.id)
    })
  )

  it.effect("an API key is shown once, listed without itself, and ended by name", () =>
    Effect.gen(function* () {
      const { add, call } = yield* session
      const { body: device } = yield* add({ name: "keyed" })
      const path = `/api/v1/devices/${device.id}/api-keys`
      const made = yield* call("POST", path)
      assert.strictEqual(made.status, 201, made.text)
      assert.match(made.body.key, /^argusiq_[\w-]{43}$/)
      const expiring = yield* call("POST", path, { body: { expiresAt: "2031-01-01T00:00:00Z" } })
      assert.strictEqual(expiring.body.expiresAt, "2031-01-01T00:00:00.000Z")
      const past = yield* call("POST", path, { body: { expiresAt: "2021-01-01T00:00:00Z" } })
      assert.deepStrictEqual([past.status, past.body.errors[0].path], [422, "expiresAt"])
      const { text, body } = yield* call("GET", path)
      assert.notInclude(text, made.body.key)
      assert.strictEqual(body.items.length, 2)
      assert.isNull(body.items[0].revokedAt)
      assert.strictEqual((yield* call("DELETE", `${path}/${made.body.id}`)).status, 204)
      const { body: after } = yield* call("GET", path)
      assert.isNotNull(after.items.find(({ id }: { id: string }) => id === made.body.id).revokedAt)
      assert.strictEqual((yield* call("DELETE", `${path}/${device.id}`)).status, 404)
      yield* call("POST", `/api/v1/devices/${device.id}/decommission`)
      const { body: ended } = yield* call("GET", path)
      assert.isTrue(ended.items.every(({ revokedAt }: { revokedAt: unknown }) => revokedAt !== null))
      assert.strictEqual((yield* call("POST", path)).status, 409)
    })
  )
})
