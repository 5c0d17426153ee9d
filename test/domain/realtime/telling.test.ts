import { readRequest } from "@argusiq/domain/realtime/requests.ts"
import { alarmEndedBy, roomsOf, toldOfActivity, toldOfEvent } from "@argusiq/domain/realtime/telling.ts"
import { Told } from "@argusiq/domain/realtime/told.ts"
import { type SystemEvent } from "@argusiq/domain/system-event.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"

const [tenantId, entityId, id] = [
  "00000000-0000-4000-8000-000000000001" as TenantId,
  "00000000-0000-4000-8000-000000000002",
  "00000000-0000-4000-8000-000000000003"
]
const occurredAt = 1_767_225_600_000_000
const event = (more: Partial<SystemEvent>): SystemEvent => ({
  id,
  tenantId,
  entityType: "device",
  entityId,
  occurredAt,
  eventType: "DEVICE_ONLINE",
  severity: "info",
  payload: {},
  ...more
})
const isAsTyped = ({ name, payload }: { readonly name: keyof typeof Told; readonly payload: unknown }) =>
  Result.isSuccess(Schema.decodeUnknownResult(Told[name] as Schema.Codec<unknown>)(payload))

describe("what is told of an event", () => {
  it("is the event, and of a device that comes online or goes offline its status as well", () => {
    const online = toldOfEvent(event({}))
    assert.deepStrictEqual(
      online.map(({ name }) => name),
      ["event:created", "device:status", "device:connected"]
    )
    assert.deepInclude(online[1]!.payload, { status: "online", lastSeen: "2026-01-01T00:00:00.000Z" })
    const payload = { reason: "disconnected", detail: "keepalive_timeout", lastSeenAt: "2025-12-31T23:59:00.000Z" }
    const offline = toldOfEvent(event({ eventType: "DEVICE_OFFLINE", severity: "warning", payload }))
    assert.deepInclude(offline[1]!.payload, { status: "offline", lastSeen: "2025-12-31T23:59:00.000Z" })
    assert.deepInclude(offline[2]!.payload, { reason: "disconnected: keepalive_timeout" })
    const other = toldOfEvent(event({ eventType: "THRESHOLD_BREACH" }))
    assert.deepStrictEqual(
      other.map(({ name }) => name),
      ["event:created"]
    )
    for (const told of [...online, ...offline, ...other]) assert.isTrue(isAsTyped(told), JSON.stringify(told))
  })

  it("ends the alarm that it says has ended, and no other", () => {
    const alarmId = "00000000-0000-4000-8000-000000000004"
    assert.strictEqual(alarmEndedBy(event({ eventType: "THRESHOLD_CLEARED", alarmId })), alarmId)
    assert.strictEqual(alarmEndedBy(event({ eventType: "THRESHOLD_RETRACTED", alarmId })), alarmId)
    assert.isUndefined(alarmEndedBy(event({ eventType: "THRESHOLD_BREACH", alarmId })))
  })

  it("is for the organisation, and for who watches the entity", () => {
    assert.deepStrictEqual(roomsOf(tenantId, "asset", entityId), [`organization:${tenantId}`, `asset:${entityId}`])
    assert.deepStrictEqual(roomsOf(tenantId, "organization", tenantId), [`organization:${tenantId}`])
    assert.deepStrictEqual(roomsOf(tenantId, null, null), [`organization:${tenantId}`])
  })
})

describe("what is told of an activity", () => {
  it("is as the types say, with a time or without", () => {
    const activity = {
      activityId: id,
      tenantId,
      activityTypeId: id,
      templateId: null,
      scheduleId: null,
      eventId: null,
      targetType: "device",
      targetId: entityId,
      name: "Look",
      priority: 2,
      assignedRole: null,
      assignedUserId: null,
      dueAt: null,
      createdAt: occurredAt
    } as const
    assert.isTrue(isAsTyped(toldOfActivity(activity)))
    const due = toldOfActivity({ ...activity, dueAt: occurredAt })
    assert.deepInclude(due.payload, { dueAt: "2026-01-01T00:00:00.000Z", assignedTo: null })
  })
})

describe("a request", () => {
  it.effect.prop(
    "is read or refused, whatever it is",
    { name: Schema.String, payload: Schema.Json },
    ({ name, payload }) =>
      Effect.sync(() => {
        for (const one of [name, "subscribe", "unsubscribe", "authenticate", "__proto__", "constructor"]) {
          const read = readRequest(one, payload)
          if (Result.isFailure(read)) assert.isNotEmpty(read.failure.message)
        }
      }),
    { arbitrary: { runs: 200 } }
  )

  it("names one room", () => {
    const room = { entityType: "device", id: entityId }
    assert.isTrue(Result.isSuccess(readRequest("subscribe", room)))
    assert.isTrue(Result.isSuccess(readRequest("unsubscribe", { organizationId: tenantId })))
    for (const wrong of [{ ...room, id: "1" }, { ...room, entityType: "user" }, { id: entityId }, [], null, "x"])
      assert.isTrue(Result.isFailure(readRequest("subscribe", wrong)), JSON.stringify(wrong))
  })
})
