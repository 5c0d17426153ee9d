import { deadLetterRecord } from "@argusiq/domain/dead-letter.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { addOrganization, Api, apiServer, withoutRequestId } from "./apiServer.ts"

const topic = deadLetterTopic(Topics.endpoint)
const firstMinute = Date.parse("2026-01-29T10:00:00Z")

interface Letter {
  readonly tenantId: string | null
  readonly id?: string
  readonly minute?: number
  readonly reason?: string
  readonly group?: string
  readonly deviceId?: string
  readonly entry?: number
  readonly place?: { readonly partition: number; readonly offset: number; readonly headers: object }
}

const insert = Effect.fnUntraced(function* (letter: Letter) {
  const sql = yield* OwnerSql
  const { id = randomUUID(), group = "argusiq.normalizer", reason = "Undecodable", place } = letter
  const receivedAt = new Date(firstMinute + (letter.minute ?? 0) * 60_000)
  yield* sql`insert into dead_letters (id, tenant_id, "group", stage, reason, message, entry, device_id, message_id, topic,
      partition, "offset", headers, size, attempts, failed_at, received_at)
    values (${id}, ${letter.tenantId}, ${group}, 'normalizer', ${reason}, 'not JSON at byte 1', ${letter.entry ?? null},
      ${letter.deviceId ?? null}, ${randomUUID()}, ${topic}, ${place?.partition ?? 0}, ${place?.offset ?? 0},
      ${JSON.stringify(place?.headers ?? {})}::text::jsonb, 5, 1, ${receivedAt}, ${receivedAt})`
  return id
})

/** An organization of its own with a user of that role, and its requests. */
let organizations = 0
const session = (role?: string) =>
  Effect.gen(function* () {
    const api = yield* Api
    const { email, organizationId } = yield* addOrganization(`letters-${++organizations}`, role)
    const token = yield* api.login(email)
    const list = (query = "") => api.call("GET", `/api/v1/dlq?${query}`, { token })
    const retry = (body: unknown) => api.call("POST", "/api/v1/dlq/retry", { token, body })
    const get = (id: string) => api.call("GET", `/api/v1/dlq/${id}`, { token })
    return { tenantId: organizationId, list, retry, get }
  })

const idsOf = ({ body }: { readonly body: { readonly items: ReadonlyArray<{ readonly id: string }> } }) =>
  body.items.map(({ id }) => id)

