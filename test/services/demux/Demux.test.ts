import { assert, layer } from "@effect/vitest"
import { childDeviceId } from "@argusiq/domain/demultiplex.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import {
  insertChild,
  insertDevice,
  insertDeviceType,
  insertEndpoint,
  insertGateway,
  publishVersion
} from "../../layers/profiles/registry.ts"
import { demuxWorld, dispatched, outcomeOf, transactionOf, valueOf } from "./world.ts"

const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) })

layer(demuxWorld, { excludeTestServices: true })("the demultiplexer", (it) => {
  it.effect(
    "makes one record of a gateway's message, with an entry for each child in order, under the gateway's key",
    () =>
      Effect.gen(function* () {
        const sql = yield* PipelineSql
        const gateway = yield* insertGateway()
        const known = yield* insertChild(gateway, "b")
        const idOf = (identifier: string) => childDeviceId(gateway.tenantId, gateway.deviceId, identifier)
        const devices = [{ id: "a", rssi: -65 }, { id: "b", rssi: -70 }, { id: 7 }, { id: "a", rssi: -66 }]
        const message = dispatched(
          Topics.gateway,
          gateway,
          {
            timestamp: "2026-01-29T10:00:00Z",
            correlationId: "msg-1",
            devices
          },
          { "retry-group": "argusiq.demux", traceparent: "00-a-b-01" }
        )
        const { letters, published } = yield* outcomeOf([message])
        assert.lengthOf(letters, 0)
        assert.lengthOf(published, 1)
        const { "retry-group": _, ...headers } = message.headers
        assert.deepStrictEqual(published[0]!.headers, headers)
        const entry = (index: number, deviceId: string) => ({
          index,
          deviceId,
          deviceTypeId: gateway.childTypeId,
          typeVersion: 1,
          deviceTimestamp: Date.parse("2026-01-29T10:00:00Z") * 1_000,
          payload: devices[index]
        })
        assert.deepStrictEqual<object>(valueOf(published[0]!), {
          correlationId: "msg-1",
          entries: [entry(0, idOf("a")), entry(1, known), entry(2, idOf("7")), entry(3, idOf("a"))]
        })
        const created = yield* sql`select id from devices where parent_device_id = ${gateway.deviceId}`
        assert.lengthOf(created, 3)
        const transaction = yield* transactionOf(message)
        assert.deepInclude(transaction, {
          id: message.headers["message-id"]!,
          correlation_id: "msg-1",
          status: "processing",
          total: 3,
          error: null
        })
      })
  )

  it.effect("makes an entry of each port, under the device's own id, without a transaction", () =>
    Effect.gen(function* () {
      const rtu = yield* insertEndpoint({
        processingMode: "rtu_multiport",
        demuxStrategy: { portsPath: "$.ports", portNumberPath: "$.port" }
      })
      const list = dispatched(Topics.rtu, rtu, {
        ports: [{ port: 2, voltage: 231 }, { voltage: 1 }, { port: "a", voltage: 2 }]
      })
      const object = dispatched(Topics.rtu, rtu, { ports: { "1": { voltage: 230 }, "2": 7 } })
      const none = dispatched(Topics.rtu, rtu, { ports: [] })
      const absent = dispatched(Topics.rtu, rtu, {})
      const { letters, published } = yield* outcomeOf([list, object, none, absent])
      assert.deepStrictEqual<unknown>(
        published.map((record) => valueOf(record).entries.map(({ deviceId, index, port }) => [index, port, deviceId])),
        [
          [
            [0, "2", rtu.deviceId],
            [2, "a", rtu.deviceId]
          ],
          [[0, "1", rtu.deviceId]]
        ]
      )
      assert.deepStrictEqual(
        letters.map(({ headers }) => [headers["message-id"], headers["dlq-reason"], headers["dlq-entry"]]),
        [
          [list.headers["message-id"], "ExtractionFailed", "1"],
          [object.headers["message-id"], "ExtractionFailed", "1"],
          [absent.headers["message-id"], "ExtractionFailed", undefined]
        ]
      )
      assert.isUndefined(yield* transactionOf(list))
      assert.isUndefined(yield* transactionOf(absent))
    })
  )

  const good = { id: "good" }
  const withSchema = {
    config: { messageSchema: { type: "object", properties: { name: { type: "string" } } } }
  }
  it.effect.each<{
    readonly what: string
    readonly payload: unknown
    readonly gateway?: Parameters<typeof insertGateway>[0]
    readonly reason: string
    readonly path?: string
  }>([
    { what: "no JSON", payload: "{", reason: "Undecodable" },
    { what: "half a character", payload: Buffer.from([0x7b, 0xc3]), reason: "Undecodable" },
    { what: "nothing", payload: "", reason: "Undecodable" },
    { what: "no children", payload: { beacons: [] }, reason: "ExtractionFailed", path: "$.devices" },
    {
      what: "children that are no array",
      payload: { devices: { a: 1 } },
      reason: "ExtractionFailed",
      path: "$.devices"
    },
    { what: "no object", payload: "7", reason: "ExtractionFailed", path: "$.devices" },
    {
      what: "too many children",
      payload: { devices: Array.from({ length: 10_001 }, () => good) },
      reason: "TooManyMetrics",
      path: "$.devices"
    },
    { what: "too deep", payload: { devices: [{ id: "good", a: nested(64) }] }, reason: "PayloadTooDeep" },
    {
      what: "against its schema",
      payload: { name: 7, devices: [good] },
      gateway: withSchema,
      reason: "SchemaMismatch",
      path: "/name"
    },
    {
      what: "of a type that does not say where children are",
      payload: { devices: [good] },
      gateway: { config: { processingMode: "gateway", demuxStrategy: undefined } },
      reason: "UnknownProcessingMode",
      path: "$.demuxStrategy"
    }
  ])(
    "a message that is $what is one dead letter as a whole, and its transaction has failed",
    ({ gateway: options, path, payload, reason }) =>
      Effect.gen(function* () {
        const gateway = yield* insertGateway(options)
        const message = dispatched(Topics.gateway, gateway, payload)
        const { letters, published } = yield* outcomeOf([message])
        assert.lengthOf(published, 0)
        assert.lengthOf(letters, 1)
        const { headers, value } = letters[0]!
        assert.deepStrictEqual([...value], [...message.value])
        assert.deepStrictEqual(
          [
            headers["dlq-reason"],
            headers["dlq-path"],
            headers["dlq-entry"],
            headers["dlq-group"],
            headers["dlq-stage"]
          ],
          [reason, path, undefined, "argusiq.demux", "demux"]
        )
        const transaction = yield* transactionOf(message)
        const id = message.headers["message-id"]!
        assert.deepInclude(transaction, { id, correlation_id: id, status: "failed", total: null })
        assert.strictEqual(transaction!.error, headers["dlq-message"])
      })
  )

  it.effect.each<{
    readonly what: string
    readonly child: unknown
    readonly reason: string
    readonly strategy?: object
    readonly path?: string
  }>([
    { what: "a number", child: 7, reason: "ExtractionFailed", path: "$.devices[1]" },
    { what: "an array", child: [], reason: "ExtractionFailed", path: "$.devices[1]" },
    { what: "null", child: null, reason: "ExtractionFailed", path: "$.devices[1]" },
    { what: "without an id", child: { rssi: 1 }, reason: "ExtractionFailed", path: "$.devices[1].id" },
    { what: "with null for an id", child: { id: null }, reason: "ExtractionFailed", path: "$.devices[1].id" },
    { what: "with an empty id", child: { id: "" }, reason: "ExtractionFailed", path: "$.devices[1].id" },
    { what: "with an object for an id", child: { id: {} }, reason: "ExtractionFailed", path: "$.devices[1].id" },
    { what: "with a fraction for an id", child: { id: 1.5 }, reason: "ExtractionFailed", path: "$.devices[1].id" },
    {
      what: "with an id of 256 characters",
      child: { id: "x".repeat(256) },
      reason: "ExtractionFailed",
      path: "$.devices[1].id"
    },
    { what: "with a NUL in its id", child: { id: "a\0" }, reason: "ExtractionFailed", path: "$.devices[1].id" },
    {
      what: "with half a surrogate in its id",
      child: { id: "\ud800" },
      reason: "ExtractionFailed",
      path: "$.devices[1].id"
    },
    {
      what: "unknown, where none is created",
      child: { id: "new" },
      reason: "UnknownChildDevice",
      strategy: { autoCreateChildren: false }
    },
    { what: "one too many", child: { id: "new" }, reason: "ChildLimitReached", strategy: { maxChildren: 2 } },
    {
      what: "of a type that does not exist",
      child: { id: "new" },
      reason: "UnknownChildDevice",
      strategy: { childDeviceTypeId: randomUUID() }
    },
    { what: "out of service", child: { id: "retired" }, reason: "DeviceDecommissioned" }
  ])(
    "a child that is $what is a dead letter by itself, and its neighbours go on",
    ({ child, path, reason, strategy }) =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const gateway = yield* insertGateway(strategy === undefined ? {} : { strategy })
        const known = yield* insertChild(gateway, "good")
        const retired = yield* insertChild(gateway, "retired")
        yield* sql`update devices set status = 'decommissioned' where id = ${retired}`
        const message = dispatched(Topics.gateway, gateway, { devices: [good, child, { id: "good", second: true }] })
        const { letters, published } = yield* outcomeOf([message])
        assert.deepStrictEqual<unknown>(
          published.map((record) => valueOf(record).entries.map(({ deviceId, index }) => [index, deviceId])),
          [
            [
              [0, known],
              [2, known]
            ]
          ]
        )
        assert.lengthOf(letters, 1)
        const { headers, value } = letters[0]!
        assert.deepStrictEqual([...value], [...message.value])
        assert.deepStrictEqual([headers["dlq-reason"], headers["dlq-path"], headers["dlq-entry"]], [reason, path, "1"])
        const transaction = yield* transactionOf(message)
        assert.deepInclude(transaction, { status: "processing", total: 2 })
        assert.include(transaction!.error ?? "", headers["dlq-message"]!)
      })
  )

  it.effect("a child whose type has no version waits as a dead letter; a retry of that entry alone takes it on", () =>
    Effect.gen(function* () {
      const gateway = yield* insertGateway()
      const { tenantId } = gateway
      const deviceTypeId = yield* insertDeviceType(tenantId)
      const typeless = yield* insertChild({ ...gateway, childTypeId: deviceTypeId }, "typeless")
      const message = dispatched(Topics.gateway, gateway, {
        devices: [good, { id: "typeless", n: 1 }, { id: "typeless", n: 2 }]
      })
      const first = yield* outcomeOf([message])
      assert.deepStrictEqual(
        first.letters.map(({ headers }) => [headers["dlq-reason"], headers["dlq-entry"]]),
        [
          ["UnknownProcessingMode", "1"],
          ["UnknownProcessingMode", "2"]
        ]
      )
      yield* publishVersion({
        tenantId,
        deviceTypeId,
        number: 3,
        effectiveAt: Date.now() - 60_000,
        config: { processingMode: "endpoint" }
      })
      yield* Effect.sleep(700) // until its publication is known, at the latest
      const retried = {
        "retry-entry": "2",
        "retry-group": "argusiq.demux",
        "retry-of": first.letters[1]!.headers["dlq-id"]!
      }
      const { letters, published } = yield* outcomeOf([
        { ...message, headers: { ...message.headers, ...retried } },
        { ...message, headers: { ...message.headers, ...retried, "retry-group": "argusiq.dispatcher" } }
      ])
      assert.lengthOf(letters, 2)
      assert.lengthOf(published, 2)
      assert.deepStrictEqual<unknown>(
        valueOf(published[1]!).entries.map(({ deviceId, index, typeVersion }) => ({ deviceId, index, typeVersion })),
        [{ deviceId: typeless, index: 2, typeVersion: 3 }]
      )
      const transaction = yield* transactionOf(message)
      assert.deepInclude(transaction, { total: 2, status: "processing" })
    })
  )

  it.effect(
    "an empty message goes on as one, so that its gateway counts as heard; a retry of an entry that fails again does not",
    () =>
      Effect.gen(function* () {
        const gateway = yield* insertGateway({ strategy: { autoCreateChildren: false } })
        const empty = dispatched(Topics.gateway, gateway, { devices: [] })
        const unknown = dispatched(Topics.gateway, gateway, { devices: [{ id: "new" }] })
        const retried = { "retry-entry": "0", "retry-of": randomUUID(), "retry-group": "argusiq.demux" }
        const again = { ...unknown, headers: { ...unknown.headers, ...retried } }
        const { letters, published } = yield* outcomeOf([empty, unknown, again])
        assert.deepStrictEqual<unknown>(
          published.map((record) => [record.headers["message-id"], valueOf(record).entries.length]),
          [
            [empty.headers["message-id"], 0],
            [unknown.headers["message-id"], 0]
          ]
        )
        assert.lengthOf(letters, 2)
        assert.strictEqual(letters[1]!.headers["dlq-id"], retried["retry-of"])
      })
  )

  it.effect(
    "each message is split as its own version of the type says, and a child has the version of the message's time",
    () =>
      Effect.gen(function* () {
        const gateway = yield* insertGateway()
        const { childTypeId, deviceTypeId, tenantId } = gateway
        const effectiveAt = Date.now() - 60_000
        const second = {
          processingMode: "gateway",
          demuxStrategy: {
            childDevicesPath: "$.list",
            childDeviceIdPath: "$.name",
            autoCreateChildren: false,
            childDeviceTypeId: childTypeId
          }
        }
        yield* publishVersion({ tenantId, deviceTypeId, number: 2, effectiveAt, config: second })
        yield* publishVersion({
          tenantId,
          deviceTypeId: childTypeId,
          number: 2,
          effectiveAt,
          config: { processingMode: "endpoint" }
        })
        yield* Effect.sleep(700)
        const before = effectiveAt * 1_000 - 1
        const { letters, published } = yield* outcomeOf([
          dispatched(Topics.gateway, gateway, { devices: [{ id: "x" }] }, {}, before),
          dispatched(
            Topics.gateway,
            gateway,
            { list: [{ name: "x" }, { name: "y" }] },
            { "type-version": "2" },
            effectiveAt * 1_000
          ),
          dispatched(
            Topics.gateway,
            gateway,
            { list: [{ name: "x" }] },
            { "type-version": "2", "config-at": String(before) }
          ),
          dispatched(Topics.gateway, gateway, { devices: [{ id: "z" }] }, {}, before)
        ])
        assert.deepStrictEqual<unknown>(
          published.map((record) => valueOf(record).entries.map(({ typeVersion }) => typeVersion)),
          [[1], [2], [1], [1]]
        )
        assert.deepStrictEqual(
          letters.map(({ headers }) => [headers["dlq-reason"], headers["dlq-entry"]]),
          [["UnknownChildDevice", "1"]]
        )
      })
  )

  it.effect("creates 10,000 children of a gateway, none of them twice, and no more: the rest are dead letters", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const gateway = yield* insertGateway()
      const of = (from: number, count: number) =>
        dispatched(Topics.gateway, gateway, {
          devices: Array.from({ length: count }, (_, index) => ({ id: from + index }))
        })
      const [first, many] = [of(-4, 4), of(0, 10_000)]
      const { letters, published } = yield* outcomeOf([first, many, many])
      assert.lengthOf(published, 3)
      assert.lengthOf(valueOf(published[1]!).entries, 9_996)
      assert.deepStrictEqual([...published[1]!.value], [...published[2]!.value])
      const refused = [9_996, 9_997, 9_998, 9_999].map((entry) => ["ChildLimitReached", String(entry)])
      assert.deepStrictEqual(
        letters.map(({ headers }) => [headers["dlq-reason"], headers["dlq-entry"]]),
        [...refused, ...refused]
      )
      const [row] = yield* sql<{ devices: number; events: number }>`
        select (select count(*)::int from devices where parent_device_id = ${gateway.deviceId}) as devices,
          (select count(*)::int from system_events where tenant_id = ${gateway.tenantId}) as events`
      assert.deepStrictEqual(row, { devices: 10_000, events: 10_000 })
    })
  )

  it.effect("two gateways that call their children alike have children of their own", () =>
    Effect.gen(function* () {
      const one = yield* insertGateway()
      const twin = yield* insertDevice({ tenantId: one.tenantId, deviceTypeId: one.deviceTypeId })
      const ofOne = yield* outcomeOf([dispatched(Topics.gateway, one, { devices: [{ id: "a" }] })])
      const ofTwin = yield* outcomeOf([
        dispatched(Topics.gateway, { ...one, deviceId: twin }, { devices: [{ id: "a" }] })
      ])
      const [a, b] = [ofOne, ofTwin].map(({ published }) => valueOf(published[0]!).entries[0]!.deviceId)
      assert.notStrictEqual(a, b)
    })
  )
})
