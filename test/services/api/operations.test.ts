import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Api, apiServer, type Call, DataDirectory } from "./apiServer.ts"

layer(apiServer, { excludeTestServices: true })("operations", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = readFileSync(join(yield* DataDirectory, "cli-token"), "utf8").trim()
    return {
      api,
      call: (method: string, path: string, options: Call = {}) => api.call(method, path, { token, ...options })
    }
  })

  it.effect("records are read from an offset, from a time, or from the end, as text or base64", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const bus = yield* Bus
      const values = [Buffer.from('{"t":1}'), Buffer.from([0xff, 0xfe]), Buffer.from('{"t":3}')]
      for (const value of values) {
        yield* bus.publish([{ topic: "telemetry.raw.v1", key: "device", value, headers: { source: "http" } }])
      }
      const { body: topics } = yield* call("GET", "/api/v1/topics")
      const raw = topics.items.find(({ name }: { name: string }) => name === "telemetry.raw.v1")
      const { partition } = raw.partitions.find(({ end }: { end: string }) => end === "3")
      const read = (query: string) =>
        call("GET", `/api/v1/topics/telemetry.raw.v1/records?partition=${partition}&${query}`)
      const all = yield* read("offset=0")
      assert.strictEqual(all.status, 200, all.text)
      assert.deepStrictEqual(
        all.body.items.map(({ encoding, offset, payload }: Record<string, string>) => [offset, encoding, payload]),
        [
          ["0", "text", '{"t":1}'],
          ["1", "base64", "//4="],
          ["2", "text", '{"t":3}']
        ]
      )
      assert.strictEqual(all.body.next, "3")
      assert.deepStrictEqual((yield* read("offset=3")).body, { items: [], next: "3" })
      const tail = yield* read("limit=1")
      assert.deepStrictEqual(
        tail.body.items.map(({ offset }: { offset: string }) => offset),
        ["2"]
      )
      const since = yield* read(`time=${encodeURIComponent(all.body.items[1].appendedAt)}`)
      assert.include(
        since.body.items.map(({ offset }: { offset: string }) => offset),
        "1"
      )
    })
  )

  it.effect("unknown topics and partitions are not found", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const { partitions } = yield* Bus
      assert.strictEqual((yield* call("GET", "/api/v1/topics/nonsense/records")).status, 404)
      assert.strictEqual(
        (yield* call("GET", `/api/v1/topics/telemetry.raw.v1/records?partition=${partitions}`)).status,
        404
      )
      assert.strictEqual((yield* call("GET", "/api/v1/topics/telemetry.raw.v1/records?offset=-1")).status, 400)
    })
  )

  it.effect("caches are emptied of one device or of everything", () =>
    Effect.gen(function* () {
      const { api, call } = yield* session
      const invalidate = (body: unknown) => call("POST", "/api/v1/cache/invalidate", { body })
      assert.strictEqual((yield* invalidate({ type: "all" })).status, 204)
      assert.strictEqual((yield* invalidate({ type: "device", id: api.firstDevice.deviceId })).status, 204)
      assert.strictEqual((yield* invalidate({ type: "device" })).status, 400)
    })
  )

  it.effect("consumers are listed", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const answer = yield* call("GET", "/api/v1/consumers")
      assert.strictEqual(answer.status, 200, answer.text)
      assert.deepStrictEqual(answer.body, { items: [] })
    })
  )

  it.effect("consumers of other processes are listed by what they have stored, and those that do not fit the log", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const bus = yield* Bus
      const sql = yield* OwnerSql
      const group = "argusiq.telemetry-writer"
      const topic = "telemetry.normalized.v1"
      for (let count = 0; count < 3; count++) {
        yield* bus.publish([{ topic, key: "one device", value: Buffer.from("{}"), headers: {} }])
      }
      const ranges = yield* Effect.forEach(Array.from({ length: bus.partitions }).keys(), (partition) =>
        bus.range({ topic, partition })
      )
      const filled = ranges.findIndex(({ end }) => end === 3n)
      const [beyond, foreign] = [(filled + 1) % bus.partitions, (filled + 2) % bus.partitions]
      const store = (partition: number, logId: string, next: number) =>
        sql`insert into consumer_offsets ("group", topic, partition, epoch, log_id, next)
          values (${group}, ${topic}, ${partition}, 1, ${logId}, ${next})`
      yield* store(filled, bus.logId, 1)
      yield* store(beyond, bus.logId, 7)
      yield* store(foreign, "another log", 0)
      yield* store(bus.partitions, "a log of more partitions", 0)
      const list = Effect.map(call("GET", "/api/v1/consumers"), ({ body, status, text }) => {
        assert.strictEqual(status, 200, text)
        return new Map<number, Record<string, unknown>>(
          body.items.map((item: { partition: number }) => [item.partition, item])
        )
      })
      const listed = yield* list
      assert.strictEqual(listed.size, 3)
      assert.deepInclude(listed.get(filled), { group, topic, next: "1", end: "3", lag: 2, state: "elsewhere" })
      assert.deepInclude(listed.get(beyond), { group, topic, next: "7", end: "0", lag: 0, state: "stopped" })
      assert.match(String(listed.get(beyond)!["detail"]), /beyond the log's end.*another process/s)
      assert.match(String(listed.get(foreign)!["detail"]), /another log/)

      const accept = (partition: number) =>
        call("POST", "/api/v1/consumers/accept", { body: { group, topic, partition } })
      assert.strictEqual((yield* accept(filled)).status, 404)
      assert.deepStrictEqual((yield* accept(beyond)).body, { next: "0" })
      assert.deepStrictEqual((yield* accept(foreign)).body, { next: "0" })
      assert.deepStrictEqual(
        Array.from((yield* list).values(), ({ state }) => state),
        ["elsewhere", "elsewhere", "elsewhere"]
      )
      assert.strictEqual((yield* accept(beyond)).status, 404)
    })
  )

  it.effect("only a partition that has stopped can be accepted", () =>
    Effect.gen(function* () {
      const { call } = yield* session
      const body = { group: "argusiq.telemetry-writer", topic: "telemetry.normalized.v1", partition: 0 }
      const answer = yield* call("POST", "/api/v1/consumers/accept", { body })
      assert.strictEqual(answer.status, 404, answer.text)
    })
  )
})
