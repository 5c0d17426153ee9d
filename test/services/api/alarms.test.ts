import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { addOrganization, Api, apiServer, withoutRequestId } from "./apiServer.ts"

const START = Date.parse("2026-06-01T00:00:00Z")
const at = (seconds: number) => new Date(START + seconds * 1_000).toISOString()
const nobody = "01890a5d-ac96-774b-bcce-b302099a8057"

const insertRule = Effect.fnUntraced(function* (tenantId: string) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into threshold_rules (id, tenant_id, name) values (${id}, ${tenantId}, 'Too warm')`
  return id
})

const insertAlarm = Effect.fnUntraced(function* (
  tenantId: string,
  entityId: string,
  ruleId: string,
  { seconds = 0, severity = "high", state = "active" } = {}
) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  const endedAt = state === "cleared" ? at(seconds + 60) : null
  yield* sql`insert into alarms (id, tenant_id, rule_id, rule_version, entity_type, entity_id, state, severity, priority,
      started_at, ended_at, end_reason, message)
    values (${id}, ${tenantId}, ${ruleId}, 1, 'device', ${entityId}, ${state}, ${severity}, 2, ${at(seconds)}::timestamptz,
      ${endedAt}::timestamptz, ${endedAt === null ? null : "cleared"}, 'warm')`
  return id
})

const insertEvent = Effect.fnUntraced(function* (tenantId: string, entityId: string, alarmId: string, seconds = 0) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, alarm_id)
    values (${id}, ${tenantId}, 'THRESHOLD_BREACH', 'device', ${entityId}, 'high', ${at(seconds)}::timestamptz, ${alarmId})`
  return id
})

const insertReadings = Effect.fnUntraced(function* (tenantId: string, entityId: string, values: ReadonlyArray<number>) {
  const sql = yield* OwnerSql
  for (const [index, value] of values.entries()) {
    yield* sql`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at,
        source_device_id, config_version, metrics)
      values (${tenantId}, 'device', ${entityId}, ${at(index * 10)}::timestamptz, ${randomUUID()}, ${randomUUID()},
        ${at(index * 10)}::timestamptz, ${entityId}, 1, ${sql.json({ t: value })})`
  }
})

