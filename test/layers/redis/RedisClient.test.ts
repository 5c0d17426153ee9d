import { RedisClient, script } from "@argusiq/layers/redis/RedisClient.ts"
import * as RedisClientLayer from "@argusiq/layers/redis/RedisClient.ts"
import { assert, it, layer } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Layer, Logger, Redacted } from "effect"
import { inspect } from "node:util"
import { redisClient, TestRedis, testRedisServer } from "../../support/components/redisLayer.ts"
import { RedisServer } from "../../support/components/redis.ts"

const ping = RedisClient.use((redis) => redis.use((client) => client.ping()))

const until = (what: string, condition: Effect.Effect<boolean, never, RedisClient>) =>
  Effect.gen(function* () {
    const deadline = Date.now() + 30_000
    while (!(yield* condition)) {
      if (Date.now() > deadline) assert.fail(`not within 30 s: ${what}`)
      yield* Effect.sleep(20)
    }
  })
const answers = Effect.map(Effect.exit(ping), ({ _tag }) => _tag === "Success")

/** Lines that were logged, and the layer that keeps them. */
const logged = () => {
  const lines: Array<string> = []
  const keep = Logger.layer([Logger.make(({ message }) => void lines.push(inspect(message, { depth: 9 })))])
  return { lines, keep }
}

layer(testRedisServer, { excludeTestServices: true })("the client of Redis", (it) => {
  it.effect("fails at once while Redis is killed, says so once, and is back by itself", () => {
    const { keep, lines } = logged()
    return Effect.gen(function* () {
      const server = yield* TestRedis
      assert.strictEqual(yield* ping, "PONG")
      const connection = yield* RedisClient.useSync((redis) => redis.connection())
      yield* Effect.promise(() => server.kill())
      yield* Effect.ignore(ping)
      const started = performance.now()
      for (let attempt = 0; attempt < 1_000; attempt++) {
        assert.strictEqual((yield* Effect.flip(ping))._tag, "CacheUnavailable")
      }
      assert.isBelow(performance.now() - started, 3_000)
      yield* Effect.promise(() => server.start())
      yield* until("Redis answers again", answers)
      assert.notStrictEqual(yield* RedisClient.useSync((redis) => redis.connection()), connection)
      assert.lengthOf(
        lines.filter((line) => line.includes("'Redis is away")),
        1,
        lines.join("\n")
      )
      assert.lengthOf(
        lines.filter((line) => line.includes("Over: ")),
        1,
        lines.join("\n")
      )
    }).pipe(Effect.provide(redisClient), Effect.provide(keep))
  })

  it.effect("waits for a Redis that hangs no longer than one time-out per interval, and is back when it goes on", () =>
    Effect.gen(function* () {
      const server = yield* TestRedis
      yield* ping
      server.hang()
      const started = performance.now()
      let waited = 0
      let calls = 0
      let slow = 0
      while (performance.now() - started < 2_000) {
        const before = performance.now()
        yield* Effect.exit(ping)
        const took = performance.now() - before
        waited += took
        if (took > 100) slow++
        calls++
        yield* Effect.sleep(5)
      }
      server.goOn()
      assert.isAtMost(slow, 3, `${slow} of ${calls} calls waited, ${Math.round(waited)} ms in all`)
      assert.isBelow(waited, 1_200)
      yield* until("Redis answers again", answers)
    }).pipe(Effect.provide(redisClient))
  )

  it.effect("does not keep callers that come together waiting one after the other", () =>
    Effect.gen(function* () {
      const server = yield* TestRedis
      yield* ping
      server.hang()
      const started = performance.now()
      yield* Effect.all(
        Array.from({ length: 500 }, () => Effect.exit(ping)),
        { concurrency: "unbounded" }
      )
      const took = performance.now() - started
      server.goOn()
      assert.isBelow(took, 3_000)
    }).pipe(Effect.provide(redisClient))
  )

  it.effect("runs a script also when Redis has forgotten it", () =>
    Effect.gen(function* () {
      const redis = yield* RedisClient
      const server = yield* TestRedis
      const echo = script("return { KEYS[1], ARGV[1] }")
      const call = () => ({ keys: ["key"], values: [7] })
      assert.deepStrictEqual(yield* redis.run(echo, call), ["key", "7"])
      yield* Effect.promise(() => server.command("SCRIPT FLUSH"))
      assert.deepStrictEqual(yield* redis.run(echo, call), ["key", "7"])
    }).pipe(Effect.provide(redisClient))
  )

  it.effect("hears what is published, also after Redis was restarted", () =>
    Effect.gen(function* () {
      const redis = yield* RedisClient
      const server = yield* TestRedis
      const heard: Array<string> = []
      yield* redis.subscribe({ channel: "news", pattern: "news:*" }, (channel, message) => {
        heard.push(`${channel} ${message}`)
      })
      const published = (message: string) =>
        until(
          `${message} is heard`,
          Effect.gen(function* () {
            yield* Effect.ignore(redis.use((client) => client.publish("news:at:home", message)))
            yield* Effect.sleep(20)
            return heard.includes(`news:at:home ${message}`)
          })
        )
      yield* published("one")
      yield* Effect.promise(() => server.kill())
      yield* Effect.promise(() => server.start())
      yield* published("two")
    }).pipe(Effect.provide(redisClient), Effect.scoped)
  )
})

