import { relayActivities } from "@argusiq/jobs/ActivityRelay.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { addOrganization, Api, apiServer, type Call, withoutRequestId } from "./apiServer.ts"

const nobody = "01890a5d-ac96-774b-bcce-b302099a8057"
const checklist = [
  { item: "Stop it", required: true },
  { item: "Take a picture", required: false }
]

layer(apiServer, { excludeTestServices: true })("activities", (it) => {
  const session = Effect.gen(function* () {
    const api = yield* Api
    const token = yield* api.login()
    const call = (method: string, path: string, options: Call = {}) =>
      api.call(method, `/api/v1/${path}`, { token, ...options })
    const made = (path: string, body: object) =>
      Effect.map(call("POST", path, { body }), (answer) => {
        if (answer.status !== 201) throw new Error(`${path}: ${answer.status} ${answer.text}`)
        return answer.body
      })
    const name = () => `N ${randomUUID()}`
    const type = yield* made("activity-types", { name: name() })
    const template = (more: object = {}) =>
      made("activity-templates", {
        name: name(),
        activityTypeId: type.id,
        triggerEventType: "THRESHOLD_BREACH",
        checklist,
        ...more
      })
    const activity = (more: object = {}) =>
      made("activities", { name: name(), activityTypeId: type.id, checklist, ...more })
    return { api, call, made, name, type, template, activity }
  })
  const idsOf = (answer: { body: { items: ReadonlyArray<{ id: string }> } }) => answer.body.items.map(({ id }) => id)
  const pathsOf = (answer: { body: { errors: ReadonlyArray<{ path: string }> } }) =>
    answer.body.errors.map(({ path }) => path)

  it.effect("have types that are added, changed where nobody else changed them, and removed when unused", () =>
    Effect.gen(function* () {
      const { call, template, type } = yield* session
      const path = `activity-types/${type.id}`
      assert.deepInclude(type, { description: "", icon: null, version: 1 })
      const changed = yield* call("PATCH", path, { body: { icon: "wrench" }, headers: { "if-match": '"1"' } })
      assert.deepInclude(changed.body, { icon: "wrench", name: type.name, version: 2 })
      assert.strictEqual(changed.headers.get("etag"), '"2"')
      assert.strictEqual((yield* call("PUT", path, { body: {}, headers: { "if-match": '"1"' } })).status, 412)
      assert.strictEqual((yield* call("POST", "activity-types", { body: { name: type.name } })).status, 409)
      const { id } = yield* template()
      assert.strictEqual((yield* call("DELETE", path)).status, 409)
      assert.strictEqual((yield* call("DELETE", `activity-templates/${id}`)).status, 204)
      assert.strictEqual((yield* call("DELETE", path)).status, 204)
      assert.strictEqual((yield* call("GET", path)).status, 404)
    })
  )

  it.effect("have templates that are found by trigger and type, and refused with the paths of what is wrong", () =>
    Effect.gen(function* () {
      const { call, name, template, type } = yield* session
      const breach = yield* template({ filter: { severities: ["high"] }, dueInHours: 4, assignedRole: "technician" })
      const offline = yield* template({ triggerEventType: "DEVICE_OFFLINE" })
      assert.deepInclude(breach, { priority: null, isActive: true, dueInHours: 4, filter: { severities: ["high"] } })
      const found = (query: string) =>
        Effect.map(call("GET", `activity-templates?activityTypeId=${type.id}${query}`), idsOf)
      assert.sameMembers(yield* found(""), [breach.id, offline.id])
      assert.deepStrictEqual(yield* found("&triggerEventType=DEVICE_OFFLINE"), [offline.id])
      yield* call("PATCH", `activity-templates/${offline.id}`, { body: { isActive: false } })
      assert.deepStrictEqual(yield* found("&isActive=true"), [breach.id])

      const create = (more: object) =>
        call("POST", "activity-templates", {
          body: { name: name(), activityTypeId: type.id, triggerEventType: "MANUAL", ...more }
        })
      assert.deepStrictEqual(pathsOf(yield* create({ triggerEventType: "RAIN" })), ["triggerEventType"])
      assert.deepStrictEqual(pathsOf(yield* create({ priority: 6 })), ["priority"])
      assert.deepStrictEqual(pathsOf(yield* create({ activityTypeId: nobody })), ["activityTypeId"])
      assert.deepStrictEqual(pathsOf(yield* create({ assignedUserId: nobody })), ["assignedUserId"])
      const broken = yield* call("PATCH", `activity-templates/${breach.id}`, {
        body: { checklist: [{ item: " ", required: true }] }
      })
      assert.deepStrictEqual(pathsOf(broken), ["checklist[0].item"])
    })
  )

  it.effect("go from pending to in progress to completed, with the required items done", () =>
    Effect.gen(function* () {
      const { activity, call } = yield* session
      const one = yield* activity({ priority: 2 })
      const path = `activities/${one.id}`
      assert.deepInclude(one, { state: "pending", priority: 2, startedAt: null, version: 1, eventCount: 0 })
      assert.deepInclude(one.checklist[0], { item: "Stop it", required: true, doneAt: null })
      const early = yield* call("POST", `${path}/complete`, { body: {} })
      assert.strictEqual(early.status, 409)
      assert.include(early.body.detail, "is pending and cannot be completed")
      const started = yield* call("POST", `${path}/start`)
      assert.strictEqual(started.status, 200, started.text)
      assert.deepInclude(started.body, { state: "in_progress", version: 2 })
      assert.isString(started.body.startedBy)
      assert.strictEqual((yield* call("POST", `${path}/start`)).status, 409)
      const open = yield* call("POST", `${path}/complete`, { body: {} })
      assert.strictEqual(open.status, 409)
      assert.include(open.body.detail, '"Stop it"')
      const item = `${path}/items/${one.checklist[0].id}`
      const ticked = yield* call("PATCH", item, { body: { done: true, note: "at once" } })
      assert.strictEqual(ticked.status, 200, ticked.text)
      assert.deepInclude(ticked.body.checklist[0], { note: "at once", doneBy: started.body.startedBy })
      assert.strictEqual(
        (yield* call("POST", `${path}/complete`, { body: {}, headers: { "if-match": '"2"' } })).status,
        412
      )
      const done = yield* call("POST", `${path}/complete`, { body: { note: "Bearing replaced" } })
      assert.deepInclude(done.body, { state: "completed", note: "Bearing replaced", endedBy: started.body.startedBy })
      assert.strictEqual((yield* call("PATCH", path, { body: { priority: 1 } })).status, 409)
      assert.strictEqual((yield* call("PATCH", item, { body: { done: false } })).status, 409)
      assert.strictEqual((yield* call("POST", `${path}/cancel`, { body: {} })).status, 409)
    })
  )

  it.effect("are cancelled with a reason, changed while they are open, and removed", () =>
    Effect.gen(function* () {
      const { activity, call } = yield* session
      const one = yield* activity()
      const path = `activities/${one.id}`
      const changed = yield* call("PATCH", path, {
        body: { dueAt: "2026-05-01T10:00:00+02:00", assignedRole: "engineer" }
      })
      assert.deepInclude(changed.body, { dueAt: "2026-05-01T08:00:00.000Z", assignedRole: "engineer", name: one.name })
      const cancelled = yield* call("POST", `${path}/cancel`, { body: { note: "Not needed" } })
      assert.deepInclude(cancelled.body, { state: "cancelled", note: "Not needed" })
      assert.strictEqual((yield* call("DELETE", path, { headers: { "if-match": '"1"' } })).status, 412)
      assert.strictEqual((yield* call("DELETE", path)).status, 204)
      assert.strictEqual((yield* call("GET", path)).status, 404)
      assert.strictEqual((yield* call("POST", `${path}/start`)).status, 404)
    })
  )

  it.effect(
    "are made from a template with overrides for a device or an asset, which shows them as its maintenance",
    () =>
      Effect.gen(function* () {
        const { api, call, made, name, template } = yield* session
        const sql = yield* OwnerSql
        const { id } = yield* template({ priority: 4, dueInHours: 2, assignedRole: "technician" })
        const { deviceId, organizationId } = api.firstDevice
        const onDevice = yield* made(`activities/from-template/${id}`, { targetId: deviceId })
        assert.deepInclude(onDevice, { templateId: id, targetType: "device", targetId: deviceId, priority: 4 })
        assert.lengthOf(onDevice.checklist, 2)
        assert.closeTo(Date.parse(onDevice.dueAt) - Date.parse(onDevice.createdAt), 7_200_000, 60_000)

        const [typeId, assetId] = [randomUUID(), randomUUID()]
        yield* sql`insert into asset_types (id, tenant_id, name) values (${typeId}, ${organizationId}, ${typeId})`
        yield* sql`insert into assets (id, tenant_id, name, asset_type_id) values (${assetId}, ${organizationId}, 'a', ${typeId})`
        const overrides = { name: name(), priority: 1, dueAt: null, customAttributes: { shift: "night" } }
        const onAsset = yield* made(`activities/from-template/${id}`, { targetId: assetId, overrides })
        assert.deepInclude(onAsset, { ...overrides, targetType: "asset", assignedRole: "technician" })
        assert.deepStrictEqual(idsOf(yield* call("GET", `assets/${assetId}/maintenance`)), [onAsset.id])
        assert.deepStrictEqual(idsOf(yield* call("GET", `assets/${assetId}/maintenance?state=completed`)), [])
        assert.strictEqual((yield* call("GET", `assets/${nobody}/maintenance`)).status, 404)
        const strange = yield* call("POST", `activities/from-template/${id}`, { body: { targetId: nobody } })
        assert.deepStrictEqual(pathsOf(strange), ["targetId"])
        assert.strictEqual((yield* call("POST", `activities/from-template/${nobody}`, { body: {} })).status, 404)
        assert.isAbove(yield* relayActivities, 0, "they are told of as well")
      })
  )

  it.effect("are listed page by page, the newest first, by state, due date and event", () =>
    Effect.gen(function* () {
      const { activity, call, type } = yield* session
      const made: Array<string> = []
      for (let day = 1; day <= 5; day++) made.push((yield* activity({ dueAt: `2026-05-0${day}T00:00:00Z` })).id)
      const path = `activities?activityTypeId=${type.id}`
      const first = yield* call("GET", `${path}&limit=3`)
      assert.deepStrictEqual(idsOf(first), made.toReversed().slice(0, 3))
      const second = yield* call("GET", `${path}&limit=3&cursor=${first.body.nextCursor}`)
      assert.deepStrictEqual(idsOf(second), made.toReversed().slice(3))
      assert.isNull(second.body.nextCursor)
      assert.deepStrictEqual(idsOf(yield* call("GET", `${path}&dueBefore=2026-05-02T00:00:00Z`)), [made[0]])
      yield* call("POST", `activities/${made[2]}/cancel`, { body: {} })
      assert.deepStrictEqual(idsOf(yield* call("GET", `${path}&state=cancelled`)), [made[2]])
      assert.lengthOf(idsOf(yield* call("GET", `${path}&state=open`)), 4)
      assert.strictEqual((yield* call("GET", `${path}&cursor=nonsense`)).status, 400)

      const sql = yield* OwnerSql
      const { organizationId } = (yield* Api).firstDevice
      const [eventId, alarmId] = [randomUUID(), randomUUID()]
      yield* sql`insert into activity_events (event_id, template_id, tenant_id, activity_id, event_type, severity, alarm_id,
          occurred_at) values (${eventId}, ${nobody}, ${organizationId}, ${made[4]!}, 'THRESHOLD_BREACH', 'high', ${alarmId},
          '2026-05-01T00:00:00Z')`
      for (const query of [`eventId=${eventId}`, `alarmId=${alarmId}`]) {
        assert.deepStrictEqual(idsOf(yield* call("GET", `${path}&${query}`)), [made[4]])
      }
      const { body } = yield* call("GET", `activities/${made[4]}/events`)
      const event = { eventType: "THRESHOLD_BREACH", severity: "high", alarmId, retracted: false }
      assert.deepStrictEqual(body.items, [{ eventId, ...event, occurredAt: "2026-05-01T00:00:00.000Z" }])
    })
  )

  it.effect("come again by schedules, whose next time is the local one in their zone", () =>
    Effect.gen(function* () {
      const { api, call, made, name, template } = yield* session
      const { id } = yield* template({ triggerEventType: "MANUAL" })
      const recurrence = {
        every: 1,
        unit: "days",
        startsOn: "2090-07-01",
        localTime: "08:00",
        timeZone: "Europe/Berlin"
      }
      const path = "maintenance-schedules"
      const schedule = yield* made(path, {
        name: name(),
        templateId: id,
        targetId: api.firstDevice.deviceId,
        ...recurrence
      })
      assert.deepInclude(schedule, {
        ...recurrence,
        endsOn: null,
        targetType: "device",
        nextDueAt: "2090-07-01T06:00:00.000Z",
        lastDueAt: null
      })
      const winter = yield* call("PATCH", `${path}/${schedule.id}`, { body: { startsOn: "2090-01-01" } })
      assert.strictEqual(winter.body.nextDueAt, "2090-01-01T07:00:00.000Z")
      assert.strictEqual((yield* call("DELETE", `activity-templates/${id}`)).status, 409, "it is used")
      const wrong = (more: object) =>
        Effect.map(call("POST", path, { body: { name: name(), templateId: id, ...recurrence, ...more } }), pathsOf)
      assert.deepStrictEqual(yield* wrong({ timeZone: "Mars/Olympus" }), ["timeZone"])
      assert.deepStrictEqual(yield* wrong({ startsOn: "2090-02-30" }), ["startsOn"])
      assert.deepStrictEqual(yield* wrong({ endsOn: "2090-01-01" }), ["endsOn"])
      assert.deepStrictEqual(yield* wrong({ templateId: nobody }), ["templateId"])
      assert.deepStrictEqual(idsOf(yield* call("GET", `${path}?templateId=${id}&isActive=true`)), [schedule.id])
      assert.strictEqual((yield* call("DELETE", `${path}/${schedule.id}`)).status, 204)
    })
  )

  it.effect("are worked on by technicians, who configure nothing, and only looked at by viewers", () =>
    Effect.gen(function* () {
      const { activity, api, call, type } = yield* session
      const one = yield* activity()
      const sql = yield* OwnerSql
      const join = Effect.fnUntraced(function* (role: string) {
        const { email, userId } = yield* addOrganization(`of-${role}-${randomUUID()}`, role)
        yield* sql`update memberships set tenant_id = ${api.firstDevice.organizationId} where user_id = ${userId}`
        return yield* api.login(email)
      })
      const [technician, viewer] = [yield* join("technician"), yield* join("viewer")]
      const start = `activities/${one.id}/start`
      assert.strictEqual((yield* call("GET", `activities/${one.id}`, { token: viewer })).status, 200)
      assert.strictEqual((yield* call("POST", start, { token: viewer })).status, 403)
      const body = { name: "x", activityTypeId: type.id }
      assert.strictEqual((yield* call("POST", "activities", { token: technician, body })).status, 403)
      assert.strictEqual((yield* call("GET", "webhook-secret", { token: technician })).status, 403)
      assert.strictEqual((yield* call("POST", start, { token: technician })).status, 200)
    })
  )

  it.effect("of another organization answer exactly as missing ones", () =>
    Effect.gen(function* () {
      const { activity, api, call, made, name, template, type } = yield* session
      const [one, pattern] = [yield* activity(), yield* template({ triggerEventType: "MANUAL" })]
      const schedule = yield* made("maintenance-schedules", {
        name: name(),
        templateId: pattern.id,
        every: 1,
        unit: "weeks",
        startsOn: "2090-01-01",
        localTime: "08:00",
        timeZone: "UTC"
      })
      const { email } = yield* addOrganization(`strangers-${randomUUID()}`)
      const token = yield* api.login(email)
      const requests = (ids: Readonly<Record<string, string>>) =>
        [
          ...["activity-types", "activity-templates", "maintenance-schedules", "activities"].flatMap(
            (list): ReadonlyArray<[string, string, unknown?]> => [
              ["GET", `${list}/${ids[list]}`],
              ["PATCH", `${list}/${ids[list]}`, { name: "taken over" }],
              ["DELETE", `${list}/${ids[list]}`]
            ]
          ),
          ["POST", `activities/${ids["activities"]}/start`],
          ["POST", `activities/${ids["activities"]}/cancel`, {}],
          ["GET", `activities/${ids["activities"]}/events`],
          ["PATCH", `activities/${ids["activities"]}/items/${ids["item"]}`, { done: true }],
          ["POST", `activities/from-template/${ids["activity-templates"]}`, {}],
          ["POST", "activities", { name: "mine", activityTypeId: ids["activity-types"] }]
        ] as ReadonlyArray<[string, string, unknown?]>
      const answers = (ids: Readonly<Record<string, string>>) =>
        Effect.forEach(requests(ids), ([method, path, body]) =>
          Effect.map(call(method, path, { token, body }), (answer) => ({
            status: answer.status,
            body: withoutRequestId(answer.body)
          }))
        )
      const theirs = yield* answers({
        "activity-types": type.id,
        "activity-templates": pattern.id,
        "maintenance-schedules": schedule.id,
        activities: one.id,
        item: one.checklist[0].id
      })
      const lists = ["activity-types", "activity-templates", "maintenance-schedules", "activities", "item"]
      assert.deepStrictEqual(theirs, yield* answers(Object.fromEntries(lists.map((list) => [list, nobody]))))
      assert.sameMembers([...new Set(theirs.map(({ status }) => status))], [404, 422])
      assert.deepStrictEqual((yield* call("GET", `activities/${one.id}`)).body, one)
    })
  )
})
