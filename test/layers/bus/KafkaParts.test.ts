/**
 * The parts of the Kafka adapter that need no broker: how partitions are shared, and records as bytes.
 * @module
 */
import { Topics } from "@argusiq/domain/topics.ts"
import type { BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { crc32c } from "@argusiq/layers/bus/kafka/crc32c.ts"
import type { Connection } from "@argusiq/layers/bus/kafka/Connection.ts"
import type { Broker, KafkaError, WireRequest } from "@argusiq/layers/bus/kafka/kafkajs.ts"
import { LogReader } from "@argusiq/layers/bus/kafka/LogReader.ts"
import { decodeBatches, encodeBatch, roomOf, sizeOf } from "@argusiq/layers/bus/kafka/recordBatch.ts"
import { type Claim, type Shares, share } from "@argusiq/layers/bus/kafka/sharing.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { createRequire } from "node:module"

describe("the sharing of partitions", () => {
  const counts: Readonly<Record<string, number>> = { a: 12, b: 12, c: 1 }
  const partitionsOf = (topic: string) => counts[topic] ?? 0
  const claim = (memberId: string, owned: Claim["owned"], topics: ReadonlyArray<string>, generation = 1): Claim => ({
    memberId,
    topics,
    owned,
    generation
  })
  const ownedBy = (shares: Shares, memberId: string) => shares.get(memberId) ?? {}
  /** Rounds until nothing moves, as members join again after each. */
  const settle = (claims: ReadonlyArray<Claim>, together = false) => {
    let members = claims
    const rounds: Array<Shares> = []
    for (let round = 0; round < 4; round++) {
      const shares = share(members, partitionsOf, together)
      rounds.push(shares)
      members = members.map((member) => ({ ...member, owned: ownedBy(shares, member.memberId), generation: 2 + round }))
    }
    return { members, rounds }
  }

  it.effect.prop(
    "gives every partition to one member, evenly, never to two at a time, and settles",
    {
      claims: Schema.Array(
        Schema.Struct({
          topics: Schema.Array(Schema.Literals(["a", "b", "c"])).check(Schema.isMinLength(1)),
          a: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 11 }))),
          b: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 15 }))),
          generation: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))
        })
      ).check(Schema.isMinLength(1), Schema.isMaxLength(6))
    },
    ({ claims }) =>
      Effect.sync(() => {
        const first = claims.map(({ a, b, generation, topics }, index) =>
          claim(`m${index}`, { a: [...new Set(a)], b: [...new Set(b)] }, [...new Set(topics)], generation)
        )
        const { members, rounds } = settle(first)
        for (const shares of rounds) {
          const all = [...shares.values()].flatMap((owned) =>
            Object.entries(owned).flatMap(([topic, partitions]) =>
              partitions.map((partition) => `${topic}/${partition}`)
            )
          )
          assert.strictEqual(new Set(all).size, all.length, "none is given twice")
        }
        assert.deepStrictEqual(rounds[3], rounds[2], "it settles")
        for (const topic of new Set(first.flatMap(({ topics }) => topics))) {
          const sizes = members
            .filter(({ topics }) => topics.includes(topic))
            .map(({ owned }) => owned[topic]?.length ?? 0)
          assert.strictEqual(
            sizes.reduce((sum, size) => sum + size, 0),
            partitionsOf(topic)
          )
          assert.isAtMost(Math.max(...sizes) - Math.min(...sizes), 1)
        }
      })
  )

  it.effect.prop(
    "gives the same numbers of all topics to the same member where they are to be together, and none to two at a time",
    {
      claims: Schema.Array(
        Schema.Struct({
          a: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 11 }))),
          b: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 15 }))),
          generation: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))
        })
      ).check(Schema.isMinLength(1), Schema.isMaxLength(7))
    },
    ({ claims }) =>
      Effect.sync(() => {
        const first = claims.map(({ a, b, generation }, index) =>
          claim(`m${index}`, { a: [...new Set(a)], b: [...new Set(b)] }, ["a", "b"], generation)
        )
        const { members, rounds } = settle(first, true)
        rounds.forEach((shares, round) => {
          for (const topic of ["a", "b"]) {
            const given = [...shares].flatMap(([memberId, owned]) =>
              (owned[topic] ?? []).map((partition) => ({ memberId, partition }))
            )
            assert.strictEqual(new Set(given.map(({ partition }) => partition)).size, given.length)
            if (round === 0) continue
            for (const { memberId, partition } of given) {
              const before = [...rounds[round - 1]!].find(([, owned]) => owned[topic]?.includes(partition))?.[0]
              assert.strictEqual(before ?? memberId, memberId, "let go of before it moves")
            }
          }
        })
        for (const { owned } of members) {
          assert.deepStrictEqual(owned["a"]?.toSorted(), owned["b"]?.toSorted())
          assert.isAtMost(Math.abs((owned["a"]?.length ?? 0) - 12 / members.length), 1)
        }
        const numbers = members.flatMap(({ owned }) => owned["a"] ?? [])
        assert.lengthOf(new Set(numbers), 12)
      })
  )

  it("leaves members what they have, and moves a partition only after it was let go of", () => {
    const all = Array.from({ length: 12 }, (_, partition) => partition)
    const { rounds } = settle([claim("old", { a: all }, ["a"]), claim("new", {}, ["a"], -1)])
    assert.deepStrictEqual(ownedBy(rounds[0]!, "old"), { a: [0, 1, 2, 3, 4, 5] })
    assert.deepStrictEqual(ownedBy(rounds[0]!, "new"), {})
    assert.deepStrictEqual(ownedBy(rounds[1]!, "new"), { a: [6, 7, 8, 9, 10, 11] })
  })

  it("believes the member that heard of the group last", () => {
    const claims = [claim("stale", { c: [0] }, ["c"], 1), claim("fresh", { c: [0] }, ["c"], 2)]
    assert.deepStrictEqual(ownedBy(share(claims, partitionsOf), "fresh"), { c: [0] })
  })
})

