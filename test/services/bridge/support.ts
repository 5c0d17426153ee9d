/**
 * The bridge on a real log, a real database and real sockets, with faults that can be switched on.
 */
import * as DeviceConnections from "@argusiq/bridge/DeviceConnections.ts"
import * as Ingest from "@argusiq/bridge/Ingest.ts"
import { listen } from "@argusiq/bridge/mqtt/MqttListener.ts"
import { DeviceConnection } from "@argusiq/domain/device-connection.ts"
import { BusUnavailable, DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { Bus, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { type ApiKeyOwner, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { ConfigProvider, Context, Effect, Layer, References, Schema, Stream } from "effect"
import mqtt, { type IClientOptions, type MqttClient } from "mqtt"
import { hash } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { testDatabase } from "../../support/postgres.ts"

const uuid = (block: string, n: number) => `${block}0000000-0000-4000-8000-${String(n).padStart(12, "0")}`
export const orgA = uuid("a", 0)
export const orgB = uuid("b", 0)
const typeA = uuid("a", 1)
const limitedTypeA = uuid("a", 2)
const typeB = uuid("b", 1)
export interface TestDevice {
  readonly id: string
  readonly key: string
  readonly externalId: string
  readonly org: string
}
const device = (block: string, n: number, org: string): TestDevice => ({
  id: uuid(block, n),
  key: `key-${block}-${n}`,
  externalId: `EXT-${block}-${n}`,
  org
})
/** The last two are `decommissioned` and `limited`. */
export const devicesA = Array.from({ length: 24 }, (_, index) => device("a", 100 + index, orgA))
export const [a1, a2] = devicesA as [TestDevice, TestDevice]
export const b1 = device("b", 100, orgB)
export const decommissioned = device("a", 900, orgA)
export const limited = device("a", 901, orgA)
export const absentDevice = uuid("a", 999)

export const insertDevice = Effect.fnUntraced(function* (one: TestDevice, typeId: string, status = "active") {
  const sql = yield* OwnerSql
  yield* sql`insert into devices (id, tenant_id, name, device_type_id, external_id, status)
    values (${one.id}, ${one.org}, ${one.key}, ${typeId}, ${one.externalId}, ${status})`
  yield* sql`insert into device_api_keys (id, tenant_id, device_id, key_prefix, key_hash)
    values (${one.id}, ${one.org}, ${one.id}, 'key', ${hash("sha256", one.key, "hex")})`
})

const fixture = Layer.effectDiscard(
  Effect.gen(function* () {
    const sql = yield* OwnerSql
    for (const [id, slug] of [
      [orgA, "a"],
      [orgB, "b"]
    ] as const) {
      yield* sql`insert into organizations (id, name, slug) values (${id}, ${slug}, ${slug})`
    }
    for (const [id, org, config] of [
      [typeA, orgA, { processingMode: "endpoint" }],
      [limitedTypeA, orgA, { processingMode: "endpoint", rateLimitPerMinute: 2 }],
      [typeB, orgB, { processingMode: "endpoint" }]
    ] as const) {
      yield* sql`insert into device_types (id, tenant_id, name, published_version) values (${id}, ${org}, ${id}, 1)`
      yield* sql`insert into device_type_versions (id, tenant_id, device_type_id, number, state, effective_at, config)
        values (${id}, ${org}, ${id}, 1, 'published', now(), ${JSON.stringify(config)}::jsonb)`
    }
    for (const one of devicesA) yield* insertDevice(one, typeA)
    yield* insertDevice(b1, typeB)
    yield* insertDevice(decommissioned, typeA, "decommissioned")
    yield* insertDevice(limited, limitedTypeA)
  })
)
export const addDevice = (one: TestDevice) => insertDevice(one, typeA)

/** Faults of what the bridge stands on. */
export class Faults extends Context.Service<
  Faults,
  {
    bus: "none" | "unavailable" | "hangs"
    /** Calls of publish, of messages, that pass while the bus hangs. */
    passes: number
    database: "none" | "away"
  }
>()("argusiq/test/bridge/Faults") {}

const faultyBus = Layer.effect(
  Bus,
  Effect.gen(function* () {
    const bus = yield* Bus
    const faults = yield* Faults
    const cause = new Error("the test has taken the bus away")
    return {
      logId: bus.logId,
      partitions: bus.partitions,
      subscribe: bus.subscribe,
      follow: bus.follow,
      read: bus.read,
      range: bus.range,
      offsetAt: bus.offsetAt,
      lag: bus.lag,
      seek: bus.seek,
      publish: (records: Parameters<typeof bus.publish>[0]) =>
        Effect.suspend(() => {
          if (faults.bus === "unavailable") return Effect.fail(new BusUnavailable({ cause }))
          if (faults.bus === "none") return bus.publish(records)
          const mayPass = records.every(({ topic }) => topic !== Topics.connections)
          const healed = Effect.sync(
            () => faults.bus !== "hangs" || (mayPass && faults.passes > 0 && faults.passes-- > 0)
          )
          return Effect.andThen(Effect.repeat(Effect.delay(healed, 10), { until: (is) => is }), bus.publish(records))
        })
    }
  })
)

const faultyProfiles = Layer.effect(
  Profiles,
  Effect.gen(function* () {
    const profiles = yield* Profiles
    const faults = yield* Faults
    const guarded = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | DatabaseUnavailable> =>
      Effect.suspend((): Effect.Effect<A, E | DatabaseUnavailable> =>
        faults.database === "none"
          ? effect
          : Effect.fail(new DatabaseUnavailable({ cause: new Error("the test has taken the database away") }))
      )
    const remembered = new Map<string, ApiKeyOwner | undefined>()
    return {
      cachedDevice: (id: string) => profiles.cachedDevice(id),
      devices: (ids: Iterable<string>) => guarded(profiles.devices(ids)),
      deviceTypes: (ids: Iterable<string>) => guarded(profiles.deviceTypes(ids)),
      byExternalId: (tenant: string, id: string) => guarded(profiles.byExternalId(tenant, id)),
      children: (asked: Parameters<typeof profiles.children>[0]) => guarded(profiles.children(asked)),
      apiKey: (key: string) =>
        faults.database === "away" && remembered.has(key)
          ? Effect.succeed(remembered.get(key))
          : guarded(Effect.tap(profiles.apiKey(key), (owner) => Effect.sync(() => remembered.set(key, owner)))),
      certificate: (fingerprint: string) => guarded(profiles.certificate(fingerprint)),
      isCertified: (id: string) => guarded(profiles.isCertified(id)),
      invalidate: (what) => profiles.invalidate(what)
    } satisfies typeof profiles
  })
)

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "argusiq-bridge-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const log = Layer.unwrap(Effect.map(directory, (path) => LocalBus.layer({ directory: path, minFreeBytes: 0 })))

export class Mqtt extends Context.Service<Mqtt, { readonly port: number; readonly tlsPort: number | undefined }>()(
  "argusiq/test/bridge/Mqtt"
) {}

const withSettings = (settings: Readonly<Record<string, string>>) =>
  ConfigProvider.layer(ConfigProvider.fromUnknown({ MQTT_PORT: "0", MQTTS_PORT: "off", ...settings }))
/** Faults that a test makes are no news. */
export const quiet = Layer.succeed(References.MinimumLogLevel, "Error")

/** Without a door to MQTT. */
export const closedBridge = (settings: Readonly<Record<string, string>> = {}) =>
  Layer.mergeAll(Ingest.layer, DeviceConnections.layer).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        faultyBus.pipe(Layer.provide(log)),
        faultyProfiles.pipe(Layer.provide(ProfileCache.layer({ size: 1_000 })))
      )
    ),
    Layer.provideMerge(Layer.sync(Faults, () => Faults.of({ bus: "none", passes: 0, database: "none" }))),
    Layer.provideMerge(fixture),
    Layer.provideMerge(testDatabase),
    Layer.provide(withSettings(settings)),
    Layer.provide(quiet),
    Layer.orDie
  )

