/**
 * Clients that are let in and then reach for what is not theirs, through both doors. Whatever one does: the answer is the
 * one that the protocol has for it, nobody else gets anything of it, and a neighbour's next message is stored.
 */
import { Ingest } from "@argusiq/bridge/Ingest.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { certifiedBridge, certifiedClient, certify, freshDevice, type Pair, tlsClient } from "./certified.ts"
import {
  b1,
  client,
  deadLetters,
  holding,
  marker,
  packet,
  publish,
  publishPacket,
  raw,
  rawClient,
  shortTopic,
  type TestDevice,
  until,
  varint
} from "./support.ts"

const hex = (bytes: Buffer) => bytes.toString("hex")
const string = (value: string | Buffer) => {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}
/** No UTF-8 in any reading: an overlong slash, a lone continuation, half a surrogate pair. */
const notUtf8 = Buffer.from([0x61, 0xc0, 0xaf, 0x80, 0xed, 0xa0, 0x80])

type Door = "without TLS" | "with TLS and a certificate"
interface Will {
  readonly topic: string | Buffer
  readonly payload: string
}

const connect = (
  device: TestDevice,
  door: Door,
  options: { readonly clientId?: string | Buffer; readonly username?: string | Buffer; readonly will?: Will } = {}
) => {
  const { clientId = device.id, will } = options
  const username = options.username ?? (door === "without TLS" ? device.id : undefined)
  const flags = 0x02 | (username === undefined ? 0 : 0x80) | (door === "without TLS" ? 0x40 : 0)
  return packet(
    0x10,
    string("MQTT"),
    // A will of QoS 1 that is to be retained.
    Buffer.from([4, flags | (will === undefined ? 0 : 0x2c), 0, 60]),
    string(clientId),
    ...(will === undefined ? [] : [string(will.topic), string(will.payload)]),
    ...(username === undefined ? [] : [string(username)]),
    ...(door === "without TLS" ? [string(device.key)] : [])
  )
}
const subscribe = (...filters: ReadonlyArray<readonly [string | Buffer, number]>) =>
  packet(
    0x82,
    Buffer.from([0, 9]),
    ...filters.map(([filter, qos]) => Buffer.concat([string(filter), Buffer.from([qos])]))
  )
const suback = (...codes: ReadonlyArray<number>) => `90${hex(Buffer.from([codes.length + 2, 0, 9, ...codes]))}`
const PUBACK = "40020001"

interface Attack {
  readonly what: string
  /** Sent after CONNACK. */
  readonly send: (self: TestDevice, neighbour: TestDevice, mark: string) => Buffer
  readonly answer: (self: TestDevice) => string
  readonly closes?: boolean
  /** Whether what was sent is found among the dead letters, with this reason. */
  readonly deadLetter?: string
}

const refusedFilter = (what: string, filter: string | Buffer): Attack => ({
  what: `subscribing to ${what}`,
  send: () => subscribe([filter, 1]),
  answer: () => suback(0x80)
})
const refusedTopic = (
  what: string,
  topic: (self: TestDevice, neighbour: TestDevice) => string | Buffer,
  deadLetter: string
): Attack => ({
  what: `publishing, retained, to ${what}`,
  send: (self, neighbour, mark) => {
    const bytes = publishPacket(topic(self, neighbour), mark)
    bytes[0]! |= 1
    return bytes
  },
  answer: () => PUBACK,
  deadLetter
})

