import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { becomes, ownSession, readerOf } from "./externalSupport.ts"
import { agreeing, CONNECT, type Script, scriptedBroker, SUBSCRIBE } from "./ScriptedBroker.ts"
import { a1, closedBridge, Faults, holding, marker, publishPacket, raw, shortTopic, text, until } from "./support.ts"

const readerAt = (port: number, settings: Readonly<Record<string, string>> = {}) =>
  readerOf({ MQTT_URL: `mqtt://u:p@127.0.0.1:${port}`, MQTT_CLIENT_ID: ownSession(), ...settings })
const says =
  (bytes: ReadonlyArray<number>): Script =>
  ({ header }, { socket }) => {
    if (header === CONNECT) socket.write(Buffer.from(bytes))
  }
const versionOf = (connect: { readonly body: Buffer }) => connect.body[6]
/** As MQTT 3.1.1. */
const agreeingOld: Script = ({ body, header }, { socket }) => {
  if (header === CONNECT) socket.write(Buffer.from([0x20, 2, 0, 0]))
  if (header === SUBSCRIBE) socket.write(Buffer.from([0x90, 4, body[0]!, body[1]!, 1, 1]))
}

layer(closedBridge(), { excludeTestServices: true, timeout: 60_000 })("what the bridge says to a broker", (it) => {
  it.effect("resumes a session of seven days, many messages ahead, and subscribes with QoS 1", () =>
    Effect.gen(function* () {
      const broker = yield* scriptedBroker(agreeing)
      yield* becomes(yield* readerAt(broker.port, { MQTT_CLIENT_ID: "me" }), "Reading")
      const [connect, subscribe, unsubscribe] = broker.connections[0]!.packets
      assert.strictEqual(versionOf(connect!), 5)
      assert.strictEqual(connect!.body[7]! & 2, 0, "clean start")
      assert.include(connect!.body.toString("latin1"), "\u0011\u0000\u0009\u003a\u0080", "604,800 s")
      assert.include(connect!.body.toString("latin1"), "\u0021\u0027\u0010", "10,000 messages")
      assert.include(connect!.body.toString(), "me")
      const filters = "\0\u000ev1/telemetry/#\u0011\0\u0013devices/+/telemetry\u0011"
      assert.strictEqual(subscribe!.body.subarray(3).toString(), filters)
      assert.include(unsubscribe!.body.toString(), "$share/bridge-group/v1/telemetry/#")
    })
  )

  it.effect("asks for a share of bridge-group where several bridges read", () =>
    Effect.gen(function* () {
      const broker = yield* scriptedBroker(agreeing)
      yield* becomes(yield* readerAt(broker.port, { MQTT_SHARED: "true" }), "Reading")
      const [, subscribe] = broker.connections[0]!.packets
      assert.include(subscribe!.body.toString(), "$share/bridge-group/v1/telemetry/#")
      assert.include(subscribe!.body.toString(), "$share/bridge-group/devices/+/telemetry")
    })
  )

  it.effect("acknowledges messages one by one as the log takes them, in the order in which they came", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      const mark = marker("acknowledged")
      const broker = yield* scriptedBroker(agreeing)
      yield* becomes(yield* readerAt(broker.port), "Reading")
      const { packets, socket } = broker.connections[0]!
      const acknowledged = () => packets.filter(({ header }) => header === 0x40).map(({ body }) => body.readUInt16BE(0))
      faults.bus = "hangs"
      const message = (packetId: number) =>
        publishPacket(shortTopic(a1), `${mark}${packetId}`, { packetId, version: 5 })
      socket.write(message(7))
      yield* Effect.sleep(50)
      socket.write(Buffer.concat([message(5), message(6)]))
      yield* Effect.sleep(50)
      assert.deepStrictEqual(acknowledged(), [])
      assert.strictEqual(holding(yield* raw, mark).length, 0)
      faults.passes = 1
      yield* until("the first is acknowledged", () => acknowledged().length === 1)
      yield* Effect.sleep(50)
      assert.deepStrictEqual(acknowledged(), [7])
      assert.deepStrictEqual(holding(yield* raw, mark).map(text), [`${mark}7`])
      faults.bus = "none"
      yield* until("all are acknowledged", () => acknowledged().length === 3)
      assert.deepStrictEqual(acknowledged(), [7, 5, 6])
    })
  )

  for (const [what, refusing] of [
    ["with MQTT 5's own reason", says([0x20, 3, 0, 0x84, 0])],
    ["as a broker of MQTT 3.1.1", says([0x20, 2, 0, 1])],
    ["by closing the connection", (({ header }, { socket }) => header === CONNECT && socket.end()) as Script]
  ] as const) {
    it.effect(`speaks MQTT 3.1.1 with a broker that refuses MQTT 5 ${what}`, () =>
      Effect.gen(function* () {
        const mark = marker("older")
        const broker = yield* scriptedBroker((packet, connection) =>
          (connection === broker.connections[0] ? refusing : agreeingOld)(packet, connection)
        )
        yield* becomes(yield* readerAt(broker.port), "Reading")
        const { packets, socket } = broker.connections[1]!
        assert.strictEqual(versionOf(packets[0]!), 4)
        assert.strictEqual(packets[0]!.body[7]! & 2, 0, "clean session")
        socket.write(publishPacket(shortTopic(a1), mark, { packetId: 9 }))
        yield* until("it is acknowledged", () => packets.some(({ header }) => header === 0x40))
        assert.strictEqual(holding(yield* raw, mark).length, 1)
      })
    )
  }

  it.effect("tells a refused subscription from a lost connection, and tries again", () =>
    Effect.gen(function* () {
      const broker = yield* scriptedBroker(({ body, header }, connection) => {
        if (header !== SUBSCRIBE) return agreeing({ body, header }, connection)
        connection.socket.write(Buffer.from([0x90, 5, body[0]!, body[1]!, 0, 1, 0x87]))
      })
      const reader = yield* readerAt(broker.port)
      yield* until("the refused filter is named", () =>
        JSON.stringify(reader.state()).includes("subscribe to devices/+/telemetry")
      )
      yield* until("it is tried again", () => broker.connections.length >= 2)
    })
  )

  it.effect("goes on after a broker that talks nonsense, and after one that gives its session away", () =>
    Effect.gen(function* () {
      const nonsense = [
        Buffer.from(`HTTP/1.1 400 Bad Request\r\n\r\n${"x".repeat(100)}`),
        Buffer.from([0x20, 3, 0, 0, 0, 0x36, 0]),
        Buffer.from([0x20, 3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]),
        Buffer.from([0x20, 3, 0, 0, 0, 0xe0, 1, 0x8e])
      ]
      const broker = yield* scriptedBroker((packet, connection) => {
        const bytes = nonsense[broker.connections.indexOf(connection)]
        if (bytes === undefined) agreeing(packet, connection)
        else if (packet.header === CONNECT) connection.socket.write(bytes)
      })
      const reader = yield* readerAt(broker.port)
      yield* Effect.repeat(Effect.sleep(20), { until: () => reader.state()._tag === "Reading", times: 500 })
      assert.strictEqual(reader.state()._tag, "Reading")
      assert.strictEqual(broker.connections.length, nonsense.length + 1)
    })
  )

  it.effect("says good-bye when it stops, after all that it read is acknowledged", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      const broker = yield* scriptedBroker(agreeing)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* becomes(yield* readerAt(broker.port), "Reading")
          faults.bus = "hangs"
          broker.connections[0]!.socket.write(publishPacket(shortTopic(a1), "late", { packetId: 3, version: 5 }))
          yield* Effect.sleep(50)
          setTimeout(() => (faults.bus = "none"), 200)
        })
      )
      const { packets } = broker.connections[0]!
      yield* until("DISCONNECT arrives", () => packets.at(-1)!.header === 0xe0)
      assert.strictEqual(packets.at(-2)!.header, 0x40)
    })
  )
})
