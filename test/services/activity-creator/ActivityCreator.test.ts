import { activityCreator } from "@argusiq/activity-creator/ActivityCreator.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { start, until } from "../../layers/bus/ConsumerWorld.ts"
import { testDatabase } from "../../support/postgres.ts"
import { recordsOf, testBus } from "../dispatcher/topics.ts"
import { activitiesOf, addTemplate, breach, makeOrganization, noticesOf, ofAlarm, publish } from "./world.ts"

const run = Effect.flatMap(activityCreator, start)

/** Until the group has read all events there are. */
const settled = until(
  "all events are read",
  Effect.gen(function* () {
    const bus = yield* Bus
    const sql = yield* OwnerSql
    const records = yield* recordsOf(Topics.events)
    const rows = yield* sql<{ partition: number; next: bigint | null }>`
      select partition, next from consumer_offsets where "group" = ${Groups.activityCreator}`
    const next = new Map(rows.map((row) => [row.partition, row.next ?? 0n]))
    return bus.logId !== "" && records.every(({ offset, partition }) => (next.get(partition) ?? 0n) > offset)
  })
)

const webhook = { type: "webhook", url: "https://hooks.example.com/a" }
const notify = (channel: string, to: string) => ({ type: "notify", channel, to })

layer(Layer.merge(testBus, testDatabase), { excludeTestServices: true })("the activity creator", (it) => {
  it.effect("makes an activity with its checklist, and tells those whom it is given to", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      const templateId = yield* addTemplate(organization, {
        name: "Look at the pump",
        assignedRole: "technician",
        dueInHours: 2,
        checklist: [
          { item: "Stop it", required: true },
          { item: "Clean it", required: false }
        ]
      })
      const event = breach(organization, { payload: { message: "Too hot" } })
      yield* publish(event)
      yield* run
      yield* settled
      const [activity, ...others] = yield* activitiesOf(organization)
      assert.deepInclude(activity, {
        template_id: templateId,
        event_id: event.id,
        target_id: event.entityId,
        state: "pending",
        priority: 1,
        name: "Look at the pump",
        items: 2,
        events: 1,
        due: event.occurredAt + 7_200_000_000
      })
      assert.lengthOf(others, 0)
      const { notifications } = yield* noticesOf(organization)
      assert.lengthOf(notifications, 1)
      assert.deepInclude(notifications[0], {
        channel: "in_app",
        recipients: ["technician"],
        state: "delivered",
        event_id: event.id,
        activity_id: activity!.id
      })
    })
  )

  it.effect("makes one activity, one notification per channel and one delivery of an event that comes twice", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      const templateId = yield* addTemplate(organization, { trigger: "MANUAL" })
      const actions = [
        { type: "create_activity", templateId },
        webhook,
        notify("in_app", "manager"),
        notify("email", "a@example.com"),
        notify("email", "b@example.com")
      ]
      const event = breach(organization, { payload: { actions } })
      yield* publish(event, event)
      yield* run
      yield* settled
      yield* publish(event)
      yield* settled
      assert.lengthOf(yield* activitiesOf(organization), 1)
      const { deliveries, notifications } = yield* noticesOf(organization)
      assert.deepStrictEqual(
        notifications.map(({ channel, recipients, state }) => ({ channel, recipients, state })),
        [
          { channel: "email", recipients: ["a@example.com", "b@example.com"], state: "pending" },
          { channel: "in_app", recipients: ["manager"], state: "delivered" }
        ]
      )
      assert.deepStrictEqual(
        deliveries.map(({ state, url }) => ({ state, url })),
        [{ state: "pending", url: webhook.url }]
      )
    })
  )

  it.effect("lets events join what is open for their template and entity, and makes another when that is done", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const organization = yield* makeOrganization
      yield* addTemplate(organization)
      const entityId = randomUUID()
      const [first, second, elsewhere] = [
        breach(organization, { entityId }),
        breach(organization, { entityId }),
        breach(organization)
      ]
      yield* publish(first, second, elsewhere)
      yield* run
      yield* settled
      const both = yield* activitiesOf(organization)
      assert.sameDeepMembers(
        both.map(({ events, target_id }) => [target_id, events]),
        [
          [entityId, 2],
          [elsewhere.entityId, 1]
        ]
      )
      yield* sql`update activities set state = 'completed', ended_at = now() where target_id = ${entityId}`
      yield* publish(first, second)
      yield* settled
      assert.lengthOf(yield* activitiesOf(organization), 2, "they were dealt with")
      yield* sql`delete from activities where target_id = ${entityId}`
      yield* publish(first, second)
      yield* settled
      assert.lengthOf(yield* activitiesOf(organization), 1, "also when somebody has removed the activity")
      yield* publish(breach(organization, { entityId }))
      yield* settled
      assert.lengthOf(yield* activitiesOf(organization), 2)
    })
  )

  it.effect("cancels what a retracted alarm has made, unless somebody has touched it", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const organization = yield* makeOrganization
      yield* addTemplate(organization)
      const alarms = [randomUUID(), randomUUID(), randomUUID()]
      const entities = alarms.map(() => randomUUID())
      const all = (eventType: "THRESHOLD_BREACH" | "THRESHOLD_RETRACTED") =>
        alarms.map((alarmId, index) =>
          breach(organization, { eventType, entityId: entities[index]!, ...ofAlarm(alarmId) })
        )
      yield* publish(...all("THRESHOLD_BREACH"))
      yield* run
      yield* settled
      yield* sql`update activities set priority = 5, version = 2 where target_id = ${entities[1]!}`
      const joined = breach(organization, { entityId: entities[2]!, ...ofAlarm(randomUUID()) })
      yield* publish(joined)
      yield* settled
      yield* publish(...all("THRESHOLD_RETRACTED"))
      yield* settled
      const states = Effect.map(activitiesOf(organization), (activities) => {
        const byTarget = new Map(activities.map(({ state, target_id }) => [target_id, state]))
        return entities.map((entity) => byTarget.get(entity))
      })
      assert.deepStrictEqual(yield* states, ["cancelled", "pending", "pending"])
      yield* publish({ ...joined, id: randomUUID(), eventType: "THRESHOLD_RETRACTED" })
      yield* settled
      assert.deepStrictEqual(yield* states, ["cancelled", "pending", "cancelled"])
    })
  )

  it.effect("knows the type of the asset that an event is about", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const organization = yield* makeOrganization
      const { tenantId } = organization
      const [pumpType, fanType] = [randomUUID(), randomUUID()]
      const [pump, fan] = [randomUUID(), randomUUID()]
      for (const [type, asset] of [
        [pumpType, pump],
        [fanType, fan]
      ] as const) {
        yield* sql`insert into asset_types (id, tenant_id, name) values (${type}, ${tenantId}, ${type})`
        yield* sql`insert into assets (id, tenant_id, name, asset_type_id) values (${asset}, ${tenantId}, 'a', ${type})`
      }
      yield* addTemplate(organization, { filter: { assetTypeIds: [pumpType] } })
      yield* publish(
        breach(organization, { entityType: "asset", entityId: pump }),
        breach(organization, { entityType: "asset", entityId: fan }),
        breach(organization)
      )
      yield* run
      yield* settled
      assert.deepStrictEqual(
        (yield* activitiesOf(organization)).map(({ target_id }) => target_id),
        [pump]
      )
    })
  )

  it.effect("uses no template that is switched off or another organization's, also where an event names it", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const [organization, stranger] = [yield* makeOrganization, yield* makeOrganization]
      const off = yield* addTemplate(organization)
      yield* sql`update activity_templates set is_active = false where id = ${off}`
      const theirs = yield* addTemplate(stranger)
      const named = (templateId: string) => ({ payload: { actions: [{ type: "create_activity", templateId }] } })
      yield* publish(breach(organization), breach(organization, named(off)), breach(organization, named(theirs)))
      yield* run
      yield* settled
      assert.lengthOf(yield* activitiesOf(organization), 0)
      assert.lengthOf(yield* activitiesOf(stranger), 0)
    })
  )

  it.effect("buries what is no event, and goes on", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const organization = yield* makeOrganization
      yield* addTemplate(organization)
      const event = breach(organization)
      yield* bus.publish([
        {
          topic: Topics.events,
          key: event.entityId,
          value: Buffer.from("{}"),
          headers: { "message-id": randomUUID(), "tenant-id": organization.tenantId, "received-at": "1" }
        }
      ])
      yield* publish(event)
      yield* run
      yield* settled
      assert.lengthOf(yield* activitiesOf(organization), 1)
      const buried = yield* recordsOf(deadLetterTopic(Topics.events))
      assert.strictEqual(buried.filter(({ key }) => key === event.entityId)[0]?.headers["dlq-reason"], "Undecodable")
    })
  )
})
