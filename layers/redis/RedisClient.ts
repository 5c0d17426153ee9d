/**
 * A Redis that helps and is never needed: commands fail at once while it is away, and one that hangs costs its users one
 * time-out per interval.
 * @module
 */
import { CacheUnavailable } from "@argusiq/domain/errors.ts"
import { Cause, Clock, Config, Context, Effect, Exit, Layer, Redacted, Schema, type Scope } from "effect"
import { Redis, type RedisOptions } from "ioredis"
import { createHash } from "node:crypto"
import { makeOutage } from "../outage.ts"

/** A healthy Redis answers within a millisecond or two; the rest is for pauses of this process and of that one. */
const COMMAND_TIMEOUT_MILLIS = 250
/** Between two attempts while Redis is away; what comes in between fails at once. */
const ATTEMPT_EVERY_MILLIS = 1_000
const CONNECT_TIMEOUT_MILLIS = 1_000
const MOST_RECONNECT_MILLIS = 1_000

/** A command sent twice would count twice, and one that waits in a queue would hold up what can go on without it. */
const options = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 1,
  connectTimeout: CONNECT_TIMEOUT_MILLIS,
  retryStrategy: (attempt: number) => Math.min(MOST_RECONNECT_MILLIS, 50 * 2 ** Math.min(attempt, 10))
} satisfies RedisOptions

/** Errors of ioredis carry the command that failed with its arguments, the password of AUTH among them. */
const bare = (cause: unknown): Error => {
  if (!(cause instanceof Error)) return new Error(String(cause))
  if (cause.message.startsWith("Stream isn't writeable")) return new Error("There is no connection")
  const code = "code" in cause ? String(cause.code) : cause.name
  return new Error(cause.message === "" ? code : cause.message)
}

export interface Script {
  readonly lua: string
  readonly sha: string
}
export const script = (lua: string): Script => ({ lua, sha: createHash("sha1").update(lua).digest("hex") })

export interface ScriptCall {
  readonly keys: ReadonlyArray<string>
  readonly values: ReadonlyArray<string | number>
}

export class RedisClient extends Context.Service<
  RedisClient,
  {
    /** `send` must send synchronously, so that what it looked at still holds when Redis gets it. */
    use<A>(send: (redis: Redis) => Promise<A>): Effect.Effect<A, CacheUnavailable>
    /** Runs a script; `call` is asked for its arguments at the moment of sending, again when Redis did not know the script. */
    run(script: Script, call: () => ScriptCall): Effect.Effect<unknown, CacheUnavailable>
    /** The number of the connection. Behind another one may stand a Redis that was restarted from an older state. */
    connection(): number
    /** Calls `received` with what is published on a channel or on one of the channels that the pattern matches, until the scope
     * closes. What is published while Redis is away is missed. */
    subscribe(
      what: { readonly channel: string; readonly pattern: string },
      received: (channel: string, message: string) => void
    ): Effect.Effect<void, never, Scope.Scope>
  }
>()("argusiq/layers/redis/RedisClient") {}

/** A client that goes on connecting until the scope closes. */
const connect = (url: Redacted.Redacted<string>, commandTimeout: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const redis = new Redis(Redacted.value(url), { ...options, commandTimeout })
      redis.on("error", () => {}) // each failing command tells it
      return redis
    }),
    (redis) => Effect.sync(() => redis.disconnect())
  )
const connected = (redis: Redis) =>
  Effect.tryPromise({ try: () => redis.connect(), catch: (cause) => new CacheUnavailable({ cause: bare(cause) }) })

const make = Effect.fnUntraced(function* (url: Redacted.Redacted, commandTimeout: number) {
  const clock = yield* Clock.Clock
  const redis = yield* connect(url, commandTimeout)
  const outage = makeOutage(
    "Redis is away; PostgreSQL answers and rate limits are counted per process until it is back"
  )
  let connection = 0
  redis.on("close", () => connection++)
  /** While Redis is away: when it may be tried again. */
  let nextAttemptAt: number | undefined

  const attempt = <A>(send: (redis: Redis) => Promise<A>): Effect.Effect<A, CacheUnavailable> =>
    Effect.tryPromise({ try: () => send(redis), catch: (cause) => new CacheUnavailable({ cause: bare(cause) }) }).pipe(
      Effect.onExit((exit) => {
        if (Exit.isSuccess(exit)) {
          nextAttemptAt = undefined
          return outage.ended
        }
        if (!Cause.hasInterruptsOnly(exit.cause)) nextAttemptAt = clock.currentTimeMillisUnsafe() + ATTEMPT_EVERY_MILLIS
        return outage.began(exit.cause)
      })
    )

  const use = <A>(send: (redis: Redis) => Promise<A>): Effect.Effect<A, CacheUnavailable> =>
    Effect.suspend(() => {
      if (nextAttemptAt === undefined) return attempt(send)
      const now = clock.currentTimeMillisUnsafe()
      if (now < nextAttemptAt) return Effect.fail(new CacheUnavailable({ cause: new Error("Redis is away") }))
      nextAttemptAt = now + ATTEMPT_EVERY_MILLIS // the others do not wait with this one
      return attempt(send)
    })

  const run = ({ lua, sha }: Script, call: () => ScriptCall) =>
    use(async (redis): Promise<unknown> => {
      const { keys, values } = call()
      try {
        return await redis.evalsha(sha, keys.length, ...keys, ...values)
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error
        const { keys, values } = call()
        return await redis.eval(lua, keys.length, ...keys, ...values)
      }
    })

  const subscribe = Effect.fnUntraced(function* (
    what: { readonly channel: string; readonly pattern: string },
    received: (channel: string, message: string) => void
  ) {
    const subscriber = yield* connect(url, commandTimeout)
    subscriber.on("message", received)
    subscriber.on("pmessage", (_, channel, message) => received(channel, message))
    subscriber.on("ready", () => {
      const again = () => subscriber.disconnect(true)
      Promise.all([subscriber.subscribe(what.channel), subscriber.psubscribe(what.pattern)]).catch(again)
    })
    yield* Effect.ignore(connected(subscriber))
  })

  yield* connected(redis).pipe(
    Effect.catchCause((cause) => {
      nextAttemptAt = clock.currentTimeMillisUnsafe()
      return outage.began(cause)
    })
  )
  return RedisClient.of({ use, run, connection: () => connection, subscribe })
})

/** Built also while Redis is away. An answer that takes longer than `commandTimeout` milliseconds counts as none. */
export const layer = (url: Redacted.Redacted, commandTimeout = COMMAND_TIMEOUT_MILLIS): Layer.Layer<RedisClient> =>
  Layer.effect(RedisClient, make(url, commandTimeout))

const Url = Schema.Redacted(
  Schema.String.check(
    Schema.makeFilter((url: string) => (URL.canParse(url) && /^rediss?:$/.test(new URL(url).protocol)) || "not a URL")
  )
)
/** `REDIS_URL`: `redis://user:password@host:6379/0`, or `rediss://` for TLS. */
export const urlConfig = Config.schema(Url, "REDIS_URL")
