import { MAX_PAYLOAD_BYTES } from "@argusiq/domain/bridge.ts"
import { Ingest } from "@argusiq/bridge/Ingest.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { debianProgram } from "../../support/components/debian.ts"
import { BRIDGE_USER, Mosquitto } from "../../support/components/mosquitto.ts"
import { freePort } from "../../support/PlatformProcess.ts"
import { anybody, becomes, besideBroker, Broker, ownSession, readerOf, reading } from "./externalSupport.ts"
import {
  a1,
  a2,
  absentDevice,
  b1,
  client,
  deadLetters,
  decommissioned,
  Faults,
  holding,
  longTopic,
  marker,
  publish,
  raw,
  shortTopic,
  text,
  until
} from "./support.ts"

const arrivals = Effect.fnUntraced(function* (mark: string, count: number) {
  const enough = Effect.map(raw, (records) => holding(records, mark).length >= count)
  yield* Effect.repeat(Effect.delay(enough, 10), { until: (is) => is }).pipe(
    Effect.timeoutOrElse({ duration: "20 seconds", orElse: () => Effect.die(new Error(`${mark}: too few arrive`)) })
  )
  return holding(yield* raw, mark)
})
const refusals = Effect.fnUntraced(function* (mark: string, count: number) {
  const enough = Effect.map(deadLetters, (records) => holding(records, mark).length >= count)
  yield* Effect.repeat(Effect.delay(enough, 10), { until: (is) => is }).pipe(
    Effect.timeoutOrElse({ duration: "20 seconds", orElse: () => Effect.die(new Error(`${mark}: too few refused`)) })
  )
  return holding(yield* deadLetters, mark)
})

