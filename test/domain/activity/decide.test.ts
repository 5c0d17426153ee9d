import { type Template } from "@argusiq/domain/activity/activity.ts"
import { decide, type Decision, type World } from "@argusiq/domain/activity/decide.ts"
import { activityForEvent, activityIdOf } from "@argusiq/domain/activity/from-template.ts"
import { templatesFor } from "@argusiq/domain/activity/matching.ts"
import { type SystemEvent } from "@argusiq/domain/system-event.ts"
import { assert, describe, it } from "@effect/vitest"
import { event, hours, idOf, occurredAt, ofAlarm, template, tenantId } from "./samples.ts"

const nothing: World = {
  templates: [],
  entityOf: () => ({ assetTypeId: undefined }),
  open: [],
  dealtWith: new Set()
}
const asset = { assetTypeId: idOf("asset type") }

describe("templates", () => {
  const cases: ReadonlyArray<[string, Partial<Template>, Partial<SystemEvent>, boolean]> = [
    ["match their trigger", {}, {}, true],
    ["match no other event type", { trigger: "DEVICE_OFFLINE" }, {}, false],
    ["for people match nothing", { trigger: "MANUAL" }, {}, false],
    ["match a severity of their filter", { filter: { severities: ["high", "critical"] } }, {}, true],
    ["match no other severity", { filter: { severities: ["high"] } }, {}, false],
    ["with an empty list match nothing", { filter: { severities: [] } }, {}, false],
    ["match an entity type of their filter", { filter: { entityTypes: ["asset"] } }, {}, true],
    ["match no other entity type", { filter: { entityTypes: ["asset"] } }, { entityType: "device" }, false],
    ["match an asset type of their filter", { filter: { assetTypeIds: [asset.assetTypeId] } }, {}, true],
    ["match no other asset type", { filter: { assetTypeIds: [idOf("other")] } }, {}, false],
    ["of another organization match nothing", { tenantId: idOf("other tenant") }, {}, false]
  ]
  for (const [title, ofTemplate, ofEvent, expected] of cases) {
    it(title, () => {
      const found = templatesFor(event("e", ofEvent), [template("t", ofTemplate)], asset)
      assert.strictEqual(found.length === 1, expected)
    })
  }

  it("by asset type do not match a device", () => {
    const byType = template("t", { filter: { assetTypeIds: [asset.assetTypeId] } })
    assert.deepStrictEqual(templatesFor(event("e"), [byType], { assetTypeId: undefined }), [])
  })

  const named = (...names: ReadonlyArray<string>) => ({
    payload: {
      actions: names.map((name) => ({ type: "create_activity", templateId: idOf(`template ${name}`) }))
    }
  })
  it("that an event names are the only ones, whatever their triggers say", () => {
    const templates = [template("triggered"), template("named", { trigger: "MANUAL" })]
    const found = templatesFor(event("e", named("named")), templates, asset)
    assert.deepStrictEqual(
      found.map(({ name }) => name),
      ["named"]
    )
  })
  it("that an event names and that are gone let no others in", () => {
    assert.deepStrictEqual(templatesFor(event("e", named("gone")), [template("triggered")], asset), [])
  })
  it("that an event names in vain because its actions cannot be read leave the triggered ones", () => {
    const found = templatesFor(event("e", { payload: { actions: [{ type: "explode" }] } }), [template("t")], asset)
    assert.lengthOf(found, 1)
  })
  it("that are named by an alarm's end are not used", () => {
    const cleared = event("e", { eventType: "THRESHOLD_CLEARED", ...named("t") })
    assert.deepStrictEqual(templatesFor(cleared, [template("t")], asset), [])
  })
})

describe("an activity made for an event", () => {
  const cases: ReadonlyArray<[SystemEvent["severity"], number | null, number]> = [
    ["critical", null, 1],
    ["high", null, 2],
    ["medium", null, 3],
    ["warning", null, 3],
    ["low", null, 4],
    ["info", null, 5],
    ["critical", 4, 4]
  ]
  for (const [severity, priority, expected] of cases) {
    it(`has priority ${expected} for ${severity} where the template says ${priority}`, () => {
      assert.strictEqual(activityForEvent(template("t", { priority }), event("e", { severity })).priority, expected)
    })
  }
  it("is due so many hours after the event, and carries what the template gives it", () => {
    const checklist = [{ item: "Stop the pump", required: true }]
    const made = activityForEvent(
      template("t", { dueInHours: 1.5, checklist, assignedRole: "technician" }),
      event("e", ofAlarm("a"))
    )
    assert.strictEqual(made.dueAt, occurredAt + hours(1.5))
    assert.deepInclude(made, { checklist, assignedRole: "technician", alarmId: idOf("alarm a"), name: "t", tenantId })
    assert.deepStrictEqual(made.target, { type: "asset", id: idOf("pump") })
  })
})

