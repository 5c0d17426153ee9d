import {
  type Chunk,
  type ChunkGroup,
  chunkLimits,
  claimed,
  claimOf,
  collectChunk,
  type Collected,
  digestOf,
  emitted,
  findExpired,
  isUnemitted,
  missingOf,
  wholeMessageId
} from "@argusiq/domain/chunks.ts"
import { reassemble } from "@argusiq/domain/reassemble.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { bytes, compiled, deviceId, deviceTypeId, receivedAt } from "./compiled.ts"

const typeOf = (chunkingConfig: object = {}) =>
  compiled({
    processingMode: "gateway_chunked",
    chunkingConfig,
    demuxStrategy: {
      childDevicesPath: "$.data.devices",
      childDeviceIdPath: "$.beaconId",
      autoCreateChildren: true,
      childDeviceTypeId: deviceTypeId
    }
  }).chunking!
const chunking = typeOf()
const SECOND = 1_000_000

interface Sent {
  readonly correlationId: string
  readonly seq: number
  readonly total: number
  readonly data: unknown
}

const chunkOf = (sent: Sent, at = receivedAt, origin?: string): Chunk => {
  const payload = bytes(sent)
  const head = Result.getOrThrow(chunking.readHead(sent))
  return {
    ...head,
    digest: digestOf(payload),
    bytes: payload.byteLength,
    receivedAt: at,
    ...(origin !== undefined && { origin })
  }
}

/** One gateway's chunker: the latest group of each correlation id, claims and wholes as its owner makes them. */
class Gateway {
  readonly groups = new Map<string, ChunkGroup>()
  readonly payloads = new Map<string, Map<number, Uint8Array>>()
  readonly wholes: Array<{ readonly id: string; readonly text: string }> = []

  take(sent: Sent, at = receivedAt, origin?: string): Collected {
    const { correlationId } = sent
    const openGroups = [...this.groups.values()].filter(({ state }) => state === "open").length
    const where = {
      gatewayId: deviceId,
      latest: this.groups.get(correlationId),
      openGroups,
      partitionTime: at,
      timeoutSeconds: 60
    }
    const collected = collectChunk(where, chunkOf(sent, at, origin))
    if (collected._tag !== "Collected") return collected
    if (collected.opened) this.payloads.set(correlationId, new Map())
    this.payloads.get(correlationId)!.set(sent.seq, bytes(sent))
    this.groups.set(correlationId, collected.group)
    if (collected.whole) this.finish(collected.group, at)
    return collected
  }

  finish(group: ChunkGroup, at: number): void {
    assert.strictEqual(claimOf(group, at), "complete")
    const parts = this.payloads.get(group.correlationId)!
    const whole = reassemble(
      chunking,
      Array.from({ length: group.total }, (_, index) => parts.get(index + 1)!)
    )
    const id = wholeMessageId(deviceId, group.correlationId, group.generation)
    this.wholes.push({ id, text: new TextDecoder().decode(Result.getOrThrow(whole)) })
    this.groups.set(group.correlationId, emitted(claimed(group, "complete"), at))
  }
}

const parts = (correlationId: string, total: number): ReadonlyArray<Sent> =>
  Array.from({ length: total }, (_, index) => ({
    correlationId,
    seq: index + 1,
    total,
    timestamp: 1_767_225_600,
    data: {
      devices: [{ beaconId: `${correlationId}-${index}a` }, { beaconId: `${correlationId}-${index}b` }],
      sent: index
    }
  }))

/** A permutation drawn from numbers: each picks one of what is left. */
const shuffled = <A>(items: ReadonlyArray<A>, picks: ReadonlyArray<number>): ReadonlyArray<A> => {
  const left = [...items]
  return items.map((_, index) => left.splice(Math.floor((picks[index % picks.length] ?? 0) * left.length), 1)[0]!)
}

const Pick = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.999 }))