describe("a batch of records", () => {
  const record = (key: string, text: string, headers: Readonly<Record<string, string>>): BusRecord => ({
    topic: Topics.raw,
    key,
    headers,
    value: new TextEncoder().encode(text)
  })
  const identity = { id: 4_711n, epoch: 3 }
  const encode = (records: ReadonlyArray<BusRecord>) =>
    encodeBatch(
      records,
      records.reduce((room, each) => room + roomOf(each, sizeOf(each)), 0),
      identity,
      42,
      1_763_700_000_000
    )

  it("has the checksum that RFC 3720 gives for its examples", () => {
    assert.strictEqual(crc32c(new Uint8Array(32)), 0x8a9136aa)
    assert.strictEqual(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43)
    assert.strictEqual(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index)), 0x46dd794e)
    assert.strictEqual(crc32c(new TextEncoder().encode("x123456789x"), 1, 10), 0xe3069283)
  })

  it.effect.prop(
    "gives its records back, from any offset on, and keeps within the room that was reckoned",
    {
      given: Schema.Array(
        Schema.Struct({ key: Schema.String, text: Schema.String, headers: Schema.Record(Schema.String, Schema.String) })
      ).check(Schema.isMinLength(1))
    },
    ({ given }) =>
      Effect.sync(() => {
        // A lone surrogate has no UTF-8.
        const records = given.map(({ key, text, headers }) =>
          record(
            key.toWellFormed(),
            text,
            Object.fromEntries(
              Object.entries(headers).map(([name, value]) => [name.toWellFormed(), value.toWellFormed()])
            )
          )
        )
        const bytes = encode(records)
        const from = records.length >> 1
        const { next, records: read } = decodeBatches(bytes, Topics.raw, 7, from)
        assert.strictEqual(next, records.length)
        assert.deepStrictEqual(
          read.map(({ key, value, headers, offset }) => ({ key, value, headers, offset })),
          records
            .slice(from)
            .map(({ key, value, headers }, index) => ({ key, value, headers, offset: BigInt(from + index) }))
        )
      })
  )

  it("is read by kafkajs as it was written", async () => {
    const require = createRequire(import.meta.url)
    const Decoder = require("kafkajs/src/protocol/decoder") as new (bytes: Buffer) => unknown
    const decode = require("kafkajs/src/protocol/recordBatch/v0/decoder") as (decoder: unknown) => Promise<{
      readonly producerId: string
      readonly firstSequence: number
      readonly records: ReadonlyArray<{ readonly key: Buffer; readonly value: Buffer; readonly headers: object }>
    }>
    const long = "ü".repeat(100)
    const batch = await decode(new Decoder(encode([record("k", "v", { name: long }), record("", "", {})])))
    assert.strictEqual(batch.producerId, "4711")
    assert.strictEqual(batch.firstSequence, 42)
    assert.deepStrictEqual(
      batch.records.map(({ key, value, headers }) => [String(key), String(value), headers]),
      [
        ["k", "v", { name: Buffer.from(long) }],
        ["", "", {}]
      ]
    )
  })

  it("that was cut off is left for the next reading", () => {
    const bytes = encode([record("a", "x".repeat(100), {})])
    const two = Buffer.concat([bytes, bytes.subarray(0, bytes.length - 1)])
    assert.lengthOf(decodeBatches(two, Topics.raw, 0, 0).records, 1)
    assert.deepStrictEqual(decodeBatches(Buffer.alloc(0), Topics.raw, 0, 5), { records: [], next: 5 })
  })
})

describe("what a group has committed", () => {
  /** Of a coordinator whose answers are these, one after the other; 0: it answers, nothing was committed. */
  const committed = async (codes: ReadonlyArray<number>) => {
    const left = [...codes]
    const answer = () => Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, left.shift() ?? 0])
    const coordinator = {
      connectionPool: {
        send: async ({ response }: WireRequest<object>) => response.parse(await response.decode(answer()))
      }
    }
    const connection: Pick<Connection, "coordinator" | "recover"> = {
      coordinator: async () => coordinator as unknown as Broker,
      recover: async () => undefined
    }
    const outcome = new LogReader(connection as Connection).committed("writer").catch(({ type }: KafkaError) => type)
    return { outcome: await outcome, unasked: left.length }
  }

  it("is waited for longer while its coordinator still reads it than after another answer", async () => {
    const loading = 14
    const unauthorized = 30
    const answers = (code: number) => Array.from({ length: 6 }, () => code)
    const [read, refused] = await Promise.all([committed(answers(loading)), committed(answers(unauthorized))])
    assert.deepStrictEqual(read, { outcome: [], unasked: 0 })
    assert.deepStrictEqual(refused, { outcome: "GROUP_AUTHORIZATION_FAILED", unasked: 2 })
  })
})