const attacks: ReadonlyArray<Attack> = [
  refusedFilter("everything", "#"),
  refusedFilter("all telemetry", "+/+/telemetry"),
  refusedFilter("all telemetry of one form", "devices/+/telemetry"),
  refusedFilter("the broker's own topics", "$SYS/#"),
  refusedFilter("everything, shared", "$share/g/#"),
  refusedFilter("a filter of 65,000 levels", "/".repeat(65_000)),
  refusedFilter("a filter that is no UTF-8", notUtf8),
  {
    what: "subscribing to allowed and forbidden filters in one packet",
    send: (self, neighbour) =>
      subscribe(
        [`devices/${self.id}/commands/#`, 1],
        ["#", 1],
        [`devices/${neighbour.id}/commands/#`, 0],
        [`v1/commands/${self.org}/${self.id}/+`, 0],
        [`$share/g/devices/${self.id}/commands/#`, 1],
        [`devices/${self.id}/commands/restart`, 2]
      ),
    answer: () => suback(1, 0x80, 0x80, 0, 0x80, 2)
  },
  refusedTopic("the broker's own topics", () => "$SYS/broker/uptime", "InvalidTopic"),
  refusedTopic("another device", (_, neighbour) => shortTopic(neighbour), "InvalidTopic"),
  refusedTopic(
    "another device's commands",
    (_, neighbour) => `devices/${neighbour.id}/commands/restart`,
    "InvalidTopic"
  ),
  refusedTopic("another organization's device", () => shortTopic(b1), "TenantMismatch"),
  refusedTopic(
    "its own device under another organization",
    (self) => `v1/telemetry/${b1.org}/${self.id}`,
    "TenantMismatch"
  ),
  refusedTopic("a topic of 65,000 levels", () => "/".repeat(65_000), "InvalidTopic"),
  refusedTopic("a topic that is no UTF-8", () => notUtf8, "InvalidTopic"),
  {
    what: "announcing a message of 256 MB",
    send: () => Buffer.concat([Buffer.from([0x32, 0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(65_536)]),
    answer: () => "",
    closes: true
  }
]

const refusedConnects: ReadonlyArray<{
  readonly what: string
  readonly connect: (self: TestDevice, neighbour: TestDevice, door: Door, mark: string) => Buffer
  readonly answer: Readonly<Record<Door, string>>
}> = [
  {
    what: "announces 256 MB before CONNECT",
    connect: () => Buffer.concat([Buffer.from([0x10, ...varint(268_435_455)]), Buffer.alloc(65_536)]),
    answer: { "without TLS": "", "with TLS and a certificate": "" }
  },
  {
    what: "leaves a will on a neighbour's topic",
    connect: (self, neighbour, door, mark) =>
      connect(self, door, { will: { topic: shortTopic(neighbour), payload: mark } }),
    answer: { "without TLS": "20020005", "with TLS and a certificate": "20020005" }
  },
  {
    what: "leaves a will on another organization's topic",
    connect: (self, _, door, mark) => connect(self, door, { will: { topic: shortTopic(b1), payload: mark } }),
    answer: { "without TLS": "20020005", "with TLS and a certificate": "20020005" }
  },
  {
    what: "leaves a will on the broker's own topics",
    connect: (self, _, door, mark) => connect(self, door, { will: { topic: "$SYS/broker", payload: mark } }),
    answer: { "without TLS": "20020005", "with TLS and a certificate": "20020005" }
  },
  {
    what: "has a client id that is no UTF-8",
    connect: (self, _, door) => connect(self, door, { clientId: notUtf8 }),
    answer: { "without TLS": "20020002", "with TLS and a certificate": "20020002" }
  },
  {
    what: "has a user name that is no UTF-8",
    connect: (self, _, door) => connect(self, door, { username: notUtf8 }),
    answer: { "without TLS": "20020004", "with TLS and a certificate": "20020004" }
  },
  {
    what: "says it is a neighbour",
    connect: (self, neighbour, door) => connect(self, door, { username: neighbour.id, clientId: neighbour.id }),
    answer: { "without TLS": "20020004", "with TLS and a certificate": "20020002" }
  }
]

layer(certifiedBridge(), { excludeTestServices: true, timeout: 60_000 })(
  "clients that reach for what is not theirs",
  (it) => {
    for (const door of ["without TLS", "with TLS and a certificate"] as const) {
      /** Neighbours of the same and of another organization, which listen; one of them sends through the same door. */
      const neighbourhood = Effect.gen(function* () {
        const [self, neighbour] = [yield* freshDevice, yield* freshDevice]
        const pair: Partial<Pair> = door === "without TLS" ? {} : yield* certify(self)
        const near =
          door === "without TLS"
            ? yield* client(neighbour)
            : yield* certifiedClient(neighbour, yield* certify(neighbour))
        const far = yield* client(b1)
        const leaked: Array<string> = []
        for (const [one, device] of [
          [near, neighbour],
          [far, b1]
        ] as const) {
          one.on("message", (topic) => leaked.push(topic))
          yield* Effect.callback<void>(
            (resume) => void one.subscribe(`devices/${device.id}/commands/#`, () => resume(Effect.void))
          )
        }
        const mark = marker("trespass")
        const attacker = door === "without TLS" ? yield* rawClient : yield* tlsClient(pair)
        /** The last word of each test. */
        const isUnhurt = Effect.gen(function* () {
          const after = marker("unhurt")
          yield* publish(near, shortTopic(neighbour), after)
          yield* publish(far, shortTopic(b1), after)
          assert.strictEqual(holding(yield* raw, after).length, 2)
          assert.deepStrictEqual(leaked, [])
          assert.isTrue(near.connected && far.connected)
          assert.strictEqual((yield* Ingest).budget.inFlight, 0)
        })
        return { self, neighbour, attacker, mark, isUnhurt }
      })

      for (const { answer, closes = false, deadLetter, send, what } of attacks) {
        it.effect(`${door}: ${what}`, () =>
          Effect.gen(function* () {
            const { attacker, isUnhurt, mark, neighbour, self } = yield* neighbourhood
            attacker.write(connect(self, door))
            yield* until("CONNACK", () => hex(attacker.received) === "20020000")
            attacker.received = Buffer.alloc(0)
            attacker.write(send(self, neighbour, mark))
            const expected = answer(self)
            yield* until(
              "the answer",
              () => attacker.received.length * 2 >= expected.length && attacker.closed === closes
            )
            assert.strictEqual(hex(attacker.received), expected)
            if (!closes) {
              // It may go on.
              attacker.received = Buffer.alloc(0)
              attacker.write(Buffer.from([0xc0, 0]))
              yield* until("PINGRESP", () => hex(attacker.received) === "d000")
            }
            assert.deepStrictEqual(holding(yield* raw, mark), [])
            const found = holding(yield* deadLetters, mark).map((record) => [record.key, record.headers["dlq-reason"]])
            assert.deepStrictEqual(found, deadLetter === undefined ? [] : [[self.id, deadLetter]])
            yield* isUnhurt
          })
        )
      }

      for (const { answer, connect, what } of refusedConnects) {
        it.effect(`${door}: a client that ${what} is not let in, and leaves nothing behind`, () =>
          Effect.gen(function* () {
            const { attacker, isUnhurt, mark, neighbour, self } = yield* neighbourhood
            attacker.write(connect(self, neighbour, door, mark))
            yield* until("the end", () => attacker.closed)
            assert.strictEqual(hex(attacker.received), answer[door])
            assert.deepStrictEqual([...holding(yield* raw, mark), ...holding(yield* deadLetters, mark)], [])
            yield* isUnhurt
          })
        )
      }
    }
  }
)