layer(apiServer, { excludeTestServices: true })("dead letters", (it) => {
  it.effect("are listed newest first, page by page, and found by topic, group, reason, device and time", () =>
    Effect.gen(function* () {
      const { list, tenantId } = yield* session()
      const deviceId = randomUUID()
      const letters: ReadonlyArray<Partial<Letter>> = [
        {},
        { reason: "SchemaMismatch" },
        { group: "argusiq.demux" },
        { deviceId },
        { deviceId }
      ]
      const ids: Array<string> = []
      for (const [minute, letter] of letters.entries()) ids.push(yield* insert({ tenantId, minute, ...letter }))
      const newestFirst = ids.toReversed()

      const all = yield* list()
      assert.strictEqual(all.status, 200, all.text)
      assert.deepStrictEqual(idsOf(all), newestFirst)
      assert.deepInclude(all.body.items[4], {
        topic,
        group: "argusiq.normalizer",
        stage: "normalizer",
        reason: "Undecodable",
        message: "not JSON at byte 1",
        deviceId: null,
        receivedAt: "2026-01-29T10:00:00.000Z",
        retries: 0,
        state: "open"
      })
      const paged: Array<string> = []
      for (let cursor = ""; ;) {
        const page = yield* list(`limit=2${cursor}`)
        paged.push(...idsOf(page))
        if (page.body.nextCursor === null) break
        cursor = `&cursor=${page.body.nextCursor}`
      }
      assert.deepStrictEqual(paged, newestFirst)
      const found = (query: string) => Effect.map(list(query), idsOf)
      assert.deepStrictEqual(yield* found("sort=receivedAt"), ids)
      assert.deepStrictEqual(yield* found("reason=SchemaMismatch"), [ids[1]])
      assert.deepStrictEqual(yield* found("group=argusiq.demux"), [ids[2]])
      assert.deepStrictEqual(yield* found(`deviceId=${deviceId}`), [ids[4], ids[3]])
      assert.deepStrictEqual(yield* found("startTime=2026-01-29T10:01:00Z&endTime=2026-01-29T10:03:00Z"), [
        ids[2],
        ids[1]
      ])
      for (const name of [topic, Topics.endpoint]) assert.lengthOf(yield* found(`topic=${name}`), 5)
      assert.lengthOf(yield* found(`topic=${Topics.raw}`), 0)
      assert.lengthOf(yield* found("state=resolved"), 0)
      assert.strictEqual((yield* list("state=lost")).status, 400)
      assert.strictEqual((yield* list("cursor=nonsense")).status, 400)
    })
  )

  it.effect("show their headers, where they lie and came from, and the payload as text and hex, bounded", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const { get, tenantId } = yield* session()
      const shown = Effect.fnUntraced(function* (value: Uint8Array) {
        const key = randomUUID()
        const headers = { "message-id": randomUUID(), "tenant-id": tenantId }
        const letter = deadLetterRecord({
          record: { topic: Topics.endpoint, key, value, headers, partition: 3, offset: 12n },
          error: new Poison({ reason: "Undecodable", message: "not JSON at byte 1" }),
          group: "argusiq.normalizer",
          stage: "normalizer",
          failedAt: 1
        })
        yield* bus.publish([letter])
        for (let partition = 0; partition < bus.partitions; partition++) {
          const { end } = yield* bus.range({ topic, partition })
          const place = { partition, offset: Number(end) - 1, headers: letter.headers }
          const id = letter.headers["dlq-id"]
          if (end === 0n) continue
          yield* insert({ tenantId, id, place })
          const { body } = yield* get(id)
          if (body.payload !== null) return body
          const sql = yield* OwnerSql
          yield* sql`delete from dead_letters where id = ${id}`
        }
      })
      const small = yield* shown(Buffer.from("{x"))
      assert.deepInclude(small, {
        error: { reason: "Undecodable", message: "not JSON at byte 1", path: null },
        original: { topic: Topics.endpoint, partition: 3, offset: "12" },
        payload: { text: "{x", hex: "7b78", truncated: false }
      })
      assert.strictEqual(small.headers["dlq-stage"], "normalizer")
      assert.strictEqual(small.place.topic, topic)
      assert.deepInclude((yield* shown(Buffer.from([0xff, 0x00]))).payload, { text: null, hex: "ff00" })
      const { payload } = yield* shown(Buffer.from(`x${"é".repeat(50_000)}`))
      assert.isTrue(payload.truncated)
      assert.match(payload.text, /^xé+$/)
      assert.strictEqual(Buffer.byteLength(payload.text), 65_535)
      assert.lengthOf(payload.hex, 8_192)
      const gone = yield* insert({ tenantId, place: { partition: 0, offset: 999_999, headers: {} } })
      assert.isNull((yield* get(gone)).body.payload)
    })
  )

  it.effect("are retried by their ids, by a filter or all, each once, and the answer counts them", () =>
    Effect.gen(function* () {
      const { list, retry, tenantId } = yield* session()
      const [first, second] = [yield* insert({ tenantId }), yield* insert({ tenantId, reason: "SchemaMismatch" })]
      yield* insert({ tenantId })
      const one = yield* retry({ ids: [first, randomUUID()] })
      assert.strictEqual(one.status, 202, one.text)
      assert.deepInclude(one.body, { retried: 1, alreadyRetrying: 0, alreadyResolved: 0, repairsHistory: 1 })
      assert.include(one.body.message, "repairs the history")
      assert.deepInclude((yield* retry({ ids: [first] })).body, { retried: 0, alreadyRetrying: 1 })
      assert.deepInclude((yield* retry({ filter: { reason: "SchemaMismatch" }, configAt: "now" })).body, { retried: 1 })
      assert.deepInclude((yield* retry({ all: true })).body, { retried: 1, alreadyRetrying: 2 })
      const { body } = yield* list("state=retrying")
      assert.lengthOf(body.items, 3)
      for (const { retries } of body.items) assert.strictEqual(retries, 1)
      const sql = yield* OwnerSql
      const [row] = yield* sql<{ recent: boolean }>`
        select config_at > now() - interval '1 minute' as recent from dead_letters where id = ${second}`
      assert.isTrue(row?.recent)
    })
  )

  it.effect("asked for unclearly are refused with what is wrong", () =>
    Effect.gen(function* () {
      const { retry, tenantId } = yield* session()
      const [whole, entry] = [yield* insert({ tenantId }), yield* insert({ tenantId, entry: 3 })]
      for (const body of [
        {},
        { all: false },
        { all: true, ids: [whole] },
        { ids: [] },
        { ids: ["7"] },
        { all: true, configAt: "x" }
      ]) {
        assert.strictEqual((yield* retry(body)).status, 400, JSON.stringify(body))
      }
      for (const body of [
        { all: true, entry: 1 },
        { ids: [whole, entry], entry: 1 },
        { ids: [entry], entry: 1 }
      ]) {
        const answer = yield* retry(body)
        assert.strictEqual(answer.status, 422, JSON.stringify(body))
        assert.strictEqual(answer.body.errors[0].path, "payload.entry")
      }
      assert.deepInclude((yield* retry({ ids: [entry], entry: 3 })).body, { retried: 1 })
      assert.deepInclude((yield* retry({ ids: [whole], entry: 3 })).body, { retried: 1 })
    })
  )

  it.effect("of another organization are as good as none", () =>
    Effect.gen(function* () {
      const [owner, stranger] = [yield* session(), yield* session()]
      const id = yield* insert({ tenantId: owner.tenantId })
      const unowned = yield* insert({ tenantId: null })
      const absent = yield* stranger.get(randomUUID())
      for (const hidden of [id, unowned]) {
        const answer = yield* stranger.get(hidden)
        assert.strictEqual(answer.status, 404)
        assert.deepStrictEqual(withoutRequestId(answer.body), withoutRequestId(absent.body))
      }
      assert.deepStrictEqual(idsOf(yield* stranger.list("state=all")), [])
      for (const body of [{ ids: [id, unowned] }, { all: true }, { filter: {} }]) {
        assert.deepInclude((yield* stranger.retry(body)).body, { retried: 0, alreadyRetrying: 0 })
      }
      assert.deepInclude((yield* owner.get(id)).body, { state: "open", retries: 0 })
    })
  )

  it.effect("of nobody are for those who operate the platform", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const id = yield* insert({ tenantId: null, reason: "UnknownDevice" })
      const token = yield* api.login()
      const { body } = yield* api.call("GET", "/api/v1/dlq?reason=UnknownDevice", { token })
      assert.include(idsOf({ body }), id)
      const retried = yield* api.call("POST", "/api/v1/dlq/retry", { token, body: { ids: [id] } })
      assert.strictEqual(retried.body.retried, 1)
    })
  )

  it.effect("are seen by who keeps devices running, and retried by who configures them", () =>
    Effect.gen(function* () {
      const may: ReadonlyArray<readonly [string, number, number]> = [
        ["admin", 200, 202],
        ["engineer", 200, 202],
        ["manager", 200, 403],
        ["technician", 200, 403],
        ["viewer", 403, 403]
      ]
      for (const [role, read, retried] of may) {
        const { list, retry } = yield* session(role)
        assert.strictEqual((yield* list()).status, read, role)
        assert.strictEqual((yield* retry({ all: true })).status, retried, role)
      }
    })
  )
})
