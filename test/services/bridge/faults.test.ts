import { Ingest } from "@argusiq/bridge/Ingest.ts"
import { listen } from "@argusiq/bridge/mqtt/MqttListener.ts"
import { allSafeguards, Safeguards } from "@argusiq/layers/Safeguards.ts"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as Support from "./support.ts"
import {
  a1,
  a2,
  client,
  connectPacket,
  deadLetters,
  Faults,
  holding,
  marker,
  Mqtt,
  publish,
  publishPacket,
  raw,
  RawClient,
  rawClient,
  shortTopic,
  text,
  until
} from "./support.ts"

const hex = (bytes: Buffer) => bytes.toString("hex")
const open = Effect.fnUntraced(function* (clientId: string, device = a1) {
  const one = yield* rawClient
  one.write(connectPacket(device, { clientId }))
  yield* until("CONNACK", () => one.received.length === 4)
  one.received = Buffer.alloc(0)
  return one
})

layer(Support.bridge(), { excludeTestServices: true, timeout: 60_000 })("a log that is away", (it) => {
  for (const fault of ["unavailable", "hangs"] as const) {
    it.effect(`that ${fault}: a publish is acknowledged once, after the log has it`, () =>
      Effect.gen(function* () {
        const faults = yield* Faults
        const mark = marker(fault)
        const one = yield* open(`away-${fault}`)
        faults.bus = fault
        one.write(
          publishPacket(shortTopic(a1), `${mark}0`, { qos: 0 }),
          publishPacket(shortTopic(a1), `${mark}1`, { packetId: 1 }),
          publishPacket(shortTopic(a1), `${mark}2`, { packetId: 2, qos: 2 })
        )
        yield* Effect.sleep(300)
        assert.strictEqual(hex(one.received), "")
        assert.strictEqual(holding(yield* raw, mark).length, 0)
        faults.bus = "none"
        yield* until("both acknowledgements", () => hex(one.received) === "4002000150020002")
        assert.deepStrictEqual(holding(yield* raw, mark).map(text), [`${mark}0`, `${mark}1`, `${mark}2`])
        yield* Effect.sleep(50)
        assert.strictEqual(hex(one.received), "4002000150020002")
      })
    )
  }

  it.effect("acknowledges of two messages the one that is durable, and not the one behind it", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      const one = yield* open("two")
      faults.bus = "hangs"
      one.write(publishPacket(shortTopic(a1), "first", { packetId: 1 }))
      yield* Effect.sleep(50)
      one.write(publishPacket(shortTopic(a1), "second", { packetId: 2 }))
      yield* Effect.sleep(50)
      faults.passes = 1
      yield* until("the first is acknowledged", () => hex(one.received) === "40020001")
      yield* Effect.sleep(100)
      assert.strictEqual(hex(one.received), "40020001")
      faults.bus = "none"
      yield* until("the second is acknowledged", () => hex(one.received) === "4002000140020002")
    })
  )

  it.effect("stores what a client sent before its connection broke off", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      const mark = marker("broken-off")
      const one = yield* open("broken-off")
      faults.bus = "hangs"
      one.write(publishPacket(shortTopic(a1), mark))
      yield* Effect.sleep(50)
      one.socket.destroy()
      yield* Effect.sleep(50)
      faults.bus = "none"
      let found = yield* raw
      while (holding(found, mark).length === 0) found = yield* Effect.delay(raw, 10)
      assert.strictEqual(holding(found, mark).length, 1)
    })
  )

  it.effect("stops reading from a connection with 1,000 unflushed messages while others are still read", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      const { budget } = yield* Ingest
      faults.bus = "unavailable"
      const flood = yield* open("flood")
      const packets = Buffer.concat(
        Array.from({ length: 5_000 }, (_, index) => publishPacket(shortTopic(a1), "x", { packetId: index + 1 }))
      )
      flood.write(packets)
      yield* Effect.sleep(200)
      const held = budget.inFlight
      assert.isAtMost(held, 1_000 * 600)
      const other = yield* open("other", a2)
      other.write(publishPacket(shortTopic(a2), "y"))
      yield* until("the other's message came in", () => budget.inFlight > held)
      faults.bus = "none"
      yield* until("all are acknowledged", () => flood.received.length === 5_000 * 4 && other.received.length === 4)
    })
  )
})

