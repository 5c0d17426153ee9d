import { assert, layer } from "@effect/vitest"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { newId } from "@argusiq/layers/registry/newId.ts"
import { Effect } from "effect"
import { addOrganization, Api, apiServer } from "./apiServer.ts"

interface Row {
  readonly id: string
  readonly tenantId: string
  readonly gatewayId: string
  readonly correlationId: string
  readonly status: string
  readonly startedAt: Date
}

const insert = Effect.fnUntraced(function* (rows: ReadonlyArray<Row>) {
  const sql = yield* OwnerSql
  for (const { correlationId, gatewayId, id, startedAt, status, tenantId } of rows) {
    yield* sql`insert into telemetry_transactions (id, tenant_id, gateway_device_id, correlation_id, status, started_at)
      values (${id}, ${tenantId}, ${gatewayId}, ${correlationId}, ${status}, ${startedAt})`
  }
})

layer(apiServer, { excludeTestServices: true })("GET /transactions", (it) => {
  it.effect("lists the newest first, page by page, and finds them by gateway, correlation id and status", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const tenantId = api.firstDevice.organizationId
      const [one, other] = [newId(), newId()]
      const rows = Array.from({ length: 25 }, (_, index): Row => ({
        id: newId(),
        tenantId,
        gatewayId: index % 2 === 0 ? one : other,
        correlationId: `msg-${index % 5}`,
        status: ["pending", "processing", "completed", "failed"][index % 4]!,
        startedAt: new Date(1_763_725_301_000 + Math.floor(index / 3)) // several at once
      }))
      const stranger = yield* addOrganization("stranger")
      const foreign = { ...rows[0]!, id: newId(), tenantId: stranger.organizationId }
      yield* insert([...rows, foreign])
      const list = (query: string) => api.call("GET", `/api/v1/transactions?${query}`, { token })
      const expected = rows.toSorted((a, b) => b.startedAt.getTime() - a.startedAt.getTime() || (a.id < b.id ? 1 : -1))
      const paged: Array<{ readonly id: string }> = []
      let cursor = ""
      for (;;) {
        const { body } = yield* list(`limit=4${cursor}`)
        paged.push(...body.items)
        if (body.nextCursor === null) break
        cursor = `&cursor=${body.nextCursor}`
      }
      assert.deepStrictEqual(
        paged.map(({ id }) => id),
        expected.map(({ id }) => id)
      )
      const oldest = yield* list("sort=startedAt&limit=1")
      assert.strictEqual(oldest.body.items[0].id, expected.at(-1)!.id)
      for (const [query, chosen] of [
        [`gatewayDeviceId=${one.toUpperCase()}`, (row: Row) => row.gatewayId === one],
        ["correlationId=msg-3", (row: Row) => row.correlationId === "msg-3"],
        ["status=failed", (row: Row) => row.status === "failed"],
        [
          `gatewayDeviceId=${other}&status=failed&correlationId=msg-1`,
          (row: Row) => row.gatewayId === other && row.status === "failed" && row.correlationId === "msg-1"
        ]
      ] as const) {
        const { body } = yield* list(query)
        assert.deepStrictEqual(
          body.items.map(({ id }: Row) => id),
          expected.filter(chosen).map(({ id }) => id),
          query
        )
      }
      for (const wrong of ["status=done", "gatewayDeviceId=7", "cursor=7", "limit=0", "sort=name"]) {
        assert.strictEqual((yield* list(wrong)).status, 400, wrong)
      }
    })
  )

  it.effect("shows what is known of each, and null for what is not", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const sql = yield* OwnerSql
      const token = yield* api.login()
      const [id, gatewayId] = [newId(), newId()]
      const tenantId = api.firstDevice.organizationId
      const startedAt = new Date("2026-01-29T10:00:00.123Z")
      yield* insert([{ id, tenantId, gatewayId, correlationId: "known", status: "pending", startedAt }])
      const shown = Effect.map(
        api.call("GET", "/api/v1/transactions?correlationId=known", { token }),
        ({ body }) => body.items[0]
      )
      const before = {
        id,
        correlationId: "known",
        gatewayDeviceId: gatewayId,
        status: "pending",
        chunkCount: null,
        missingChunks: [],
        totalLogicalDevices: null,
        processedDevices: 0,
        startedAt: startedAt.toISOString(),
        completedAt: null,
        error: null
      }
      assert.deepStrictEqual(yield* shown, before)
      yield* sql`update telemetry_transactions set status = 'failed', chunk_count = 3, missing = '{2,3}',
        total_logical_devices = 4, processed_devices = 1, completed_at = ${startedAt}, error_message = 'too late'
        where id = ${id}`
      assert.deepStrictEqual(yield* shown, {
        ...before,
        status: "failed",
        chunkCount: 3,
        missingChunks: [2, 3],
        totalLogicalDevices: 4,
        processedDevices: 1,
        completedAt: startedAt.toISOString(),
        error: "too late"
      })
    })
  )

  it.effect("GET /devices/:id/children lists the devices behind a gateway, and 404 for one that is none", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const { deviceId } = api.firstDevice
      const { body: gateway } = yield* api.call("GET", `/api/v1/devices/${deviceId}`, { token })
      for (const name of ["b", "a", "c"]) {
        const { status } = yield* api.call("POST", "/api/v1/devices", {
          token,
          body: { name, deviceTypeId: gateway.deviceTypeId, parentDeviceId: deviceId, logicalIdentifier: `id-${name}` }
        })
        assert.strictEqual(status, 201)
      }
      const { body } = yield* api.call("GET", `/api/v1/devices/${deviceId}/children?limit=2`, { token })
      assert.deepStrictEqual(
        body.items.map((item: Record<string, unknown>) => [
          item["name"],
          item["logicalIdentifier"],
          item["parentDeviceId"]
        ]),
        [
          ["a", "id-a", deviceId],
          ["b", "id-b", deviceId]
        ]
      )
      const next = yield* api.call("GET", `/api/v1/devices/${deviceId}/children?limit=2&cursor=${body.nextCursor}`, {
        token
      })
      assert.deepStrictEqual(
        next.body.items.map(({ name }: { name: string }) => name),
        ["c"]
      )
      const filtered = yield* api.call("GET", `/api/v1/devices?parentDeviceId=${deviceId}`, { token })
      assert.lengthOf(filtered.body.items, 3)
      const child = yield* api.call("GET", `/api/v1/devices/${body.items[0].id}/children`, { token })
      assert.deepStrictEqual(child.body, { items: [], nextCursor: null })
      assert.strictEqual((yield* api.call("GET", `/api/v1/devices/${newId()}/children`, { token })).status, 404)
    })
  )
})