it.live("starts within seconds while there is no Redis, or one that hangs", () =>
  Effect.gen(function* () {
    const server = yield* Effect.acquireRelease(
      Effect.promise(() => RedisServer.started()),
      (server) => Effect.promise(() => server.dispose())
    )
    server.hang()
    const client = RedisClientLayer.layer(Redacted.make(server.url))
    const started = performance.now()
    const redis = Context.get(yield* Layer.build(client), RedisClient)
    assert.isBelow(performance.now() - started, 10_000)
    assert.strictEqual((yield* Effect.flip(redis.use((client) => client.ping())))._tag, "CacheUnavailable")
    server.goOn()
    yield* Effect.provideService(until("Redis answers", answers), RedisClient, redis)
  }).pipe(Effect.scoped)
)

it.live("tells nobody its password when that is wrong", () =>
  Effect.gen(function* () {
    const server = yield* Effect.acquireRelease(
      Effect.promise(() => RedisServer.started({ password: "right" })),
      (server) => Effect.promise(() => server.dispose())
    )
    const { keep, lines } = logged()
    const wrong = Redacted.make(server.url.replace("right", "hunter2-secret"))
    const failure = yield* Effect.flip(ping).pipe(Effect.provide(RedisClientLayer.layer(wrong)), Effect.provide(keep))
    const told = `${inspect(failure, { depth: 9 })}\n${lines.join("\n")}`
    assert.notInclude(told, "hunter2")
    assert.isAtLeast(lines.length, 1)
    const right = yield* ping.pipe(Effect.provide(RedisClientLayer.layer(Redacted.make(server.url))))
    assert.strictEqual(right, "PONG")
  }).pipe(Effect.scoped)
)

it.effect("REDIS_URL must be a URL of Redis, and is not shown", () =>
  Effect.gen(function* () {
    const read = (value: string) =>
      Effect.result(
        Effect.provide(
          Effect.gen(function* () {
            return yield* RedisClientLayer.urlConfig
          }),
          ConfigProvider.layer(ConfigProvider.fromUnknown({ REDIS_URL: value }))
        )
      )
    for (const url of ["redis://localhost", "rediss://user:p%40ss@host:6380/3"]) {
      assert.notInclude(String(yield* read(url)), "host")
      assert.strictEqual((yield* read(url))._tag, "Success", url)
    }
    for (const url of ["localhost:6379", "http://localhost", "?"]) {
      assert.strictEqual((yield* read(url))._tag, "Failure", url)
    }
  })
)