layer(Support.bridge(), { excludeTestServices: true, timeout: 60_000 })("a database that is away", (it) => {
  it.effect(
    "goes on with devices in memory and keeps waiting, in order, what it cannot check; dead-letters nothing falsely",
    () =>
      Effect.gen(function* () {
        const faults = yield* Faults
        const mark = marker("db")
        const one = yield* open("waiting")
        const neighbour = yield* open("known", a2)
        faults.database = "away"
        one.write(
          publishPacket(shortTopic(a1), `${mark}1`, { packetId: 1 }),
          publishPacket(Support.longTopic(a1, a1.externalId), `${mark}2`, { packetId: 2 }),
          publishPacket(shortTopic(a1), `${mark}3`, { packetId: 3 }),
          publishPacket(`devices/${Support.devicesA[20]!.id}/telemetry`, `${mark}4`, { packetId: 4 }),
          publishPacket(Support.longTopic(a1, a1.externalId), `${mark}5`, { packetId: 5 })
        )
        neighbour.write(publishPacket(shortTopic(a2), mark))
        yield* until(
          "what is known is acknowledged",
          () => hex(one.received) === "40020001" && hex(neighbour.received) === "40020001"
        )
        yield* Effect.sleep(500)
        assert.deepStrictEqual(holding(yield* deadLetters, mark), [])
        faults.database = "none"
        yield* until("all are acknowledged", () => hex(one.received) === "4002000140020002400200034002000440020005")
        assert.deepStrictEqual(
          holding(yield* raw, mark)
            .filter((record) => record.key === a1.id)
            .map((record) => text(record).at(-1)),
          ["1", "2", "3", "5"]
        )
        assert.deepStrictEqual(
          holding(yield* deadLetters, mark).map((record) => record.headers["dlq-reason"]),
          ["InvalidTopic"]
        )
      })
  )

  for (const protocolVersion of [4, 5] as const) {
    it.effect(`answers a CONNECT of MQTT ${protocolVersion} that cannot be checked with server unavailable`, () =>
      Effect.gen(function* () {
        const faults = yield* Faults
        faults.database = "away"
        const refused = yield* Effect.flip(client(Support.devicesA[7 + protocolVersion]!, { protocolVersion }))
        faults.database = "none"
        assert.strictEqual((refused as { code?: number }).code, protocolVersion === 5 ? 0x88 : 3)
        yield* client(Support.devicesA[7 + protocolVersion]!, { protocolVersion })
      })
    )
  }
})

layer(Support.bridge({ INGEST_MAX_BYTES_IN_FLIGHT: "2000000" }), { excludeTestServices: true, timeout: 60_000 })(
  "a spent budget of bytes",
  (it) => {
    it.effect("pauses all connections, keeps memory bounded, and loses nothing once the log is back", () =>
      Effect.gen(function* () {
        const faults = yield* Faults
        const { budget } = yield* Ingest
        const mark = marker("budget")
        const payload = mark.padEnd(10_000, ".")
        const count = 100
        const clients = yield* Effect.forEach(Support.devicesA.slice(0, 10), (device) => open("budget", device))
        faults.bus = "unavailable"
        const rssBefore = process.memoryUsage().arrayBuffers
        clients.forEach((one, index) => {
          for (let id = 1; id <= count; id++) {
            one.write(publishPacket(shortTopic(Support.devicesA[index]!), payload, { packetId: id }))
          }
        })
        yield* until("the budget is spent", () => budget.exhausted)
        yield* Effect.sleep(300)
        // Each socket had been read once at most when the budget was spent.
        assert.isAtMost(budget.inFlight, 2_000_000 + 10 * 65_536 + 100_000)
        assert.isAtMost(process.memoryUsage().arrayBuffers - rssBefore, 40_000_000)
        faults.bus = "none"
        yield* until("all are acknowledged", () => clients.every((one) => one.received.length === count * 4))
        assert.strictEqual(holding(yield* raw, mark).length, 10 * count)
        assert.strictEqual(budget.inFlight, 0)
      })
    )

    it.effect("lets large packets in one after the other, and small ones pass those that are slow", () =>
      Effect.gen(function* () {
        const { budget } = yield* Ingest
        const large = Buffer.alloc(900_000, marker("large"))
        const slow = yield* Effect.forEach(Support.devicesA.slice(0, 4), (device) => open("slow", device))
        const packets = slow.map((_, index) => publishPacket(shortTopic(Support.devicesA[index]!), large))
        slow.forEach((one, index) => one.write(packets[index]!.subarray(0, 100_000)))
        yield* Effect.sleep(100)
        const small = yield* open("small", Support.devicesA[6]!)
        small.write(publishPacket(shortTopic(Support.devicesA[6]!), "small"))
        yield* until("the small one is acknowledged", () => small.received.length === 4)
        slow[1]!.socket.destroy()
        slow.forEach((one, index) => index !== 1 && one.write(packets[index]!.subarray(100_000)))
        yield* until("the large ones are acknowledged", () =>
          slow.every((one, index) => index === 1 || one.received.length === 4)
        )
        assert.strictEqual(budget.inFlight, 0)
      })
    )
  }
)