layer(besideBroker(), { excludeTestServices: true, timeout: 60_000 })("a bridge that reads mosquitto", (it) => {
  it.effect("stores a message of every form of topic under the device that it addresses", () =>
    Effect.gen(function* () {
      yield* reading()
      const mark = marker("forms")
      const one = yield* client(a1, { protocolVersion: 5 })
      const topics = [shortTopic(a1), longTopic(a1), longTopic(a1, a1.externalId)]
      for (const topic of topics) yield* publish(one, topic, mark)
      const records = yield* arrivals(mark, 3)
      assert.deepStrictEqual(
        records.map(({ headers }) => headers["mqtt-topic"]),
        topics
      )
      const { "message-id": _, "received-at": __, "mqtt-topic": ___, ...rest } = records[0]!.headers
      assert.deepStrictEqual(rest, {
        source: "mqtt",
        "content-type": "application/json",
        "tenant-id": a1.org,
        "device-id": a1.id
      })
    })
  )

  it.effect("passes a content type on, and bytes as they are", () =>
    Effect.gen(function* () {
      yield* reading()
      const mark = marker("bytes")
      const one = yield* client(a1, { protocolVersion: 5 })
      const payload = Buffer.concat([Buffer.from([0, 255, 254]), Buffer.from(mark)])
      yield* publish(one, shortTopic(a1), payload, { qos: 1, properties: { contentType: "application/x-own" } })
      const [record] = yield* arrivals(mark, 1)
      assert.deepStrictEqual(Buffer.from(record!.value), payload)
      assert.strictEqual(record!.headers["content-type"], "application/x-own")
    })
  )

  it.effect("keeps the order of a device among many others", () =>
    Effect.gen(function* () {
      yield* reading()
      const mark = marker("order")
      const clients = yield* Effect.forEach([a1, a2], (device) => client(device))
      const numbers = Array.from({ length: 1_000 }, (_, number) => number)
      yield* Effect.forEach(
        numbers.flatMap((number) => [a1, a2].map((device, at) => ({ device, at, number }))),
        ({ at, device, number }) => publish(clients[at]!, shortTopic(device), `${mark}${number}`),
        { concurrency: "unbounded", discard: true }
      )
      const records = yield* arrivals(mark, 2_000)
      for (const device of [a1, a2]) {
        const own = records.filter(({ headers }) => headers["device-id"] === device.id)
        assert.deepStrictEqual(
          own.map((record) => Number(text(record).slice(mark.length))),
          numbers
        )
      }
    })
  )

  it.effect("acknowledges what it refuses and dead-letters it with the reason", () =>
    Effect.gen(function* () {
      yield* reading()
      const mark = marker("refused")
      const one = yield* client(anybody)
      const cases = [
        ["v1/telemetry/nowhere", "InvalidTopic"],
        ["devices/not-an-id/telemetry", "InvalidTopic"],
        [`devices/${absentDevice}/telemetry`, "UnknownDevice"],
        [longTopic(b1, a1.id), "TenantMismatch"],
        [longTopic(b1, "no such external id"), "UnknownDevice"],
        [shortTopic(decommissioned), "DeviceDecommissioned"]
      ] as const
      for (const [index, [topic]] of cases.entries()) yield* publish(one, topic, `${mark}${index}`)
      const letters = yield* refusals(mark, cases.length)
      for (const [index, [topic, reason]] of cases.entries()) {
        const letter = letters.find((candidate) => text(candidate) === `${mark}${index}`)!
        assert.strictEqual(letter.headers["dlq-reason"], reason, topic)
        assert.strictEqual(letter.headers["mqtt-topic"], topic)
      }
      yield* publish(one, shortTopic(a1), mark)
      assert.strictEqual((yield* arrivals(mark, 1)).length, 1)
    })
  )

  it.effect("dead-letters the beginning of what is too large, which the broker would else send for ever", () =>
    Effect.gen(function* () {
      yield* reading()
      const mark = marker("large")
      const one = yield* client(anybody)
      const payload = Buffer.alloc(3 * MAX_PAYLOAD_BYTES, 32)
      payload.write(mark)
      yield* publish(one, shortTopic(a1), payload)
      yield* publish(one, `devices/${absentDevice}/telemetry`, payload)
      const letters = yield* refusals(mark, 2)
      const reasons = letters.map(({ headers }) => headers["dlq-reason"])
      assert.deepStrictEqual(reasons.toSorted(), ["PayloadTooLarge", "UnknownDevice"])
    })
  )

  it.effect("finds what was published while it was away", () =>
    Effect.gen(function* () {
      const session = { MQTT_CLIENT_ID: ownSession() }
      const mark = marker("away")
      const one = yield* client(a1)
      yield* Effect.scoped(reading(session))
      for (let number = 0; number < 200; number++) yield* publish(one, shortTopic(a1), `${mark}${number}`)
      yield* Effect.sleep(50)
      assert.strictEqual(holding(yield* raw, mark).length, 0)
      yield* reading(session)
      assert.deepStrictEqual(
        (yield* arrivals(mark, 200)).map(text),
        Array.from({ length: 200 }, (_, number) => `${mark}${number}`)
      )
    })
  )

  it.effect("leaves unacknowledged what the log has not taken: a broker that stops sends it again", () =>
    Effect.gen(function* () {
      const broker = yield* Broker
      const faults = yield* Faults
      const reader = yield* reading()
      const mark = marker("unflushed")
      const one = yield* client(a1)
      faults.bus = "unavailable"
      for (let number = 0; number < 20; number++) yield* publish(one, shortTopic(a1), `${mark}${number}`)
      const { budget } = yield* Ingest
      yield* until("all 20 have been read", () => budget.inFlight > 20 * 500)
      yield* Effect.promise(() => broker.stop())
      yield* becomes(reader, "Away")
      yield* Effect.promise(() => broker.start())
      yield* becomes(reader, "Reading")
      yield* until("all 20 have been read again", () => budget.inFlight > 40 * 500)
      faults.bus = "none"
      const payloads = (yield* arrivals(mark, 40)).map(text)
      const all = Array.from({ length: 20 }, (_, number) => `${mark}${number}`)
      assert.deepStrictEqual(payloads, [...all, ...all])
    })
  )

  it.effect("lets one of several bridges read at a time, and another go on without loss or repetition", () =>
    Effect.gen(function* () {
      const { url } = yield* Broker
      const session = { MQTT_URL: url, MQTT_CLIENT_ID: ownSession() }
      const mark = marker("turns")
      const first = yield* Scope.fork(yield* Effect.scope)
      const one = yield* readerOf(session).pipe(Scope.provide(first))
      yield* becomes(one, "Reading")
      const other = yield* readerOf(session)
      const device = yield* client(a1)
      yield* becomes(other, "StandingBy")
      for (let number = 0; number < 50; number++) yield* publish(device, shortTopic(a1), `${mark}${number}`)
      assert.strictEqual(other.state()._tag, "StandingBy")
      yield* Scope.close(first, Exit.void)
      for (let number = 50; number < 100; number++) yield* publish(device, shortTopic(a1), `${mark}${number}`)
      yield* becomes(other, "Reading")
      assert.deepStrictEqual(
        (yield* arrivals(mark, 100)).map(text),
        Array.from({ length: 100 }, (_, number) => `${mark}${number}`)
      )
    })
  )

  it.effect("shares a subscription among bridges: each message reaches one of them", () =>
    Effect.gen(function* () {
      const mark = marker("shared")
      yield* reading({ MQTT_SHARED: "true" })
      yield* reading({ MQTT_SHARED: "true" })
      const device = yield* client(a1)
      for (let number = 0; number < 100; number++) yield* publish(device, shortTopic(a1), `${mark}${number}`)
      yield* Effect.sleep(200)
      assert.deepStrictEqual(
        (yield* arrivals(mark, 100)).map((record) => Number(text(record).slice(mark.length))).toSorted((a, b) => a - b),
        Array.from({ length: 100 }, (_, number) => number)
      )
    })
  )

  it.effect("gives up the subscription of the other way of reading, which its session may hold", () =>
    Effect.gen(function* () {
      const session = { MQTT_CLIENT_ID: ownSession() }
      yield* Effect.scoped(reading({ ...session, MQTT_SHARED: "true" }))
      yield* reading({ ...session, MQTT_SHARED: "false" })
      const mark = marker("once")
      yield* publish(yield* client(a1), shortTopic(a1), mark)
      yield* arrivals(mark, 1)
      yield* Effect.sleep(100)
      assert.strictEqual(holding(yield* raw, mark).length, 1)
    })
  )

  it.effect("reads over TLS from a broker whose authority it was given, and from no other", () =>
    Effect.gen(function* () {
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "argusiq-tls-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      const [certificate, key] = [join(directory, "certificate.pem"), join(directory, "key.pem")]
      const request = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=broker -days 1 -keyout ${key}`
      execFileSync(
        debianProgram("openssl", "openssl"),
        [...request.split(" "), "-out", certificate, "-addext", "subjectAltName=IP:127.0.0.1"],
        { stdio: "ignore" }
      )
      const port = yield* Effect.promise(freePort)
      const broker = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const listener = [`listener ${port} 127.0.0.1`, `certfile ${certificate}`, `keyfile ${key}`]
          return (await Mosquitto.prepare({ devices: [a1], configuration: listener })).start()
        }),
        (one) => Effect.promise(() => one.dispose())
      )
      const MQTT_URL = broker.url.replace("mqtt://", "mqtts://").replace(String(broker.port), String(port))
      const distrustful = yield* readerOf({ MQTT_URL, MQTT_CLIENT_ID: ownSession() })
      yield* until("the certificate is refused", () => JSON.stringify(distrustful.state()).includes("self-signed"))
      const reader = yield* readerOf({ MQTT_URL, MQTT_CLIENT_ID: ownSession(), MQTT_CA_FILE: certificate })
      yield* becomes(reader, "Reading")
    })
  )

  it.effect("says why it does not read, and never the password", () =>
    Effect.gen(function* () {
      const { port } = yield* Broker
      const wrong = yield* readerOf({
        MQTT_URL: `mqtt://${BRIDGE_USER}:wrong-pass@127.0.0.1:${port}`,
        MQTT_CLIENT_ID: ownSession()
      })
      yield* until("it is refused", () => JSON.stringify(wrong.state()).includes("does not let this user in"))
      assert.notInclude(JSON.stringify(wrong), "wrong-pass")
      const nobody = yield* readerOf({ MQTT_URL: "mqtt://127.0.0.1:1", MQTT_CLIENT_ID: ownSession() })
      yield* until("it is not reached", () => JSON.stringify(nobody.state()).includes("cannot be reached"))
    })
  )
})

layer(besideBroker({ INGEST_MAX_BYTES_IN_FLIGHT: "200000" }), { excludeTestServices: true, timeout: 60_000 })(
  "a bridge that may hold 200 kB",
  (it) => {
    it.effect("stops reading when they are spent, and goes on where it stopped", () =>
      Effect.gen(function* () {
        const faults = yield* Faults
        const { budget } = yield* Ingest
        const mark = marker("budget")
        yield* reading()
        const one = yield* client(a1)
        faults.bus = "unavailable"
        const payload = (number: number) => `${mark}${number} ${"x".repeat(10_000)}`
        yield* Effect.forEach(
          Array.from({ length: 300 }, (_, number) => number),
          (number) => publish(one, shortTopic(a1), payload(number)),
          { concurrency: "unbounded", discard: true }
        )
        yield* until("the budget is spent", () => budget.exhausted)
        yield* Effect.sleep(300)
        assert.isBelow(budget.inFlight, 400_000)
        faults.bus = "none"
        assert.deepStrictEqual(
          (yield* arrivals(mark, 300)).map(text),
          Array.from({ length: 300 }, (_, number) => payload(number))
        )
        yield* until("all is given back", () => budget.inFlight === 0)
      })
    )
  }
)
