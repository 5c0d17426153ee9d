import { ActivityCreated, type NewActivity } from "@argusiq/domain/activity/activity.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { relayActivities } from "@argusiq/jobs/ActivityRelay.ts"
import { Failpoints } from "@argusiq/jobs/Failpoints.ts"
import { insertActivities } from "@argusiq/layers/activities/activityStatements.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { randomUUID } from "node:crypto"
import { provideBus, recordsOf, refusing } from "../../layers/bus/ConsumerWorld.ts"
import { testDatabase } from "../../support/postgres.ts"
import { makeOrganization, type Organization } from "../activity-creator/world.ts"
import { testBus } from "../dispatcher/topics.ts"

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(ActivityCreated))

const activity = ({ activityTypeId, tenantId }: Organization, targetId: string, name: string): NewActivity => ({
  id: randomUUID(),
  tenantId,
  activityTypeId,
  templateId: randomUUID(),
  scheduleId: null,
  eventId: randomUUID(),
  alarmId: null,
  target: { type: "asset", id: targetId },
  name,
  description: "",
  priority: 2,
  assignedRole: "engineer",
  assignedUserId: null,
  dueAt: 1_763_700_000_000_123,
  checklist: [],
  customAttributes: {}
})
const add = (...activities: ReadonlyArray<NewActivity>) =>
  Effect.flatMap(PipelineSql, (sql) => insertActivities(sql, activities))

const published = (key: string) =>
  Effect.map(recordsOf(Topics.activities, key), (records) =>
    records.map(({ headers, value }) => ({ headers, activity: decode(new TextDecoder().decode(value)) }))
  )
const namesOf = (key: string) => Effect.map(published(key), (all) => all.map(({ activity }) => activity.name))

layer(Layer.merge(testBus, testDatabase), { excludeTestServices: true })("the relay of activities", (it) => {
  it.effect("publishes them as their rows say, under the key of their target, in their order and once", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      const target = randomUUID()
      const first = activity(organization, target, "first")
      yield* add(first, activity(organization, target, "second"), {
        ...activity(organization, "", "free"),
        target: null
      })
      assert.strictEqual(yield* relayActivities, 3)
      assert.strictEqual(yield* relayActivities, 0)
      const [one] = yield* published(target)
      assert.deepStrictEqual(yield* namesOf(target), ["first", "second"])
      assert.deepInclude(one?.activity, {
        activityId: first.id,
        targetType: "asset",
        targetId: target,
        priority: 2,
        assignedRole: "engineer",
        dueAt: 1_763_700_000_000_123,
        eventId: first.eventId
      })
      assert.deepInclude(one?.headers, { "message-id": first.id, "tenant-id": organization.tenantId })
    })
  )

  it.effect("keeps them while the bus is away", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      const target = randomUUID()
      yield* add(activity(organization, target, "first"))
      const error = yield* Effect.flip(provideBus(relayActivities, yield* refusing(() => true)))
      assert.strictEqual(error._tag, "BusUnavailable")
      yield* add(activity(organization, target, "second"))
      yield* relayActivities
      assert.deepStrictEqual(yield* namesOf(target), ["first", "second"])
    })
  )

  it.effect("that ends between publishing and marking publishes again under the same id", () =>
    Effect.gen(function* () {
      const organization = yield* makeOrganization
      const target = randomUUID()
      yield* add(activity(organization, target, "first"))
      const ends = () => {
        throw new Error("the process ends")
      }
      yield* Effect.exit(Effect.provideService(relayActivities, Failpoints, ends))
      assert.strictEqual(yield* relayActivities, 1)
      const ids = (yield* published(target)).map(({ headers }) => headers["message-id"])
      assert.lengthOf(ids, 2)
      assert.strictEqual(ids[0], ids[1])
    })
  )
})