describe("chunks of several messages", () => {
  it.prop(
    "in any order, interleaved and repeated give each whole once, the same bytes under the same id",
    {
      totals: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))).check(
        Schema.isMinLength(1),
        Schema.isMaxLength(4)
      ),
      picks: Schema.Array(Pick).check(Schema.isMinLength(1), Schema.isMaxLength(30)),
      repeats: Schema.Array(Pick).check(Schema.isMaxLength(10))
    },
    ({ picks, repeats, totals }) => {
      const sent = totals.flatMap((total, index) => parts(`m${index}`, total))
      const repeated = repeats.map((pick) => sent[Math.floor(pick * sent.length)]!)
      const straight = new Gateway()
      for (const one of sent) straight.take(one)
      const mixed = new Gateway()
      for (const one of shuffled([...sent, ...repeated], picks)) mixed.take(one)
      const byId = (gateway: Gateway) => gateway.wholes.toSorted((left, right) => (left.id < right.id ? -1 : 1))
      assert.strictEqual(straight.wholes.length, totals.length)
      assert.deepStrictEqual(byId(mixed), byId(straight))
      for (const [index, total] of totals.entries()) {
        const { data } = JSON.parse(straight.wholes[index]!.text)
        const expected = parts(`m${index}`, total).flatMap(
          (one) => (one.data as { devices: ReadonlyArray<unknown> }).devices
        )
        assert.deepStrictEqual(data.devices, expected)
      }
    },
    { arbitrary: { runs: 200 } }
  )

  it("67 of 2,000 beacons make one message in their order", () => {
    const gateway = new Gateway()
    const sent = Array.from({ length: 67 }, (_, index): Sent => ({
      correlationId: "msg-12345",
      seq: index + 1,
      total: 67,
      data: { devices: Array.from({ length: index < 66 ? 30 : 20 }, (_, at) => ({ beaconId: `b${index * 30 + at}` })) }
    }))
    for (const one of sent.toReversed()) gateway.take(one)
    const { data } = JSON.parse(gateway.wholes[0]!.text)
    assert.strictEqual(data.devices.length, 2_000)
    assert.deepStrictEqual(data.devices[1_999], { beaconId: "b1999" })
  })
})

describe("collecting a chunk", () => {
  const [one, two, three] = parts("c", 3) as [Sent, Sent, Sent]
  const reasonOf = (collected: Collected) => (collected._tag === "Refused" ? collected.error.reason : collected._tag)

  it("refuses another total, and other data under the same number, and keeps the group", () => {
    const gateway = new Gateway()
    gateway.take(one)
    assert.strictEqual(reasonOf(gateway.take({ ...two, total: 4 })), "ChunkContradiction")
    assert.strictEqual(reasonOf(gateway.take({ ...one, data: {} })), "ChunkContradiction")
    gateway.take(two)
    gateway.take(three)
    assert.strictEqual(gateway.wholes.length, 1)
  })

  it("takes a late chunk of a finished group as a redelivery, with other data as the next generation", () => {
    const gateway = new Gateway()
    for (const sent of [one, two, three]) gateway.take(sent)
    for (const sent of [one, two, three]) assert.strictEqual(reasonOf(gateway.take(sent)), "Redelivered")
    const again = gateway.take({ ...one, data: { devices: [] } })
    assert.isTrue(again._tag === "Collected" && again.opened && again.group.generation === 2)
    assert.notStrictEqual(wholeMessageId(deviceId, "c", 1), wholeMessageId(deviceId, "c", 2))
  })

  it("begins the next generation in a retry or replay, whose own repetitions are redeliveries", () => {
    const gateway = new Gateway()
    for (const sent of [one, two, three]) gateway.take(sent)
    for (const sent of [one, two, three, one]) gateway.take(sent, receivedAt, "job")
    assert.strictEqual(gateway.groups.get("c")?.generation, 2)
    assert.strictEqual(gateway.groups.get("c")?.state, "complete")
    assert.strictEqual(gateway.wholes[0]?.text, gateway.wholes[1]?.text)
    assert.strictEqual(reasonOf(gateway.take(one)), "Redelivered")
  })

  it("gives a retry of old chunks its full time", () => {
    const partitionTime = receivedAt + 3_600 * SECOND
    const where = { gatewayId: deviceId, latest: undefined, openGroups: 0, partitionTime, timeoutSeconds: 60 }
    const retried = collectChunk(where, chunkOf(one, receivedAt, "retry"))
    const live = collectChunk(where, chunkOf(one, receivedAt))
    assert.isTrue(retried._tag === "Collected" && claimOf(retried.group, partitionTime + 59 * SECOND) === undefined)
    assert.isTrue(live._tag === "Collected" && claimOf(live.group, partitionTime) === "failed")
  })

  it("is bounded in the group's bytes, the total and the gateway's open groups", () => {
    const where = {
      gatewayId: deviceId,
      latest: undefined,
      openGroups: 0,
      partitionTime: receivedAt,
      timeoutSeconds: 60
    }
    const huge = collectChunk(where, { ...chunkOf(one), bytes: chunkLimits.bytes + 1 })
    assert.strictEqual(reasonOf(huge), "PayloadTooLarge")
    const many = collectChunk({ ...where, openGroups: chunkLimits.openGroups }, chunkOf(one))
    assert.strictEqual(reasonOf(many), "ChunkLimitReached")
    const heads = [
      { total: 1_001, seq: 1 },
      { total: 3, seq: 4 },
      { total: 3, seq: 0 },
      { total: 0, seq: 1 },
      { total: 3, seq: 1.5 },
      { total: "x", seq: 1 }
    ]
    for (const head of heads) assert.isTrue(Result.isFailure(chunking.readHead({ correlationId: "c", ...head })))
    for (const correlationId of [null, {}, "", "x".repeat(256), "a\u0000"]) {
      assert.isTrue(Result.isFailure(chunking.readHead({ correlationId, seq: 1, total: 1 })))
    }
  })

  it("expires an open group by partition time with the missing numbers, once and for all", () => {
    const gateway = new Gateway()
    gateway.take(two)
    const open = [...gateway.groups.values()]
    assert.deepStrictEqual(findExpired(open, receivedAt + 59 * SECOND), [])
    const [expired] = findExpired(open, receivedAt + 60 * SECOND)
    assert.deepStrictEqual(expired?.missing, [1, 3])
    assert.strictEqual(expired?.error.reason, "ChunkTimeout")
    assert.isTrue(isUnemitted(expired!.group))
    assert.strictEqual(claimed(expired!.group, "complete").state, "failed")
    assert.isFalse(isUnemitted(emitted(expired!.group, receivedAt)))
    assert.strictEqual(emitted(emitted(expired!.group, 5), 9).emittedAt, 5)
    assert.deepStrictEqual(findExpired([expired!.group], receivedAt + 600 * SECOND), [])
    assert.deepStrictEqual(missingOf(expired!.group), [1, 3])
  })
})