/** With the embedded listener. */
export const bridge = (settings: Readonly<Record<string, string>> = {}) =>
  Layer.effect(Mqtt, listen).pipe(
    Layer.provideMerge(closedBridge(settings)),
    Layer.provide(withSettings(settings)),
    Layer.provide(quiet),
    Layer.orDie
  )

// ── what was stored ────────────────────────────────────────────────────────────────────────────────────────────────

export const stored = Effect.fnUntraced(function* (topic: string) {
  const bus = yield* Bus
  const all: Array<StoredRecord> = []
  for (let partition = 0; partition < bus.partitions; partition++) {
    const { end } = yield* bus.range({ topic, partition })
    all.push(...(yield* Stream.runCollect(bus.read({ topic, partition }, 0n, end))))
  }
  return all
})
export const raw = stored(Topics.raw)
export const deadLetters = stored(deadLetterTopic(Topics.raw))
const decodeConnection = Schema.decodeUnknownSync(Schema.fromJsonString(DeviceConnection))
/** What `device.connections.v1` tells of a device, in order. */
export const connectionsOf = (device: TestDevice) =>
  Effect.map(stored(Topics.connections), (records) =>
    records.filter(({ key }) => key === device.id).map(({ value }) => decodeConnection(Buffer.from(value).toString()))
  )