layer(Support.bridge(), { excludeTestServices: true, timeout: 60_000 })("stopping", (it) => {
  it.effect("reads no more, acknowledges what came in, and closes", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      const mark = marker("drain")
      const scope = yield* Scope.make()
      const { port } = yield* listen.pipe(
        Scope.provide(scope),
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ MQTT_PORT: "0", MQTTS_PORT: "off" })))
      )
      const one = new RawClient(port)
      one.write(connectPacket(a1, { version: 5, clientId: "drained" }))
      yield* until("CONNACK", () => one.received.length > 4)
      one.received = Buffer.alloc(0)
      faults.bus = "hangs"
      one.write(publishPacket(shortTopic(a1), `${mark}1`, { version: 5 }))
      yield* Effect.sleep(50)
      const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* Effect.sleep(50)
      one.write(publishPacket(shortTopic(a1), `${mark}2`, { version: 5, packetId: 2 }))
      const late = new RawClient(port)
      yield* until("a late connection is refused", () => late.closed)
      yield* Effect.sleep(50)
      assert.strictEqual(hex(one.received), "")
      faults.bus = "none"
      yield* Fiber.join(stopping)
      yield* until("the connection is closed", () => one.closed)
      assert.strictEqual(hex(one.received), "40020001e0028b00")
      assert.deepStrictEqual(holding(yield* raw, mark).map(text), [`${mark}1`])
    })
  )

  it.effect("does not wait longer than five seconds for a log that is away", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      const scope = yield* Scope.make()
      const { port } = yield* listen.pipe(
        Scope.provide(scope),
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ MQTT_PORT: "0", MQTTS_PORT: "off" })))
      )
      const one = new RawClient(port)
      one.write(connectPacket(a1))
      yield* until("CONNACK", () => one.received.length === 4)
      faults.bus = "hangs"
      one.write(publishPacket(shortTopic(a1), "x"))
      const started = performance.now()
      yield* Scope.close(scope, Exit.void)
      assert.isBelow(performance.now() - started, 20_000)
      assert.strictEqual(one.received.length, 4)
      faults.bus = "none"
    })
  )
})

layer(
  Support.bridge().pipe(
    Layer.provideMerge(Layer.succeed(Safeguards, { ...allSafeguards, acknowledgeAfterFlush: false }))
  ),
  { excludeTestServices: true, timeout: 60_000 }
)("with the safeguard acknowledgeAfterFlush off", (it) => {
  it.effect("acknowledges what the log does not have", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      yield* Mqtt
      const one = yield* open("careless")
      faults.bus = "unavailable"
      one.write(publishPacket(shortTopic(a1), "lost"))
      yield* until("PUBACK", () => hex(one.received) === "40020001")
      faults.bus = "none"
    })
  )

  it.effect("publishes all the same", () =>
    Effect.gen(function* () {
      const device = yield* client(a1)
      const mark = marker("careless")
      yield* publish(device, shortTopic(a1), mark)
      let found = yield* raw
      while (holding(found, mark).length === 0) found = yield* Effect.delay(raw, 10)
    })
  )
})
