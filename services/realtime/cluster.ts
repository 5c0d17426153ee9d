/**
 * Several processes with live connections, where they share a Redis: limits count the connections of all. What is told needs
 * no Redis, since every process reads the topics itself.
 * @module
 */
import { socketChannels } from "@argusiq/layers/redis/SocketChannels.ts"
import * as RedisClient from "@argusiq/layers/redis/RedisClient.ts"
import { createAdapter } from "@socket.io/redis-adapter"
import { Config, Effect, Option } from "effect"
import { randomUUID } from "node:crypto"
import type { Audience, LiveServer } from "./Audience.ts"

const TELL_EVERY = "1 second"
/** Told again although nothing has changed. */
const REPEAT_MILLIS = 4_000
/** Of a process that has not told for so long nothing counts. */
const FORGOTTEN_AFTER_MILLIS = 10_000
const EVENT = "connections"

type Numbers = ReadonlyArray<readonly [id: string, count: number]>
interface Told {
  readonly process: string
  readonly tenants: Numbers
  readonly users: Numbers
}
interface Other {
  readonly at: number
  readonly tenants: ReadonlyMap<string, number>
  readonly users: ReadonlyMap<string, number>
}

/** The connections of the other processes. */
export interface Elsewhere {
  ofTenant(id: string): number
  ofUser(id: string): number
}

const nowhere: Elsewhere = { ofTenant: () => 0, ofUser: () => 0 }

/** As much of Socket.IO's server as is needed here, without the types of its events. */
interface Cluster {
  on(event: string, listener: (told: Told) => void): unknown
  serverSideEmit(event: string, told: Told): unknown
}

/** Joins the others where `REDIS_URL` is set. While Redis is away each process counts by itself. */
export const joinCluster = Effect.fnUntraced(function* (io: LiveServer, audience: Audience) {
  const url = yield* Config.option(RedisClient.urlConfig)
  if (Option.isNone(url)) return nowhere
  const { listening, prefix, publisher } = yield* socketChannels(url.value)
  io.adapter(createAdapter(publisher, listening, { key: prefix }))
  const cluster = io.of("/") as unknown as Cluster
  const others = new Map<string, Other>()
  cluster.on(EVENT, ({ process, tenants, users }) => {
    others.set(process, { at: performance.now(), tenants: new Map(tenants), users: new Map(users) })
  })

  const self = randomUUID()
  let told = ""
  let toldAt = 0
  const tell = Effect.sync(() => {
    const { tenants, users } = audience.numbers
    const numbers: Told = { process: self, tenants: [...tenants], users: [...users] }
    const text = JSON.stringify(numbers)
    const now = performance.now()
    for (const [process, { at }] of others) if (now - at > FORGOTTEN_AFTER_MILLIS) others.delete(process)
    if (text === told && now - toldAt < REPEAT_MILLIS) return
    told = text
    toldAt = now
    cluster.serverSideEmit(EVENT, numbers)
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(tell, Effect.sleep(TELL_EVERY))))

  const sum = (of: (other: Other) => number | undefined) => {
    let count = 0
    for (const other of others.values()) count += of(other) ?? 0
    return count
  }
  return {
    ofTenant: (id) => sum(({ tenants }) => tenants.get(id)),
    ofUser: (id) => sum(({ users }) => users.get(id))
  } satisfies Elsewhere
})