describe("reassembling", () => {
  const whole = (config: object, data: ReadonlyArray<unknown>) =>
    Result.map(
      reassemble(
        typeOf(config),
        data.map((part, index) =>
          bytes({ correlationId: "c", seq: index + 1, total: data.length, timestamp: 7, data: part })
        )
      ),
      (payload) => JSON.parse(new TextDecoder().decode(payload))
    )

  it("merges objects, concatenates arrays and texts, and keeps the first chunk's envelope", () => {
    const objects = Result.getOrThrow(
      whole({}, [
        { a: { x: 1 }, list: [1], s: 1 },
        { a: { y: 2 }, list: [2], s: 2 }
      ])
    )
    assert.deepStrictEqual(objects, {
      correlationId: "c",
      seq: 1,
      total: 2,
      timestamp: 7,
      data: { a: { x: 1, y: 2 }, list: [1, 2], s: 2 }
    })
    assert.deepStrictEqual(Result.getOrThrow(whole({ merge: "arrays" }, [[1, [2]], [3]])).data, [1, [2], 3])
    assert.deepStrictEqual(Result.getOrThrow(whole({ merge: "text" }, ['{"devices":[1,', "2]}"])).data, {
      devices: [1, 2]
    })
  })

  it("refuses data of other kinds, and text that together is no JSON", () => {
    const reason = (config: object, data: ReadonlyArray<unknown>) =>
      Result.getOrThrow(Result.flip(whole(config, data))).reason
    assert.strictEqual(reason({}, [{}, []]), "ChunkContradiction")
    assert.strictEqual(reason({}, [{ a: 1 }, { a: [] }]), "ChunkContradiction")
    assert.strictEqual(reason({ merge: "arrays" }, [[], null]), "ChunkContradiction")
    assert.strictEqual(reason({ merge: "text" }, ["{", "]"]), "Undecodable")
  })

  it("reaches no prototype", () => {
    Result.getOrThrow(whole({}, [{}, JSON.parse('{"__proto__":{"polluted":1}}')]))
    assert.isUndefined(Reflect.get({}, "polluted"))
  })
})