layer(apiServer, { excludeTestServices: true })("alarms and events", (it) => {
  it.effect("are listed newest first, filtered, and paged without losing one", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const { deviceId, organizationId } = api.firstDevice
      const ruleId = yield* insertRule(organizationId)
      const ids: Array<string> = []
      for (let index = 0; index < 5; index++) {
        ids.unshift(
          yield* insertAlarm(organizationId, deviceId, ruleId, {
            seconds: index,
            severity: index === 4 ? "critical" : "low",
            state: index === 0 ? "cleared" : "active"
          })
        )
      }
      yield* insertAlarm(organizationId, deviceId, ruleId, { seconds: 9, state: "retracted" })
      const list = (query: string) => api.call("GET", `/api/v1/alarms?ruleId=${ruleId}&${query}`, { token })
      const listed = (query: string) =>
        Effect.map(list(query), ({ body }) => body.items.map((item: { readonly id: string }) => item.id))
      assert.deepStrictEqual(yield* listed(""), ids)
      assert.deepStrictEqual(yield* listed("minSeverity=high"), ids.slice(0, 1))
      assert.deepStrictEqual(yield* listed("state=cleared"), ids.slice(4))
      assert.strictEqual((yield* listed("state=all")).length, 6)
      assert.deepStrictEqual(yield* listed(`startTime=${at(1)}&endTime=${at(3)}`), ids.slice(2, 4))
      assert.deepStrictEqual(yield* listed(`entityId=${nobody}`), [])
      const paged: Array<string> = []
      let cursor = ""
      do {
        const { body } = yield* list(`limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`)
        for (const { id } of body.items) paged.push(id)
        cursor = body.nextCursor ?? ""
      } while (cursor !== "")
      assert.deepStrictEqual(paged, ids)
      const [first] = (yield* list("limit=1")).body.items
      assert.deepInclude(first, { ruleName: "Too warm", state: "active", severity: "critical", startedAt: at(4) })
    })
  )

  it.effect("take marks and comments; whoever is first stays, and nothing ends by it", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const { deviceId, organizationId } = api.firstDevice
      const alarmId = yield* insertAlarm(organizationId, deviceId, yield* insertRule(organizationId))
      const eventId = yield* insertEvent(organizationId, deviceId, alarmId)
      for (const path of [`/api/v1/alarms/${alarmId}`, `/api/v1/events/${eventId}`]) {
        const seen = yield* api.call("POST", `${path}/acknowledge`, { token })
        assert.strictEqual(seen.status, 200, seen.text)
        const again = yield* api.call("POST", `${path}/acknowledge`, { token })
        assert.strictEqual(again.body.acknowledgedAt, seen.body.acknowledgedAt)
        const said = yield* api.call("POST", `${path}/comments`, { token, body: { body: "Filter changed" } })
        assert.strictEqual(said.status, 201, said.text)
        const { body } = yield* api.call("GET", path, { token })
        assert.deepStrictEqual(body.comments, [said.body])
        assert.strictEqual(body.commentCount, 1)
        assert.strictEqual((yield* api.call("POST", `${path}/comments`, { token, body: { body: " " } })).status, 400)
      }
      const stale = yield* api.call("POST", `/api/v1/alarms/${alarmId}/acknowledge`, {
        token,
        headers: { "if-match": '"1"' }
      })
      assert.strictEqual(stale.status, 412)
      assert.strictEqual((yield* api.call("GET", `/api/v1/alarms/${alarmId}`, { token })).body.state, "active")
      const dismissed = yield* api.call("POST", `/api/v1/events/${eventId}/dismiss`, { token })
      assert.isString(dismissed.body.dismissedAt)
      const events = (query: string) => api.call("GET", `/api/v1/events?alarmId=${alarmId}&${query}`, { token })
      assert.deepStrictEqual((yield* events("")).body.items, [])
      assert.strictEqual((yield* events("state=dismissed&eventType=THRESHOLD_BREACH")).body.items.length, 1)
      assert.strictEqual((yield* events("state=open")).body.items.length, 0)
    })
  )

  it.effect("of another organization read as missing, and who only looks cannot mark", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const stranger = yield* api.login((yield* addOrganization("nosy")).email)
      const { deviceId, organizationId } = api.firstDevice
      const alarmId = yield* insertAlarm(organizationId, deviceId, yield* insertRule(organizationId))
      const eventId = yield* insertEvent(organizationId, deviceId, alarmId)
      for (const [method, path] of [
        ["GET", `/api/v1/alarms/${alarmId}`],
        ["POST", `/api/v1/alarms/${alarmId}/acknowledge`],
        ["POST", `/api/v1/alarms/${alarmId}/comments`],
        ["GET", `/api/v1/events/${eventId}`],
        ["POST", `/api/v1/events/${eventId}/acknowledge`],
        ["POST", `/api/v1/events/${eventId}/dismiss`],
        ["POST", `/api/v1/events/${eventId}/comments`]
      ] as const) {
        const options = { token: stranger, ...(path.endsWith("comments") && { body: { body: "Hello" } }) }
        const theirs = yield* api.call(method, path, options)
        const missing = yield* api.call(method, path.replace(alarmId, nobody).replace(eventId, nobody), options)
        assert.strictEqual(theirs.status, 404, path)
        assert.deepStrictEqual(withoutRequestId(theirs.body), withoutRequestId(missing.body))
      }
      assert.deepStrictEqual((yield* api.call("GET", "/api/v1/alarms", { token: stranger })).body.items, [])
      assert.deepStrictEqual((yield* api.call("GET", "/api/v1/events", { token: stranger })).body.items, [])
      const viewer = yield* addOrganization("viewers", "viewer")
      const looking = yield* api.login(viewer.email)
      assert.strictEqual((yield* api.call("GET", "/api/v1/alarms", { token: looking })).status, 200)
      const mark = yield* api.call("POST", `/api/v1/alarms/${alarmId}/acknowledge`, { token: looking })
      assert.strictEqual(mark.status, 403)
    })
  )

  it.effect("a backtest gives the alarms that a rule would have raised, with what was under way before", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const { deviceId, organizationId } = api.firstDevice
      yield* insertReadings(organizationId, deviceId, [95, 95, 50, 50, 95, 95, 95, 50, 95])
      const rule = {
        name: "warm",
        entityType: "device",
        entityId: deviceId,
        metricKey: "t",
        condition: { operator: ">", value: 90, durationSeconds: 15 },
        cooldownSeconds: 0
      }
      const run = (body: object, as = token) => api.call("POST", "/api/v1/rules/backtest", { token: as, body })
      const { body, status, text } = yield* run({ rule, from: at(17), to: at(200) })
      assert.strictEqual(status, 200, text)
      const alarm = { entityId: deviceId, severity: "warning", value: 95, threshold: 90 }
      assert.deepStrictEqual(body.alarms, [
        { ...alarm, startedAt: at(15), endedAt: at(20) },
        { ...alarm, startedAt: at(55), endedAt: at(70) },
        { ...alarm, startedAt: at(95), endedAt: null }
      ])
      assert.deepInclude(body, { entities: 1, readings: 9 })
      const expression = {
        ...rule,
        metricKey: null,
        condition: { expression: "$count([t]) = 1 and t > 94" },
        debounceSeconds: 15
      }
      const same = yield* run({ rule: expression, from: at(17), to: at(200) })
      assert.deepStrictEqual(
        same.body.alarms?.map(({ startedAt }: { readonly startedAt: string }) => startedAt),
        [at(15), at(55), at(95)],
        same.text
      )
      const silence = yield* run({ rule: { ...rule, condition: { noDataSeconds: 60 } }, from: at(17), to: at(200) })
      assert.deepStrictEqual(
        silence.body.alarms?.map(({ startedAt }: { readonly startedAt: string }) => startedAt),
        [at(140)],
        silence.text
      )
      const none = yield* api.call("GET", "/api/v1/alarms?startTime=" + at(50), { token })
      assert.deepStrictEqual(none.body.items, [], "a backtest stores nothing")
    })
  )

  it.effect("a backtest refuses what is wrong or too much, by its path, and sees its own organization only", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const stranger = yield* api.login((yield* addOrganization("curious-tester")).email)
      const { deviceId } = api.firstDevice
      const rule = { name: "warm", entityType: "device", metricKey: "t", condition: { operator: ">", value: 90 } }
      const run = (body: object, as = token) => api.call("POST", "/api/v1/rules/backtest", { token: as, body })
      const pathOf = (body: object, as = token) =>
        Effect.map(run({ rule, from: at(0), to: at(100), ...body }, as), (answer) => [
          answer.status,
          answer.body.errors?.[0]?.path
        ])
      assert.deepStrictEqual(yield* pathOf({ to: at(0) }), [422, "to"])
      assert.deepStrictEqual(yield* pathOf({ from: "2020-01-01T00:00:00Z" }), [422, "to"])
      assert.deepStrictEqual(yield* pathOf({ entityIds: [nobody] }), [422, "entityIds"])
      assert.deepStrictEqual(yield* pathOf({ entityIds: [deviceId] }, stranger), [422, "entityIds"])
      assert.deepStrictEqual(yield* pathOf({ rule: { ...rule, condition: { expression: "t >" } } }), [
        422,
        "rule.condition.expression"
      ])
      const { body } = yield* run({ rule, from: at(0), to: at(100) }, stranger)
      assert.deepInclude(body, { alarms: [], entities: 0, readings: 0 })
    })
  )
})
