import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { hash } from "node:crypto"
import { Ingest } from "@argusiq/bridge/Ingest.ts"
import * as Support from "./support.ts"
import {
  a1,
  a2,
  client,
  connectPacket,
  deadLetters,
  holding,
  marker,
  packet,
  publish,
  publishPacket,
  raw,
  rawClient,
  shortTopic,
  text,
  until,
  varint
} from "./support.ts"

const MEBIBYTE = 1_048_576
const connack4 = "20020000"
const hex = (bytes: Buffer) => bytes.toString("hex")

layer(Support.bridge(), { excludeTestServices: true, timeout: 60_000 })("hostile and broken MQTT clients", (it) => {
  const connected = Effect.fnUntraced(function* (options: Parameters<typeof connectPacket>[1] = {}) {
    const one = yield* rawClient
    one.write(connectPacket(a1, options))
    yield* until("CONNACK", () => one.received.length >= 4)
    one.received = Buffer.alloc(0)
    return one
  })

  it.effect("accepts a payload of 8 MiB, sent in pieces, byte for byte", () =>
    Effect.gen(function* () {
      const device = yield* client(a1)
      const payload = Buffer.alloc(8 * MEBIBYTE, marker("largest"))
      yield* publish(device, shortTopic(a1), payload)
      const [record] = (yield* raw).filter((one) => one.value.length === payload.length)
      assert.strictEqual(Buffer.compare(record!.value, payload), 0)
    })
  )

  for (const qos of [1, 2] as const) {
    it.effect(
      `acknowledges and dead-letters a payload over 8 MiB with QoS ${qos}, keeping its beginning and its digest`,
      () =>
        Effect.gen(function* () {
          const device = yield* client(a1, { protocolVersion: 5, clientId: `large-${qos}` })
          const payload = Buffer.alloc(8 * MEBIBYTE + 1, marker("too-large"))
          yield* publish(device, shortTopic(a1), payload, { qos })
          const digest = hash("sha256", payload, "hex")
          const [record] = (yield* deadLetters).filter((one) => one.headers["payload-sha256"] === digest)
          assert.strictEqual(record!.headers["dlq-reason"], "PayloadTooLarge")
          assert.strictEqual(record!.headers["payload-bytes"], String(payload.length))
          assert.strictEqual(Buffer.compare(record!.value, payload.subarray(0, 65_536)), 0)
        })
    )
  }

  for (const version of [4, 5] as const) {
    it.effect(
      `cuts an MQTT ${version} client that announces a packet over 9 MiB before it has sent it, unacknowledged`,
      () =>
        Effect.gen(function* () {
          const { budget } = yield* Ingest
          const one = yield* connected({ version, clientId: "enormous" })
          one.received = Buffer.alloc(0)
          one.write(Buffer.from([0x32, ...varint(9 * MEBIBYTE + 1)]))
          yield* until("the connection is closed", () => one.closed)
          assert.strictEqual(hex(one.received), version === 5 ? "e0029500" : "")
          assert.strictEqual(budget.inFlight, 0)
        })
    )
  }

  const broken: ReadonlyArray<readonly [string, ReadonlyArray<Buffer>]> = [
    ["bytes that are no MQTT", [Buffer.from("GET / HTTP/1.1\r\n\r\n")]],
    ["a publish before CONNECT", [publishPacket(shortTopic(a1), "early")]],
    ["a large packet before CONNECT", [Buffer.from([0x10, ...varint(100_000)])]],
    ["a length of five bytes", [Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff, 0x7f])]],
    ["a CONNECT of protocol version 6", [packet(0x10, Buffer.from([0, 4, 77, 81, 84, 84, 6, 2, 0, 0, 0, 0]))]],
    ["a second CONNECT", [connectPacket(a1), connectPacket(a1)]],
    ["a publish with QoS 3", [connectPacket(a1), publishPacket(shortTopic(a1), "x", { qos: 3 })]],
    ["a publish with packet id 0", [connectPacket(a1), publishPacket(shortTopic(a1), "x", { packetId: 0 })]],
    ["a topic longer than its packet", [connectPacket(a1), packet(0x32, Buffer.from([255, 255, 1]))]],
    ["a SUBSCRIBE without filters", [connectPacket(a1), packet(0x82, Buffer.from([0, 1]))]],
    ["a SUBSCRIBE broken off", [connectPacket(a1), packet(0x82, Buffer.from([0, 1, 0, 9, 65]))]],
    [
      "an MQTT 5 topic alias that was not offered",
      [connectPacket(a1, { version: 5 }), packet(0x32, Buffer.from([0, 1, 65, 0, 1, 3, 0x23, 0, 1]))]
    ],
    [
      "MQTT 5 properties longer than their packet",
      [connectPacket(a1, { version: 5 }), packet(0x32, Buffer.from([0, 1, 65, 0, 1, 0xff, 0x7f]))]
    ],
    [
      "an MQTT 5 SUBSCRIBE with properties broken off",
      [connectPacket(a1, { version: 5 }), packet(0x82, Buffer.from([0, 1, 0x7f, 0x26]))]
    ]
  ]
  for (const [what, packets] of broken) {
    it.effect(`closes the connection, and no other, on ${what}`, () =>
      Effect.gen(function* () {
        const neighbour = yield* client(a2, { clientId: "neighbour" })
        const one = yield* rawClient
        one.write(...packets)
        yield* until("the connection is closed", () => one.closed)
        yield* publish(neighbour, shortTopic(a2), marker("unhurt"))
      })
    )
  }

  it.effect("stores what was pipelined behind CONNECT, and acknowledges in the order sent, refused ones included", () =>
    Effect.gen(function* () {
      const one = yield* rawClient
      const mark = marker("pipelined")
      one.write(
        Buffer.concat([
          connectPacket(a1, { clientId: "pipelining" }),
          publishPacket(shortTopic(a1), `${mark}1`, { packetId: 7 }),
          publishPacket("devices/nobody/telemetry", `${mark}2`, { packetId: 5 }),
          publishPacket(`devices/${Support.absentDevice}/telemetry`, `${mark}3`, { packetId: 9 }),
          publishPacket(shortTopic(a1), `${mark}4`, { packetId: 6, qos: 2 }),
          publishPacket(shortTopic(a1), `${mark}5`, { packetId: 8 })
        ])
      )
      yield* until("all acknowledgements", () => one.received.length >= 24)
      assert.strictEqual(hex(one.received), `${connack4}400200074002000540020009500200064002000${8}`)
      assert.deepStrictEqual(holding(yield* raw, mark).map(text), [`${mark}1`, `${mark}4`, `${mark}5`])
      assert.deepStrictEqual(
        holding(yield* deadLetters, mark)
          .map((record) => record.headers["dlq-reason"])
          .toSorted(),
        ["InvalidTopic", "UnknownDevice"]
      )
    })
  )

  it.effect("understands packets that arrive byte by byte", () =>
    Effect.gen(function* () {
      const one = yield* connected({ clientId: "drip" })
      const mark = marker("drip")
      for (const byte of publishPacket(shortTopic(a1), mark, { packetId: 300 })) {
        one.write(Buffer.from([byte]))
        yield* Effect.sleep(0)
      }
      yield* until("PUBACK", () => hex(one.received) === "4002012c")
      assert.strictEqual(holding(yield* raw, mark).length, 1)
    })
  )

  it.effect("dead-letters a topic that is not UTF-8 and one of 65,000 levels", () =>
    Effect.gen(function* () {
      const one = yield* connected({ clientId: "topics" })
      const mark = marker("topics")
      one.write(
        publishPacket(Buffer.from([0x76, 0x31, 0xff, 0xfe]), `${mark}1`, { packetId: 1 }),
        publishPacket("/".repeat(65_000), `${mark}2`, { packetId: 2 })
      )
      yield* until("both acknowledged", () => hex(one.received) === "4002000140020002")
      const found = holding(yield* deadLetters, mark)
      assert.deepStrictEqual(
        found.map((record) => record.headers["dlq-reason"]),
        ["InvalidTopic", "InvalidTopic"]
      )
      assert.isAtMost(Math.max(...found.map((record) => record.headers["mqtt-topic"]!.length)), 1_024)
    })
  )

  it.effect("stores a QoS 2 message once however often its PUBLISH comes, also after a reconnect, until PUBREL", () =>
    Effect.gen(function* () {
      const mark = marker("once")
      const first = yield* connected({ clientId: "exactly-once", clean: false })
      const send = publishPacket(shortTopic(a1), mark, { qos: 2, packetId: 3 })
      const again = publishPacket(shortTopic(a1), mark, { qos: 2, packetId: 3, dup: true })
      first.write(send, again)
      yield* until("two PUBRECs", () => hex(first.received) === "5002000350020003")
      first.socket.destroy()
      const second = yield* rawClient
      second.write(connectPacket(a1, { clientId: "exactly-once", clean: false }))
      yield* until("CONNACK with the session", () => hex(second.received) === "20020100")
      second.write(again)
      yield* until("PUBREC", () => hex(second.received).endsWith("50020003"))
      second.write(packet(0x62, Buffer.from([0, 3])))
      yield* until("PUBCOMP", () => hex(second.received).endsWith("70020003"))
      assert.strictEqual(holding(yield* raw, mark).length, 1)
      second.write(publishPacket(shortTopic(a1), mark, { qos: 2, packetId: 3 }))
      yield* until("PUBREC of another message", () => hex(second.received).endsWith("50020003"))
      assert.strictEqual(holding(yield* raw, mark).length, 2)
    })
  )

  it.effect("starts a clean session without what an earlier one had received", () =>
    Effect.gen(function* () {
      const first = yield* connected({ clientId: "clean", clean: false })
      first.write(publishPacket(shortTopic(a1), "x", { qos: 2, packetId: 3 }))
      yield* until("PUBREC", () => first.received.length === 4)
      first.socket.destroy()
      const second = yield* rawClient
      second.write(connectPacket(a1, { clientId: "clean" }))
      yield* until("CONNACK without a session", () => hex(second.received) === connack4)
    })
  )

  it.effect("answers PINGREQ and closes a client that stays silent for one and a half keep-alives", () =>
    Effect.gen(function* () {
      const one = yield* connected({ clientId: "silent", keepAlive: 1 })
      one.write(Buffer.from([0xc0, 0]))
      yield* until("PINGRESP", () => hex(one.received) === "d000")
      assert.isFalse(one.closed)
      yield* until("the connection is closed", () => one.closed)
    })
  )
})

layer(Support.bridge({ MQTT_MAX_CONNECTIONS: "3", MQTT_CONNECT_TIMEOUT: "1 second" }), {
  excludeTestServices: true,
  timeout: 60_000
})("connection limits", (it) => {
  it.effect("refuses connections beyond MQTT_MAX_CONNECTIONS and takes others once there is room", () =>
    Effect.gen(function* () {
      const open = yield* Effect.forEach([1, 2, 3], (n) => client(a1, { clientId: `limit-${n}` }))
      const extra = yield* rawClient
      yield* until("the fourth is closed", () => extra.closed)
      open[0]!.end(true)
      yield* Effect.sleep(50)
      yield* client(a1, { clientId: "limit-4" })
    })
  )

  it.effect("closes who has not sent CONNECT in time, even with half of it sent", () =>
    Effect.gen(function* () {
      const silent = yield* rawClient
      const slow = yield* rawClient
      slow.write(connectPacket(a1).subarray(0, 20))
      yield* Effect.sleep(500)
      assert.isFalse(silent.closed || slow.closed)
      yield* until("both are closed", () => silent.closed && slow.closed)
    })
  )
})
