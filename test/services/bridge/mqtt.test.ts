import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Support from "./support.ts"
import {
  a1,
  a2,
  b1,
  client,
  deadLetters,
  holding,
  longTopic,
  marker,
  publish,
  raw,
  shortTopic,
  text
} from "./support.ts"

layer(Support.bridge(), { excludeTestServices: true, timeout: 60_000 })("the embedded MQTT broker", (it) => {
  for (const protocolVersion of [4, 5] as const) {
    for (const qos of [0, 1, 2] as const) {
      it.effect(`stores a QoS ${qos} publish of MQTT ${protocolVersion} byte for byte, with its headers`, () =>
        Effect.gen(function* () {
          const device = yield* client(a1, { protocolVersion, clientId: `c-${protocolVersion}-${qos}` })
          const payload = Buffer.concat([Buffer.from(marker("bytes")), Buffer.from([0, 255, 1])])
          yield* publish(device, shortTopic(a1), payload, { qos })
          let found = holding(yield* raw, payload.subarray(0, 8).toString())
          while (found.length === 0) found = holding(yield* Effect.delay(raw, 10), payload.subarray(0, 8).toString())
          const record = found.find((one) => Buffer.compare(one.value, payload) === 0)!
          assert.strictEqual(record.key, a1.id)
          const { "message-id": id, "received-at": at, ...rest } = record.headers
          assert.deepStrictEqual(rest, {
            source: "mqtt",
            "content-type": "application/json",
            "tenant-id": a1.org,
            "device-id": a1.id,
            "mqtt-topic": shortTopic(a1),
            "client-id": `c-${protocolVersion}-${qos}`
          })
          assert.match(id!, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
          assert.closeTo(Number(at), Date.now() * 1000, 10_000_000)
        })
      )
    }
  }

  it.effect("takes the long topic by device id and by external id, the content type, and a login by external id", () =>
    Effect.gen(function* () {
      const device = yield* client(a1, { username: a1.externalId, protocolVersion: 5, clientId: "long" })
      const mark = marker("long")
      yield* publish(device, longTopic(a1), `${mark}1`)
      yield* publish(device, longTopic(a1, a1.externalId), `${mark}2`, {
        qos: 1,
        properties: { contentType: "text/csv" }
      })
      const found = holding(yield* raw, mark)
      assert.deepStrictEqual(
        found.map((one) => [text(one).at(-1), one.key, one.headers["content-type"]]),
        [
          ["1", a1.id, "application/json"],
          ["2", a1.id, "text/csv"]
        ]
      )
    })
  )

  it.effect("keeps each device's order while twenty clients publish at once, and acknowledges in order", () =>
    Effect.gen(function* () {
      const count = 300
      const mark = marker("order")
      yield* Effect.forEach(
        Support.devicesA.slice(0, 20),
        Effect.fnUntraced(function* (one, index) {
          const device = yield* client(one, { clientId: "same-for-all", protocolVersion: index % 2 === 0 ? 4 : 5 })
          const acknowledged: Array<number> = []
          yield* Effect.forEach(
            Array.from({ length: count }, (_, sequence) => sequence),
            (sequence) =>
              Effect.map(
                publish(
                  device,
                  sequence % 2 ? shortTopic(one) : longTopic(one, one.externalId),
                  `${mark}${one.id}:${sequence}`
                ),
                () => acknowledged.push(sequence)
              ),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(
            acknowledged,
            acknowledged.toSorted((left, right) => left - right)
          )
        }),
        { concurrency: "unbounded" }
      )
      const byDevice = Map.groupBy(holding(yield* raw, mark), (record) => record.key)
      assert.strictEqual(byDevice.size, 20)
      for (const [id, records] of byDevice) {
        const sequences = records.map((record) => Number(text(record).split(":").at(-1)))
        assert.deepStrictEqual(
          sequences,
          Array.from({ length: count }, (_, index) => index),
          id
        )
        const stamps = records.map((record) => record.headers["received-at"]!)
        assert.strictEqual(new Set(stamps).size, count)
      }
    })
  )

  const refusals: ReadonlyArray<readonly [string, string, string]> = [
    ["a topic that is none of telemetry", "home/livingroom", "InvalidTopic"],
    ["the broker's own topics", "$SYS/broker/uptime", "InvalidTopic"],
    ["a topic with a NUL", "devices/\0/telemetry", "InvalidTopic"],
    ["a topic of 200 levels", "a/".repeat(200), "InvalidTopic"],
    ["another device of the organization", shortTopic(a2), "InvalidTopic"],
    ["another device by its external id", longTopic(a1, a2.externalId), "InvalidTopic"],
    ["a device that does not exist", `devices/${Support.absentDevice}/telemetry`, "UnknownDevice"],
    ["an external id that does not exist", longTopic(a1, "EXT-none"), "UnknownDevice"],
    ["another organization's device", shortTopic(b1), "TenantMismatch"],
    ["another organization's device by the long topic", longTopic(b1), "TenantMismatch"],
    ["the own device under another organization", longTopic(b1, a1.id), "TenantMismatch"]
  ]
  for (const [what, topic, reason] of refusals) {
    it.effect(`acknowledges and dead-letters as ${reason}: a publish to ${what}`, () =>
      Effect.gen(function* () {
        const device = yield* client(a1, { clientId: "refused" })
        const mark = marker("refused")
        yield* publish(device, topic, mark, { qos: 1, retain: true })
        yield* publish(device, shortTopic(a1), `${mark}after`)
        const [record, ...others] = holding(yield* deadLetters, mark)
        assert.deepStrictEqual(others, [])
        assert.strictEqual(record!.headers["dlq-reason"], reason)
        assert.strictEqual(record!.headers["dlq-group"], "argusiq.bridge")
        assert.strictEqual(record!.headers["dlq-stage"], "bridge")
        assert.strictEqual(record!.headers["dlq-topic"], "telemetry.raw.v1")
        assert.strictEqual(record!.headers["dlq-attempts"], "1")
        assert.strictEqual(record!.headers["device-id"], a1.id)
        assert.strictEqual(record!.headers["tenant-id"], a1.org)
        assert.notInclude(record!.headers["mqtt-topic"], "\0")
        assert.deepStrictEqual(holding(yield* raw, mark).map(text), [`${mark}after`])
      })
    )
  }

  it.effect("makes one security event a minute of a device that tries other organizations", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const device = yield* client(a2)
      for (let attempt = 0; attempt < 5; attempt++) yield* publish(device, shortTopic(b1), "attempt")
      const events = sql<{
        readonly event_type: string
        readonly tenant_id: string
        readonly payload: { message: string }
      }>`
        select event_type, tenant_id::text, payload from system_events where entity_id = ${a2.id}`
      let rows = yield* events
      while (rows.length === 0) rows = yield* Effect.delay(events, 20)
      yield* Effect.sleep(100)
      rows = yield* events
      assert.strictEqual(rows.length, 1)
      assert.strictEqual(rows[0]!.event_type, "SECURITY_VIOLATION")
      assert.strictEqual(rows[0]!.tenant_id, a2.org)
      assert.include(rows[0]!.payload.message, "may publish only")
    })
  )

  it.effect("dead-letters what a decommissioned device sends", () =>
    Effect.gen(function* () {
      const device = yield* client(Support.decommissioned)
      const mark = marker("decommissioned")
      yield* publish(device, shortTopic(Support.decommissioned), mark)
      assert.deepStrictEqual(
        holding(yield* deadLetters, mark).map((one) => one.headers["dlq-reason"]),
        ["DeviceDecommissioned"]
      )
    })
  )

  it.effect("accepts a device that was created a moment ago", () =>
    Effect.gen(function* () {
      const fresh = {
        id: "a0000000-0000-4000-8000-00000000abcd",
        key: "key-fresh",
        externalId: "EXT-fresh",
        org: a1.org
      }
      const refused = yield* Effect.flip(client(fresh))
      assert.include(refused.message, "Bad username or password")
      yield* Support.addDevice(fresh)
      const mark = marker("fresh")
      const device = yield* client(fresh)
      yield* publish(device, shortTopic(fresh), mark)
      assert.strictEqual(holding(yield* raw, mark).length, 1)
    })
  )

  for (const protocolVersion of [4, 5] as const) {
    it.effect(`refuses with MQTT ${protocolVersion} a wrong key, another device's key and a missing one`, () =>
      Effect.gen(function* () {
        const wrong = yield* Effect.flip(client(a1, { protocolVersion, password: "wrong" }))
        const others = yield* Effect.flip(client(a1, { protocolVersion, password: a2.key }))
        const none = yield* Effect.flip(client({ ...a1, key: "" }, { protocolVersion }))
        for (const error of [wrong, others, none]) {
          assert.strictEqual((error as { code?: number }).code, protocolVersion === 5 ? 0x86 : 4)
        }
      })
    )

    it.effect(`refuses with MQTT ${protocolVersion} a will on another device's topic and stores one on its own`, () =>
      Effect.gen(function* () {
        const mark = marker("will")
        const foreign = yield* Effect.flip(
          client(a1, {
            protocolVersion,
            will: { topic: shortTopic(a2), payload: Buffer.from(mark), qos: 1, retain: true }
          })
        )
        assert.strictEqual((foreign as { code?: number }).code, protocolVersion === 5 ? 0x87 : 5)
        const own = yield* client(a1, {
          protocolVersion,
          clientId: "willing",
          will: { topic: shortTopic(a1), payload: Buffer.from(mark), qos: 1, retain: true }
        })
        own.stream.destroy()
        let found = holding(yield* raw, mark)
        while (found.length === 0) found = holding(yield* Effect.delay(raw, 10), mark)
        assert.deepStrictEqual(
          found.map((one) => [text(one), one.headers["mqtt-topic"]]),
          [[mark, shortTopic(a1)]]
        )
      })
    )

    it.effect(`grants with MQTT ${protocolVersion} a subscription to own commands and refuses every other`, () =>
      Effect.gen(function* () {
        const device = yield* client(a1, { protocolVersion, clientId: "subscriber" })
        const subscribe = (topic: string) =>
          Effect.callback<number>(
            (resume) =>
              void device.subscribe(topic, { qos: 1 }, (error, _granted, suback) => {
                const code = (suback as { granted?: ReadonlyArray<number> } | undefined)?.granted?.[0]
                resume(Effect.succeed(code ?? (error === null ? 0 : 0x80)))
              })
          )
        assert.strictEqual(yield* subscribe(`devices/${a1.id}/commands/#`), 1)
        assert.strictEqual(yield* subscribe(`v1/commands/${a1.org}/${a1.id}/+`), 1)
        for (const filter of [
          "#",
          "+/+/+",
          "$SYS/#",
          `$share/group/devices/${a1.id}/commands/#`,
          shortTopic(a1),
          `devices/${a2.id}/commands/#`,
          `devices/+/commands/#`,
          `v1/commands/${b1.org}/${a1.id}/#`
        ]) {
          assert.isAtLeast(yield* subscribe(filter), 0x80, filter)
        }
      })
    )
  }

  it.effect("does not give a retained message, or any telemetry, to anybody", () =>
    Effect.gen(function* () {
      const sender = yield* client(a1, { clientId: "retaining" })
      yield* publish(sender, shortTopic(a1), marker("retained"), { qos: 1, retain: true })
      const received: Array<string> = []
      const listener = yield* client(a1, { clientId: "listening" })
      listener.on("message", (topic) => received.push(topic))
      yield* Effect.callback<void>(
        (resume) => void listener.subscribe(`devices/${a1.id}/commands/#`, () => resume(Effect.void))
      )
      yield* publish(sender, shortTopic(a1), marker("retained"), { qos: 1, retain: true })
      yield* publish(listener, shortTopic(a1), marker("retained"))
      assert.deepStrictEqual(received, [])
    })
  )

  it.effect(
    "lets no other device's connection end one with the same client id, and the same device's take it over",
    () =>
      Effect.gen(function* () {
        const first = yield* client(a1, { clientId: "stolen" })
        const thief = yield* client(a2, { clientId: "stolen" })
        yield* publish(first, shortTopic(a1), marker("still"))
        assert.isTrue(first.connected && thief.connected)
        const second = yield* client(a1, { clientId: "stolen" })
        yield* Support.until("the first connection is closed", () => !first.connected)
        assert.isTrue(second.connected && thief.connected)
      })
  )

  it.effect("holds at most ten connections of one device", () =>
    Effect.gen(function* () {
      const device = Support.devicesA[22]!
      yield* Effect.forEach(Array.from({ length: 10 }), (_, index) => client(device, { clientId: `many-${index}` }))
      const refused = yield* Effect.flip(client(device, { clientId: "one-too-many", protocolVersion: 5 }))
      assert.strictEqual((refused as { code?: number }).code, 0x97)
      yield* client(a2, { clientId: "another-device" })
    })
  )
})
