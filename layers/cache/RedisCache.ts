/**
 * The shared cache in Redis. A value is the string `generation sequence value` under its own key, the state the string
 * `generation through seen`; every decision about them is made by one script, so that no other process comes between.
 * All keys must be on one server: not a Redis Cluster.
 * @module
 */
import { Effect, Layer, Option, Schema } from "effect"
import { randomUUID } from "node:crypto"
import { RedisClient, script } from "../redis/RedisClient.ts"
import {
  BAR_MILLIS,
  type Claim,
  type Forgotten,
  KEEP_MILLIS,
  type Noted,
  SharedCache,
  type SharedValue
} from "./SharedCache.ts"

const STATE = "cache:profiles"
const CHANNEL = "cache:invalidate"
const BARRED = "barred"
/** One command holds up all others while it runs. */
const MOST_KEYS = 500
/** No claim over it holds. */
const NO_CONNECTION = -1

const readState = `local id, through, seen = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+) (%d+)$')`

/** KEYS: state, then keys. VALUES: generation, milliseconds to live, then a sequence and a value for each key. */
const put = script(`${readState}
if id ~= ARGV[1] then return 0 end
for i = 2, #KEYS do
  local sequence, value = ARGV[2 * i - 1], ARGV[2 * i]
  local head = redis.call('GETRANGE', KEYS[i], 0, 79)
  local generation, old = string.match(head, '^(%S+) (%d+) ')
  if head ~= '${BARRED}' and (generation ~= id or tonumber(old) < tonumber(sequence)) then
    if tonumber(sequence) >= tonumber(seen) then
      redis.call('SET', KEYS[i], id .. ' ' .. sequence .. ' ' .. value, 'PX', ARGV[2])
    else
      redis.call('DEL', KEYS[i])
    end
  end
end
return 1`)

/** KEYS: state, then changed keys. VALUES: seen, through, the claim's generation and origin, then a sequence for each key. */
const note = script(`for i = 2, #KEYS do
  local old = string.match(redis.call('GETRANGE', KEYS[i], 0, 79), '^%S+ (%d+) ')
  if old and tonumber(old) < tonumber(ARGV[i + 3]) then redis.call('DEL', KEYS[i]) end
end
${readState}
if not id then return { '', '0' } end
local before = through .. ' ' .. seen
if tonumber(ARGV[1]) > tonumber(seen) then seen = ARGV[1] end
if id == ARGV[3] and tonumber(through) >= tonumber(ARGV[4]) and tonumber(ARGV[2]) > tonumber(through) then
  through = ARGV[2]
end
if before ~= through .. ' ' .. seen then redis.call('SET', KEYS[1], id .. ' ' .. through .. ' ' .. seen) end
return { id, through }`)

/** KEYS: state. VALUES: the generation to replace ('' for none), the one to begin, its sequence. */
const begin = script(`${readState}
if (id or '') == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[3]) end
return 1`)

const parseState = (text: string | null | undefined) => {
  const [, generation, through] = /^(\S+) (\d+) \d+$/.exec(text ?? "") ?? []
  return { generation, through: through === undefined ? 0 : Number(through) }
}

/** Undefined: of another generation, or barred. */
const parseValue = (text: string, generation: string | undefined): SharedValue | undefined => {
  const first = text.indexOf(" ")
  const second = text.indexOf(" ", first + 1)
  if (second < 0 || text.slice(0, first) !== generation) return undefined
  return { sequence: Number(text.slice(first + 1, second)), value: text.slice(second + 1) }
}

const Announcement = Schema.fromJsonString(
  Schema.Union([
    Schema.Struct({ type: Schema.Literals(["device", "device-type"]), id: Schema.NonEmptyString }),
    Schema.Struct({ type: Schema.Literal("all") })
  ])
)
const decodeAnnouncement = Schema.decodeUnknownOption(Announcement)
const decodeReply = Schema.decodeUnknownSync(Schema.Tuple([Schema.String, Schema.FiniteFromString]))