export const text = (record: { readonly value: Uint8Array }) => Buffer.from(record.value).toString()
/** The records whose payload holds a text. */
export const holding = (records: ReadonlyArray<StoredRecord>, part: string) =>
  records.filter((record) => text(record).includes(part))

let unique = 0
/** Text that no other message holds. */
export const marker = (name: string) => `${name}#${++unique}#`

// ── clients ────────────────────────────────────────────────────────────────────────────────────────────────────────

export const client = (device: TestDevice, options: IClientOptions = {}) =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const { port } = yield* Mqtt
      return yield* Effect.callback<MqttClient, Error>((resume) => {
        const one = mqtt.connect({
          host: "127.0.0.1",
          port,
          username: device.id,
          password: device.key,
          reconnectPeriod: 0,
          connectTimeout: 5_000,
          ...options
        })
        one.once("connect", () => resume(Effect.succeed(one)))
        one.once("error", (error) => resume(Effect.fail(error)))
      })
    }),
    (one) => Effect.callback<void>((resume) => void one.end(true, () => resume(Effect.void)))
  )

export const publish = (
  one: MqttClient,
  topic: string,
  payload: string | Buffer,
  options: { qos?: 0 | 1 | 2; retain?: boolean; properties?: object } = { qos: 1 }
) =>
  Effect.callback<void, Error>(
    (resume) =>
      void one.publish(topic, payload, options as never, (error) => resume(error ? Effect.fail(error) : Effect.void))
  )

export const shortTopic = (one: TestDevice) => `devices/${one.id}/telemetry`
export const longTopic = (one: TestDevice, device = one.id) => `v1/telemetry/${one.org}/${device}`

const string = (value: string | Buffer) => {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}
export const packet = (header: number, ...parts: ReadonlyArray<Buffer>) => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([header, ...varint(body.length)]), body])
}
export const varint = (value: number) => {
  const bytes: Array<number> = []
  for (let rest = value; ;) {
    const low = rest % 128
    rest = (rest - low) / 128
    bytes.push(rest > 0 ? low | 128 : low)
    if (rest === 0) return bytes
  }
}
export const connectPacket = (
  device: TestDevice,
  options: { clientId?: string; version?: 4 | 5; clean?: boolean; keepAlive?: number } = {}
) => {
  const version = options.version ?? 4
  return packet(
    0x10,
    string("MQTT"),
    Buffer.from([version, options.clean === false ? 0xc0 : 0xc2, 0, options.keepAlive ?? 60]),
    ...(version === 5 ? [Buffer.from([0])] : []),
    string(options.clientId ?? "raw"),
    string(device.id),
    string(device.key)
  )
}
export const publishPacket = (
  topic: string | Buffer,
  payload: string | Buffer,
  options: { qos?: number; packetId?: number; dup?: boolean; version?: 4 | 5 } = {}
) => {
  const qos = options.qos ?? 1
  const id = options.packetId ?? 1
  return packet(
    0x30 | (qos << 1) | (options.dup === true ? 8 : 0),
    string(topic),
    qos > 0 ? Buffer.from([id >> 8, id & 255]) : Buffer.alloc(0),
    ...(options.version === 5 ? [Buffer.from([0])] : []),
    Buffer.from(payload as string)
  )
}

/** A socket that says what it likes; `received` grows, `closed` tells. */
export class RawClient {
  readonly socket: Socket
  received = Buffer.alloc(0)
  closed = false
  constructor(to: number | Socket) {
    this.socket = typeof to === "number" ? connect(to, "127.0.0.1") : to
    this.socket.on("data", (chunk) => (this.received = Buffer.concat([this.received, chunk])))
    this.socket.on("error", () => {})
    this.socket.on("close", () => (this.closed = true))
    this.socket.on("end", () => (this.closed = true))
  }
  write(...bytes: ReadonlyArray<Buffer>) {
    for (const part of bytes) this.socket.write(part)
  }
}

export const rawClient = Effect.acquireRelease(
  Effect.map(Mqtt, ({ port }) => new RawClient(port)),
  (one) => Effect.sync(() => one.socket.destroy())
)

/** Polls until it holds; fails the test after five seconds. */
export const until = (what: string, holds: () => boolean) =>
  Effect.sync(holds).pipe(
    Effect.delay(5),
    Effect.repeat({ until: (is) => is }),
    Effect.timeoutOrElse({ duration: "20 seconds", orElse: () => Effect.die(new Error(`not within 20 s: ${what}`)) })
  )
