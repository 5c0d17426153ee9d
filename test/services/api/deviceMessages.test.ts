import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { addOrganization, Api, apiServer, withoutRequestId } from "./apiServer.ts"

const START = Date.parse("2026-06-01T00:00:00Z")
const at = (seconds: number) => new Date(START + seconds * 1_000).toISOString()

const insertMessage = Effect.fnUntraced(function* (
  tenantId: string,
  deviceId: string,
  seconds: number,
  payload: Uint8Array,
  error: string | null = null
) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into telemetry_raw (message_id, tenant_id, device_id, received_at, payload, size, content_type,
      ingestion_source, mqtt_topic, client_id, topic, partition, "offset", error, error_reason)
    values (${id}, ${tenantId}, ${deviceId}, ${at(seconds)}::timestamptz, ${payload}, ${payload.length}, 'application/json',
      'mqtt', 'devices/x/telemetry', 'c', 'telemetry.raw.v1', 3, ${seconds}, ${error}, ${error})`
  return id
})

layer(apiServer, { excludeTestServices: true })("the messages of a device", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const { body: first } = yield* api.call("GET", `/api/v1/devices/${api.firstDevice.deviceId}`, { token })
    const { body: device } = yield* api.call("POST", "/api/v1/devices", {
      token,
      body: { name: `D ${randomUUID()}`, deviceTypeId: first.deviceTypeId }
    })
    const list = (query = "") => api.call("GET", `/api/v1/devices/${device.id}/messages${query}`, { token })
    const add = (seconds: number, payload: Uint8Array, error?: string) =>
      insertMessage(first.organizationId, device.id, seconds, payload, error)
    return { api, token, device, list, add }
  })

  it.effect("are shown as they were sent, those that were refused too, whatever their bytes", () =>
    Effect.gen(function* () {
      const { add, list } = yield* session
      yield* add(1, Buffer.from('{"t": 1}'))
      yield* add(2, Buffer.from([0xff, 0x00, 0xfe]))
      yield* add(3, Buffer.from(`${"x".repeat(65_535)}äz`))
      yield* add(4, Buffer.from("\uFEFFnul \0"), "Undecodable")
      const { body, status, text } = yield* list()
      assert.strictEqual(status, 200, text)
      const [marked, long, binary, json] = body.items
      assert.deepInclude(json, {
        payload: '{"t": 1}',
        encoding: "text",
        truncated: false,
        size: 8,
        receivedAt: at(1),
        mqttTopic: "devices/x/telemetry",
        topic: "telemetry.raw.v1",
        partition: 3,
        offset: "1"
      })
      assert.deepInclude(binary, { payload: "/wD+", encoding: "base64", truncated: false })
      assert.deepInclude(long, { payload: "x".repeat(65_535), encoding: "text", truncated: true, size: 65_538 })
      assert.deepInclude(marked, { payload: "\uFEFFnul \0", error: "Undecodable", errorReason: "Undecodable" })
    })
  )

  it.effect("are paged in both directions without losing or doubling one, also those of the same instant", () =>
    Effect.gen(function* () {
      const { add, list } = yield* session
      const ids: Array<string> = []
      for (let index = 0; index < 23; index++) ids.push(yield* add(Math.floor(index / 5), Buffer.from("1")))
      for (const sort of ["receivedAt", "-receivedAt"]) {
        const seen: Array<string> = []
        let cursor: string | null = null
        do {
          const next: string = cursor === null ? "" : `&cursor=${cursor}`
          const { body, status, text } = yield* list(`?limit=4&sort=${sort}${next}`)
          assert.strictEqual(status, 200, text)
          seen.push(...body.items.map(({ messageId }: { messageId: string }) => messageId))
          cursor = body.nextCursor
        } while (cursor !== null)
        assert.sameMembers(seen, ids)
        assert.strictEqual(seen.length, ids.length)
      }
      const { body } = yield* list(`?startTime=${at(1)}&endTime=${at(3)}&limit=500`)
      assert.strictEqual(body.items.length, 10)
      const { body: one } = yield* list("?limit=1")
      assert.strictEqual((yield* list(`?limit=1&sort=receivedAt&cursor=${one.nextCursor}`)).status, 400)
    })
  )

  it.effect("a page ends before its payloads exceed four mebibytes, and the next one goes on there", () =>
    Effect.gen(function* () {
      const { add, list } = yield* session
      for (let index = 0; index < 70; index++) yield* add(index, Buffer.alloc(65_536, 97))
      const { body: page } = yield* list("?limit=500")
      assert.strictEqual(page.items.length, 64)
      const { body: rest } = yield* list(`?limit=500&cursor=${page.nextCursor}`)
      assert.strictEqual(rest.items.length, 6)
      assert.isNull(rest.nextCursor)
    })
  )

  it.effect("of another organization's device are as good as none", () =>
    Effect.gen(function* () {
      const { add, api, device } = yield* session
      yield* add(1, Buffer.from("1"))
      const { email } = yield* addOrganization(`messages-${randomUUID()}`)
      const token = yield* api.login(email)
      const theirs = yield* api.call("GET", `/api/v1/devices/${device.id}/messages`, { token })
      const missing = yield* api.call("GET", `/api/v1/devices/${randomUUID()}/messages`, { token })
      assert.deepStrictEqual([theirs.status, missing.status], [404, 404])
      assert.deepStrictEqual(withoutRequestId(theirs.body), withoutRequestId(missing.body))
    })
  )
})
