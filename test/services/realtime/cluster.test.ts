import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { RedisServer } from "../../support/components/redis.ts"
import { eventually } from "../../support/PlatformProcess.ts"
import { testDatabase } from "../../support/postgres.ts"
import { testBus } from "../dispatcher/topics.ts"
import { connect, eventOf, makeDevice, makeOrganization, normalized, People, serveLive, watch } from "./world.ts"

const startRedis = Effect.acquireRelease(
  Effect.promise(() => RedisServer.started({ password: "p@ss" })),
  (redis) => Effect.promise(() => redis.dispose())
)
const waitFor = <A>(what: string, seconds: number, condition: () => A | undefined) =>
  Effect.promise(() => eventually(what, seconds, condition, 20))

layer(Layer.merge(testBus, testDatabase), { excludeTestServices: true })(
  "two servers of live connections with one Redis",
  (it) => {
    it.effect("tell each of its own connections once, and go on while Redis is killed and when it is back", () =>
      Effect.gen(function* () {
        const bus = yield* Bus
        const redis = yield* startRedis
        const people = new People()
        const env = { REDIS_URL: redis.url }
        const ours = yield* makeOrganization
        const device = yield* makeDevice(ours)
        const clients = [
          yield* connect(yield* serveLive(people, env), people.token(ours)),
          yield* connect(yield* serveLive(people, env), people.token(ours))
        ]
        for (const client of clients) yield* watch(client, device)
        let number = 0
        const eachHearsOnce = Effect.gen(function* () {
          number++
          yield* bus.publish([
            eventOf(ours, device, number).record,
            normalized(ours, device, [{ deviceId: device, metrics: { number } }])
          ])
          for (const client of clients) {
            yield* waitFor("the event", 5, () =>
              client.all("event:created").find(({ payload }) => payload["number"] === number)
            )
            yield* waitFor("the reading", 5, () =>
              client.all("telemetry:new").find(({ metrics }) => metrics["number"] === number)
            )
          }
          yield* Effect.sleep(300)
          for (const client of clients) {
            assert.strictEqual(client.all("event:created").length, number)
            assert.strictEqual(client.all("telemetry:new").length, number)
          }
        })
        yield* eachHearsOnce
        redis.hang()
        yield* Effect.sleep(1_500)
        yield* eachHearsOnce
        yield* Effect.promise(() => redis.kill())
        yield* Effect.sleep(1_500)
        yield* eachHearsOnce
        yield* Effect.promise(() => redis.start())
        yield* Effect.sleep(1_500)
        yield* eachHearsOnce
        for (const { disconnected, socket } of clients) {
          assert.isTrue(socket.connected)
          assert.deepStrictEqual(disconnected, [])
        }
      })
    )

    it.effect("count the connections of both for the limits, also after Redis was away", () =>
      Effect.gen(function* () {
        const redis = yield* startRedis
        const people = new People()
        const env = { REDIS_URL: redis.url, REALTIME_CONNECTIONS_PER_USER: "2" }
        const ours = yield* makeOrganization
        const userId = randomUUID()
        const token = () => people.token(ours, "viewer", userId)
        const [here, there] = [yield* serveLive(people, env), yield* serveLive(people, env)]
        yield* connect(here, token())
        yield* connect(there, token())
        const refusal = (url: string) =>
          Effect.scoped(connect(url, token())).pipe(
            Effect.as("connected"),
            Effect.catch(({ cause }) => Effect.succeed((cause as { readonly type: string }).type))
          )
        const becomes = (url: string, answer: string, seconds: number) =>
          Effect.promise(() =>
            eventually(
              `${url} answering ${answer}`,
              seconds,
              async () => ((await Effect.runPromise(refusal(url))) === answer ? true : undefined),
              250
            )
          )
        yield* becomes(here, "too-many-connections", 5)
        yield* becomes(there, "too-many-connections", 5)
        yield* Effect.promise(() => redis.kill())
        yield* becomes(here, "connected", 20)
        yield* Effect.promise(() => redis.start())
        yield* becomes(here, "too-many-connections", 20)
      })
    )
  }
)