describe("events", () => {
  const t = template("t")
  const world: World = { ...nothing, templates: [t] }
  const madeBy = (decision: Decision) => decision.create.map(({ id }) => id)

  it("delivered twice make one activity", () => {
    const decision = decide([event("e"), event("e")], world)
    assert.deepStrictEqual(madeBy(decision), [activityIdOf(idOf("event e"), t.id)])
    assert.lengthOf(decision.join, 1)
  })
  it("that were dealt with make nothing, whatever has become of it", () => {
    const dealtWith = new Set([`${idOf("event e")} ${t.id}`])
    assert.deepStrictEqual(decide([event("e")], { ...world, dealtWith }), {
      create: [],
      join: [],
      cancel: [],
      retracted: []
    })
  })
  it("join the activity that is open for the same template and target", () => {
    const decision = decide([event("e"), event("f")], world)
    assert.lengthOf(decision.create, 1)
    assert.deepStrictEqual(
      decision.join.map(({ activityId, event }) => [activityId, event.id]),
      [
        [decision.create[0]?.id, idOf("event e")],
        [decision.create[0]?.id, idOf("event f")]
      ]
    )
  })
  it("of another entity make an activity of their own", () => {
    assert.lengthOf(decide([event("e"), event("f", { entityId: idOf("fan") })], world).create, 2)
  })
  it("make one activity by each template", () => {
    assert.lengthOf(decide([event("e")], { ...world, templates: [t, template("u")] }).create, 2)
  })

  const retraction = (name: string) =>
    event(`retracted ${name}`, { eventType: "THRESHOLD_RETRACTED", ...ofAlarm(name) })
  const open = (more: object) => ({
    id: idOf("open"),
    templateId: t.id,
    targetId: idOf("pump"),
    alarmIds: new Set([idOf("alarm a")]),
    isOfAlarmsOnly: true,
    isUntouched: true,
    ...more
  })
  const retractions: ReadonlyArray<[string, object, boolean]> = [
    ["cancels an untouched activity that stands for it alone", {}, true],
    ["leaves an activity that somebody has touched", { isUntouched: false }, false],
    ["leaves one that another alarm has joined", { alarmIds: new Set([idOf("alarm a"), idOf("alarm b")]) }, false],
    ["leaves one that stands for an event without an alarm too", { isOfAlarmsOnly: false }, false],
    ["leaves those of other alarms", { alarmIds: new Set([idOf("alarm b")]) }, false]
  ]
  for (const [title, more, expected] of retractions) {
    it(`a retracted alarm ${title}`, () => {
      const { cancel } = decide([retraction("a")], { ...world, open: [open(more)] })
      assert.deepStrictEqual(cancel, expected ? [idOf("open")] : [])
    })
  }
  it("the last of several alarms to be retracted cancels what they have made", () => {
    const [a, b] = [event("a", ofAlarm("a")), event("b", ofAlarm("b"))]
    const decision = decide([a, b, retraction("a"), retraction("b")], world)
    assert.deepStrictEqual(decision.cancel, madeBy(decision))
    assert.deepStrictEqual(decide([a, b, retraction("a")], world).cancel, [])
  })
  it("after a cancellation make an activity again", () => {
    const [a, b] = [event("a", ofAlarm("a")), event("b", ofAlarm("b"))]
    assert.lengthOf(decide([a, retraction("a"), b], world).create, 2)
  })

  it("in any division into batches, any of them delivered again, make the same", () => {
    const seed = Math.floor(Math.random() * 2 ** 31)
    let state = seed
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return (state >>> 8) % below
    }
    const templates = [t, template("u", { filter: { severities: ["critical"] } })]
    for (let round = 0; round < 300; round++) {
      const over = new Set<string>() // nothing is told of an alarm after it was retracted
      const events = Array.from({ length: 1 + random(12) }, (_, index) => {
        const entity = ["pump", "fan"][random(2)]!
        const entityId = idOf(entity)
        const name = `${entity} ${[0, 1, 2, 3].map((one) => one + random(2)).find((one) => !over.has(`${entity} ${one}`)) ?? index + 9}`
        const alarm = ofAlarm(name)
        if (random(4) === 0) {
          over.add(name)
          return event(`${round} ${index}`, { eventType: "THRESHOLD_RETRACTED", entityId, ...alarm })
        }
        return event(`${round} ${index}`, {
          entityId,
          severity: random(2) === 0 ? "critical" : "low",
          ...(random(3) > 0 && alarm)
        })
      })
      const whole = decide(events, { ...nothing, templates })
      const store = makeStore(templates)
      for (let at = 0; at < events.length;) {
        const size = 1 + random(4)
        const batch = events.slice(at, at + size)
        store.take(batch)
        if (random(2) === 0) store.take(batch)
        at += size
      }
      const of = (decision: Pick<Decision, "create" | "join" | "cancel">) => ({
        create: decision.create.map(({ id }) => id),
        join: decision.join.map(({ activityId, event }) => `${activityId} ${event.id}`),
        cancel: decision.cancel.toSorted()
      })
      assert.deepStrictEqual(of(store), of(whole), `seed ${seed}, round ${round}`)
    }
  })
})

/** What the rows would be, without a database. */
const makeStore = (templates: ReadonlyArray<Template>) => {
  const create: Array<Decision["create"][number]> = []
  const join: Array<Decision["join"][number]> = []
  const cancel: Array<string> = []
  const retracted = new Set<string>()
  const world = (): World => ({
    ...nothing,
    templates,
    dealtWith: new Set(join.map(({ event, templateId }) => `${event.id} ${templateId}`)),
    open: create
      .filter(({ id }) => !cancel.includes(id))
      .map(({ id, target, templateId }) => {
        const events = join.filter(({ activityId }) => activityId === id).map(({ event }) => event)
        return {
          id,
          templateId,
          targetId: target?.id ?? null,
          alarmIds: new Set(
            events.flatMap(({ alarmId, id: eventId }) =>
              alarmId === undefined || retracted.has(eventId) ? [] : [alarmId]
            )
          ),
          isOfAlarmsOnly: events.every(({ alarmId }) => alarmId !== undefined),
          isUntouched: true
        }
      })
  })
  const take = (events: ReadonlyArray<SystemEvent>) => {
    const decision = decide(events, world())
    create.push(...decision.create)
    join.push(...decision.join)
    cancel.push(...decision.cancel)
    for (const { event } of join) if (decision.retracted.includes(event.alarmId ?? "")) retracted.add(event.id)
  }
  return { create, join, cancel, take }
}
