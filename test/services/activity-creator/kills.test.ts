import { activityCreator } from "@argusiq/activity-creator/ActivityCreator.ts"
import { failpoints } from "@argusiq/activity-creator/Failpoints.ts"
import { type SystemEvent } from "@argusiq/domain/system-event.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { fileURLToPath } from "node:url"
import { freshDirectory, start, until } from "../../layers/bus/ConsumerWorld.ts"
import { nodeBinary } from "../../support/PlatformProcess.ts"
import { TestDatabase, testDatabase } from "../../support/postgres.ts"
import { activitiesOf, addTemplate, breach, makeOrganization, noticesOf, publish } from "./world.ts"

const program = fileURLToPath(new URL("creatorToKill.ts", import.meta.url))
const ENTITIES = 12
const EVENTS = 60

const liveUntil = (directory: string, url: string, place: string) =>
  Effect.callback<string>((resume) => {
    const child = spawn(nodeBinary, [program, directory, url, place, "2"], { stdio: ["ignore", "ignore", "inherit"] })
    child.on("exit", (code, signal) => resume(Effect.succeed(signal ?? `exit code ${code}`)))
    return Effect.sync(() => void child.kill("SIGKILL"))
  })

layer(testDatabase, { excludeTestServices: true })("an activity creator that is killed", (it) => {
  it.effect("at each place makes one activity per entity and one notification and delivery per event", () =>
    Effect.gen(function* () {
      const directory = yield* freshDirectory
      const { pipeline } = yield* TestDatabase
      const organization = yield* makeOrganization
      const templateId = yield* addTemplate(organization, { trigger: "MANUAL" })
      const entities = Array.from({ length: ENTITIES }, () => randomUUID())
      const actions = [
        { type: "create_activity", templateId },
        { type: "webhook", url: "https://hooks.example.com/a" },
        { type: "notify", channel: "in_app", to: "technician" }
      ]
      const events = Array.from({ length: EVENTS }, (_, index): SystemEvent =>
        breach(organization, { entityId: entities[index % ENTITIES]!, payload: { actions } })
      )
      const bus = LocalBus.layer({ directory, minFreeBytes: 0 })
      for (const [life, place] of failpoints.entries()) {
        const part = events.slice((life * EVENTS) / failpoints.length, ((life + 1) * EVENTS) / failpoints.length)
        yield* Effect.scoped(Effect.provide(publish(...part, ...part.slice(0, 3)), bus))
        assert.strictEqual(yield* liveUntil(directory, pipeline, place), "SIGKILL", place)
      }
      yield* Effect.gen(function* () {
        yield* Effect.flatMap(activityCreator, start)
        yield* until(
          "all events are stored",
          Effect.map(noticesOf(organization), ({ deliveries }) => deliveries.length >= EVENTS)
        )
        yield* publish(...events)
        yield* Effect.sleep(1_000)
      }).pipe(Effect.scoped, Effect.provide(bus))
      const activities = eventsByEntity(yield* activitiesOf(organization))
      assert.deepStrictEqual(activities, new Map(entities.toSorted().map((entity) => [entity, EVENTS / ENTITIES])))
      const { deliveries, notifications } = yield* noticesOf(organization)
      assert.lengthOf(deliveries, EVENTS)
      assert.lengthOf(notifications, EVENTS)
    })
  )
})

/** How many events each entity's one activity stands for. */
const eventsByEntity = (activities: ReadonlyArray<{ readonly target_id: string | null; readonly events: number }>) => {
  const events = new Map<string | null, number>()
  for (const activity of activities) {
    assert.isFalse(events.has(activity.target_id), "an entity has one activity")
    events.set(activity.target_id, activity.events)
  }
  return new Map([...events].toSorted(([one], [other]) => (String(one) < String(other) ? -1 : 1)))
}
