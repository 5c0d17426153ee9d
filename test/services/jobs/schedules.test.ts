import { occurrenceIdOf } from "@argusiq/domain/activity/from-template.ts"
import { Failpoints } from "@argusiq/jobs/Failpoints.ts"
import { makeScheduledAt } from "@argusiq/jobs/schedules.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { activitiesOf, addTemplate, makeOrganization, noticesOf, type Organization } from "../activity-creator/world.ts"

const at = (iso: string) => Date.parse(iso)

/** Every day at eight in Berlin, from the first of March on. */
const addSchedule = Effect.fnUntraced(function* (
  { tenantId }: Organization,
  templateId: string,
  more: Readonly<Record<string, string | number | null>> = {}
) {
  const sql = yield* OwnerSql
  const [id, target] = [randomUUID(), randomUUID()]
  yield* sql`insert into schedules ${sql.insert({
    id,
    tenant_id: tenantId,
    template_id: templateId,
    name: `Oil ${id}`,
    target_type: "asset",
    target_id: target,
    every: 1,
    unit: "days",
    starts_on: "2026-03-01",
    local_time: "08:00",
    time_zone: "Europe/Berlin",
    next_due_at: "2026-03-01T07:00:00Z",
    ...more
  })}`
  return { id, target }
})
const scheduleOf = (id: string) =>
  Effect.flatMap(OwnerSql, (sql) =>
    Effect.map(
      sql<{ next: Date | null; last: Date | null }>`
        select next_due_at as next, last_due_at as last from schedules where id = ${id}`,
      ([row]) => ({ next: row?.next?.toISOString(), last: row?.last?.toISOString() })
    )
  )
/** Other tests' schedules rest. */
const world = Effect.gen(function* () {
  const sql = yield* OwnerSql
  yield* sql`update schedules set is_active = false`
  return yield* makeOrganization
})
const makeAt = (iso: string) => makeScheduledAt(at(iso) * 1_000)

layer(testDatabase, { excludeTestServices: true })("scheduled maintenance", (it) => {
  it.effect("is made when its time has come, once, and told to those whom it is given to", () =>
    Effect.gen(function* () {
      const organization = yield* world
      const templateId = yield* addTemplate(organization, {
        trigger: "MANUAL",
        assignedRole: "technician",
        checklist: [{ item: "Oil", required: true }]
      })
      const { id, target } = yield* addSchedule(organization, templateId)
      assert.strictEqual(yield* makeAt("2026-03-01T06:59:59Z"), 0)
      assert.strictEqual(yield* makeAt("2026-03-01T07:00:00Z"), 1)
      assert.strictEqual(yield* makeAt("2026-03-01T07:00:05Z"), 0)
      const [activity, ...others] = yield* activitiesOf(organization)
      const due = at("2026-03-01T07:00:00Z") * 1_000
      assert.deepInclude(activity, {
        id: occurrenceIdOf(id, due),
        target_id: target,
        name: `Oil ${id}`,
        state: "pending",
        priority: 3,
        items: 1,
        due
      })
      assert.lengthOf(others, 0)
      const { notifications } = yield* noticesOf(organization)
      assert.deepInclude(notifications[0], { channel: "in_app", recipients: ["technician"], activity_id: activity!.id })
      assert.deepStrictEqual(yield* scheduleOf(id), {
        next: "2026-03-02T07:00:00.000Z",
        last: "2026-03-01T07:00:00.000Z"
      })
    })
  )

  it.effect("that was missed is made once, the last one, and keeps its local time", () =>
    Effect.gen(function* () {
      const organization = yield* world
      const { id } = yield* addSchedule(organization, yield* addTemplate(organization))
      assert.strictEqual(yield* makeAt("2026-04-10T12:00:00Z"), 1)
      const [activity] = yield* activitiesOf(organization)
      assert.strictEqual(activity?.due, at("2026-04-10T06:00:00Z") * 1_000)
      assert.deepStrictEqual(yield* scheduleOf(id), {
        next: "2026-04-11T06:00:00.000Z",
        last: "2026-04-10T06:00:00.000Z"
      })
    })
  )

  it.effect("ends after its last day", () =>
    Effect.gen(function* () {
      const organization = yield* world
      const { id } = yield* addSchedule(organization, yield* addTemplate(organization), { ends_on: "2026-03-02" })
      assert.strictEqual(yield* makeAt("2026-03-01T07:00:00Z"), 1)
      assert.strictEqual(yield* makeAt("2026-03-09T07:00:00Z"), 1)
      assert.deepStrictEqual(yield* scheduleOf(id), { next: undefined, last: "2026-03-02T07:00:00.000Z" })
      assert.strictEqual(yield* makeAt("2026-04-09T07:00:00Z"), 0)
      assert.lengthOf(yield* activitiesOf(organization), 2)
    })
  )

  it.effect("of a template that is switched off is passed over", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const organization = yield* world
      const templateId = yield* addTemplate(organization)
      yield* sql`update activity_templates set is_active = false where id = ${templateId}`
      const { id } = yield* addSchedule(organization, templateId)
      assert.strictEqual(yield* makeAt("2026-03-01T07:00:00Z"), 0)
      assert.strictEqual((yield* scheduleOf(id)).next, "2026-03-02T07:00:00.000Z")
    })
  )

  it.effect("is made once although a process ends before it has stored it, and by two at the same time", () =>
    Effect.gen(function* () {
      const organization = yield* world
      const templateId = yield* addTemplate(organization)
      for (let count = 0; count < 20; count++) yield* addSchedule(organization, templateId)
      const make = makeAt("2026-03-01T08:00:00Z")
      let left = 5
      const ends = () => {
        if (--left === 0) throw new Error("the process ends")
      }
      yield* Effect.exit(Effect.provideService(make, Failpoints, ends))
      assert.lengthOf(yield* activitiesOf(organization), 4)
      const counts = yield* Effect.all([make, make, make], { concurrency: 3 })
      assert.strictEqual(
        counts.reduce((sum, one) => sum + one, 0),
        16
      )
      assert.lengthOf(yield* activitiesOf(organization), 20)
    })
  )
})