/** `{type, id}` on `cache:invalidate`, or no matter what on `cache:invalidate:device:{id}`, `…:device-type:{id}`, `…:all`.
 * What cannot be understood means everything. */
export const parseAnnouncement = (channel: string, message: string): Forgotten => {
  if (channel === CHANNEL) return Option.getOrElse(decodeAnnouncement(message), () => ({ type: "all" as const }))
  const [, type, id] = /^cache:invalidate:(device|device-type):(.+)$/.exec(channel) ?? []
  return id !== undefined && (type === "device" || type === "device-type") ? { type, id } : { type: "all" }
}

const chunks = <A>(all: Iterable<A>): ReadonlyArray<ReadonlyArray<A>> => {
  const items = [...all]
  return Array.from({ length: Math.ceil(items.length / MOST_KEYS) }, (_, index) =>
    items.slice(index * MOST_KEYS, (index + 1) * MOST_KEYS)
  )
}

export const make = Effect.gen(function* () {
  const redis = yield* RedisClient
  return SharedCache.of({
    get: Effect.fnUntraced(function* (keys) {
      const found = new Map<string, SharedValue>()
      let first: ReturnType<typeof parseState> | undefined
      for (const some of keys.length === 0 ? [[]] : chunks(keys)) {
        const [text, ...values] = yield* redis.use((client) => client.mget(STATE, ...some))
        const state = parseState(text)
        first ??= state
        values.forEach((text, index) => {
          const value = parseValue(text ?? "", first?.generation)
          if (value !== undefined) found.set(some[index]!, value)
        })
      }
      return { generation: first?.generation, through: first?.through ?? 0, found }
    }),
    put: Effect.fnUntraced(function* (generation, values) {
      for (const some of chunks(values)) {
        const done = yield* redis.run(put, () => ({
          keys: [STATE, ...some.map(([key]) => key)],
          values: [generation, KEEP_MILLIS, ...some.flatMap(([, { sequence, value }]) => [sequence, value])]
        }))
        if (done !== 1) return false
      }
      return true
    }),
    note: Effect.fnUntraced(function* ({ changes, claim, seen, through }) {
      const noteSome = (some: ReadonlyArray<readonly [string, number]>, claim: Claim | undefined) => {
        let connection = 0
        const call = () => {
          connection = redis.connection()
          const holds = claim?.connection === connection ? claim : undefined
          const values = [seen, through, holds?.generation ?? "", holds?.origin ?? 0]
          return {
            keys: [STATE, ...some.map(([key]) => key)],
            values: [...values, ...some.map(([, sequence]) => sequence)]
          }
        }
        return Effect.map(redis.run(note, call), (reply) => {
          const [generation, through] = decodeReply(reply)
          return { generation: generation === "" ? undefined : generation, through, connection }
        })
      }
      const all = chunks(changes)
      const earlier: Array<Noted> = []
      for (const some of all.slice(0, -1)) earlier.push(yield* noteSome(some, undefined))
      // Only when all have been noted does the claim hold.
      const last = yield* noteSome(all.at(-1) ?? [], claim)
      const torn = earlier.some((one) => one.generation !== last.generation || one.connection !== last.connection)
      return torn ? { ...last, connection: NO_CONNECTION } : last
    }),
    begin: (replaces, sequence) =>
      Effect.asVoid(redis.run(begin, () => ({ keys: [STATE], values: [replaces ?? "", randomUUID(), sequence] }))),
    bar: (key) => Effect.asVoid(redis.use((client) => client.set(key, BARRED, "PX", BAR_MILLIS))),
    announce: (forgotten) => Effect.asVoid(redis.use((client) => client.publish(CHANNEL, JSON.stringify(forgotten)))),
    announcements: (received) =>
      redis.subscribe({ channel: CHANNEL, pattern: `${CHANNEL}:*` }, (channel, message) =>
        received(parseAnnouncement(channel, message))
      )
  })
})

export const layer: Layer.Layer<never, never, RedisClient> = Layer.effect(SharedCache, make)
