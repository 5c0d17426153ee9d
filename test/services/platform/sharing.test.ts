import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { argusiq } from "../../end-to-end/Argusiq.ts"
import { PlatformProcess } from "../../support/PlatformProcess.ts"
import { databaseEnvironment, testDatabase, TestDatabase } from "../../support/postgres.ts"

const withPlatform = (options: Parameters<typeof PlatformProcess.prepare>[0]) =>
  Effect.acquireRelease(
    Effect.promise(() => PlatformProcess.prepare(options)),
    (platform) => Effect.promise(() => platform.dispose())
  )

const settingsOf = (platform: PlatformProcess) => ({
  ARGUSIQ_DATA_DIR: platform.dataDirectory,
  HTTP_PORT: String(platform.httpPort),
  MQTT_PORT: String(platform.mqttPort),
  MQTTS_PORT: String(platform.mqttsPort),
  METRICS_PORT: String(platform.metricsPort)
})

layer(testDatabase, { excludeTestServices: true, timeout: 60_000 })(
  "processes that do not share what they must",
  (it) => {
    it.effect(
      "a process without the api opens its metrics port alone; a second one with a log of its own is refused",
      () =>
        Effect.gen(function* () {
          const env = databaseEnvironment(yield* TestDatabase)
          const first = yield* withPlatform({ services: ["dispatcher", "jobs"], env })
          yield* Effect.promise(() => first.start())
          yield* Effect.promise(async () => {
            const answer = (path: string) => fetch(`${first.healthUrl}${path}`)
            assert.strictEqual((await answer("/health")).status, 200)
            const { dependencies } = (await (await answer("/ready")).json()) as {
              dependencies: ReadonlyArray<{ name: string; state: string }>
            }
            assert.deepStrictEqual(
              dependencies.map(({ name, state }) => `${name} ${state}`),
              ["database up", "bus up", "consumers up"]
            )
            assert.include(await (await answer("/metrics")).text(), "argusiq_")
            const others = await Promise.allSettled(
              [first.url, `http://127.0.0.1:${first.mqttPort}`].map((url) => fetch(url))
            )
            assert.deepStrictEqual(
              others.map(({ status }) => status),
              ["rejected", "rejected"]
            )
          })

          const second = yield* withPlatform({ env })
          const refused = yield* Effect.promise(() => argusiq(["start"], { ...settingsOf(second), ...env }))
          assert.strictEqual(refused.code, 1)
          assert.include(refused.errors, "Several processes means Kafka: set KAFKA_BROKERS")

          const sameDirectory = { ...settingsOf(second), ARGUSIQ_DATA_DIR: first.dataDirectory, ...env }
          const third = yield* Effect.promise(() => argusiq(["start", "--services", "bridge"], sameDirectory))
          assert.strictEqual(third.code, 1)
          assert.include(third.errors, "A platform is already running with the data directory")
          assert.include(third.errors, "set KAFKA_BROKERS and DATABASE_URL")
        }),
      60_000
    )

    it.effect(
      "some of the services on Kafka are refused an embedded PostgreSQL, which the others could not reach",
      () =>
        Effect.gen(function* () {
          const platform = yield* withPlatform({})
          const env = { ...settingsOf(platform), KAFKA_BROKERS: "127.0.0.1:1" }
          const refused = yield* Effect.promise(() => argusiq(["start", "--services", "bridge,api"], env))
          assert.strictEqual(refused.code, 1)
          assert.include(
            refused.errors,
            "telemetry-writer, asset-health, event-engine, activity-creator, jobs, realtime would run in other processes"
          )
          assert.include(refused.errors, "Set DATABASE_URL")
        })
    )
  }
)
