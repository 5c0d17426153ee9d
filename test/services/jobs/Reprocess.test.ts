import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Jobs } from "@argusiq/layers/jobs/Jobs.ts"
import { type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { type DeviceTypeId, type TenantId } from "@argusiq/domain/ids.ts"
import * as JobRunner from "@argusiq/jobs/JobRunner.ts"
import { assert, it } from "@effect/vitest"
import { ConfigProvider, Deferred, Effect, Fiber, Layer } from "effect"
import { randomInt, randomUUID } from "node:crypto"
import { publishVersion } from "../../layers/profiles/registry.ts"
import { assertSameStored, message, pipelineWorld, send, settle, stored, until } from "./pipelineWorld.ts"
import { randomFrom } from "../../support/random.ts"

const seed = Number(process.env["SEED"] ?? randomInt(2 ** 31))
console.log(`SEED=${seed}`)

const minute = 60_000_000
const tenantId = randomUUID() as TenantId
const types = { sensor: randomUUID(), child: randomUUID(), hub: randomUUID(), ble: randomUUID(), rtu: randomUUID() }
const devices = {
  sensor1: randomUUID(),
  sensor2: randomUUID(),
  hub: randomUUID(),
  ble: randomUUID(),
  rtu: randomUUID()
}
const typeOf: Readonly<Record<keyof typeof devices, keyof typeof types>> = {
  sensor1: "sensor",
  sensor2: "sensor",
  hub: "hub",
  ble: "ble",
  rtu: "rtu"
}

const numeric = (path: string, further: object = {}) => ({ path, type: "numeric", ...further })
const children = (childDevicesPath: string, childTimestampPath: string) => ({
  childDevicesPath,
  childDeviceIdPath: "$.id",
  childTimestampPath,
  autoCreateChildren: true,
  childDeviceTypeId: types.child
})

/** Each type as it was meant, and with a fault: a path, a scale, a timestamp rule, or several of them. */
const right: Readonly<Record<keyof typeof types, object>> = {
  sensor: {
    processingMode: "endpoint",
    extractionRules: {
      temperature: numeric("$.t", { required: true, scale: 0.1, min: -40, max: 60 }),
      humidity: numeric("$.h"),
      state: { path: "$.s", type: "text" }
    },
    timestamp: { path: ["$.at"] }
  },
  child: { processingMode: "endpoint", extractionRules: { rssi: numeric("$.rssi"), battery: numeric("$.b") } },
  hub: { processingMode: "gateway", demuxStrategy: children("$.devices", "$.at") },
  ble: { processingMode: "gateway_chunked", chunkingConfig: {}, demuxStrategy: children("$.data.devices", "$.at") },
  rtu: {
    processingMode: "rtu_multiport",
    demuxStrategy: { portsPath: "$.ports" },
    extractionRules: { voltage: numeric("$.v"), current: numeric("$.a", { scale: 0.001 }) },
    timestamp: { path: ["$.at"] }
  }
}
const faulty: Readonly<Record<keyof typeof types, object>> = {
  sensor: {
    ...right.sensor,
    extractionRules: { temperature: numeric("$.t", { max: 600 }), humidty: numeric("$.h") },
    timestamp: { path: ["$.time"] }
  },
  child: {
    processingMode: "endpoint",
    extractionRules: { rssi: numeric("$.rsi"), bat: numeric("$.b", { scale: 10 }) }
  },
  hub: right.hub,
  ble: { ...right.ble, demuxStrategy: children("$.data.devices", "$.when") },
  rtu: { ...right.rtu, extractionRules: { voltage: numeric("$.v"), current: numeric("$.a") }, timestamp: {} }
}

const setUp = Effect.fnUntraced(function* (configs: ReadonlyArray<typeof right>, effectiveAt: number) {
  const sql = yield* OwnerSql
  yield* sql`insert into organizations (id, name, slug) values (${tenantId}, 'Test', ${tenantId})`
  for (const [name, id] of Object.entries(types)) {
    yield* sql`insert into device_types (id, tenant_id, name, published_version)
      values (${id}, ${tenantId}, ${name}, ${configs.length})`
    for (const [index, config] of configs.entries()) {
      yield* publishVersion({
        tenantId,
        deviceTypeId: id,
        number: index + 1,
        effectiveAt: effectiveAt + index,
        config: config[name as keyof typeof types]
      })
    }
  }
  for (const [name, id] of Object.entries(devices)) {
    const type = types[typeOf[name as keyof typeof devices]]
    yield* sql`insert into devices (id, tenant_id, name, device_type_id) values (${id}, ${tenantId}, ${name}, ${type})`
  }
})

/** What devices send in each of these minutes: late, doubled, ahead of time, without a metric, unreadable. */
const traffic = (random: () => number, from: number, minutes: number): ReadonlyArray<BusRecord> => {
  const records: Array<BusRecord> = []
  const any = (count: number) => Math.floor(random() * count)
  const at = (receivedAt: number): object => {
    const chance = random()
    if (chance < 0.1) return {}
    if (chance < 0.15) return { at: "yesterday" }
    const shift = chance < 0.2 ? 10 * minute : -any(180) * minute
    return { at: Math.floor((receivedAt + shift) / 1_000) }
  }
  const put = (device: string, receivedAt: number, payload: unknown) =>
    records.push(message({ tenantId, deviceId: device }, randomUUID(), receivedAt, payload))
  const beacons = (receivedAt: number, count: number) =>
    Array.from({ length: count }, () => ({ id: `beacon-${any(6)}`, rssi: -any(90), b: any(100), ...at(receivedAt) }))
  for (let step = 0; step < minutes; step++) {
    const now = from + step * minute
    for (const device of [devices.sensor1, devices.sensor2]) {
      const second = now + any(1_000_000)
      if (random() < 0.05) put(device, second, "{")
      else {
        const metrics = { t: any(900), ...(random() < 0.7 && { h: any(100) }), ...(random() < 0.1 && { s: "on" }) }
        put(device, second, { ...(random() < 0.95 ? metrics : { h: 1 }), ...at(second) })
      }
    }
    put(devices.hub, now + 2_000_000, { ...at(now), devices: beacons(now, 1 + any(4)) })
    put(devices.rtu, now + 3_000_000, {
      ...at(now),
      ports: [1, 2].map((port) => ({ port, v: any(240), a: any(9_000) }))
    })
    if (step % 3 === 0) {
      const total = 3
      const order = [1, 2, 3].toSorted(() => random() - 0.5)
      const correlationId = `m-${any(4)}`
      order.forEach((seq, index) => {
        const received = now + 4_000_000 + index * 200_000
        put(devices.ble, received, { correlationId, seq, total, data: { devices: beacons(now, 2) } })
      })
    }
  }
  return records.toSorted((one, other) => Number(one.headers["received-at"]) - Number(other.headers["received-at"]))
}

const inWorld = <A, E>(effect: Effect.Effect<A, E, Layer.Success<typeof pipelineWorld>>) =>
  Effect.scoped(Effect.flatMap(Layer.build(pipelineWorld), (context) => Effect.provideContext(effect, context)))

const stateOf = (jobId: string) =>
  Effect.flatMap(
    Effect.flatMap(
      OwnerSql,
      (sql) =>
        sql<{ state: string; progress: number; error: string | null }>`
        select state, progress::int, error from jobs where id = ${jobId}::uuid`
    ),
    ([row]) => (row === undefined ? Effect.die("no such job") : Effect.succeed(row))
  )

const slowly = ConfigProvider.layer(ConfigProvider.fromUnknown({ JOBS_MESSAGES_PER_SECOND: "400" }))

it.live(
  "reprocessing after a correction gives what the right rules would have given from the start, while live messages come and the worker restarts",
  () =>
    Effect.gen(function* () {
      const random = randomFrom(seed)
      const now = Date.now() * 1_000
      const hourAgo = now - 65 * minute
      const before = traffic(random, now - 185 * minute, 120)
      const live = yield* Deferred.make<ReadonlyArray<BusRecord>>()
      const published = (now - 400 * minute) / 1_000

      const expected = inWorld(
        Effect.gen(function* () {
          yield* setUp([faulty, right], published)
          yield* send(before)
          yield* send(yield* Deferred.await(live))
          return yield* stored
        })
      )

      const corrected = inWorld(
        Effect.gen(function* () {
          const jobs = yield* Jobs
          yield* setUp([faulty], published)
          yield* send(before)
          const wrong = yield* stored
          const sql = yield* OwnerSql
          for (const [name, id] of Object.entries(types)) {
            const config = right[name as keyof typeof types]
            yield* publishVersion({ tenantId, deviceTypeId: id, number: 2, effectiveAt: Date.now() + 2_000, config })
            yield* sql`update device_types set published_version = 2 where id = ${id}`
          }
          yield* Effect.sleep(2_500)
          const after = traffic(random, Date.now() * 1_000, 3)
          const asOf = Date.now() * 1_000
          const actor = { tenantId, userId: undefined }
          const asked: Array<string> = []
          for (const type of [types.sensor, types.rtu, types.child, types.ble, types.hub] as Array<DeviceTypeId>) {
            const { jobId } = yield* jobs.reprocess(actor, { deviceTypeId: type, from: 0, to: hourAgo, asOf })
            asked.push(jobId)
          }
          let worker = yield* Effect.forkChild(JobRunner.run("100 millis").pipe(Effect.provide(slowly)))
          const first = asked[0]!
          yield* until(
            "progress",
            Effect.map(stateOf(first), ({ progress }) => progress > 0)
          )
          yield* Fiber.interrupt(worker)
          const { progress, state } = yield* stateOf(first)
          assert.strictEqual(state, "running", "interrupted before its end")
          assert.isAbove(progress, 0)
          worker = yield* Effect.forkChild(JobRunner.run("100 millis"))
          yield* send(after)
          yield* Deferred.succeed(live, after)
          for (const jobId of asked) {
            yield* until(
              "the job's end",
              Effect.map(stateOf(jobId), ({ error, state }) => {
                assert.isNull(error)
                return state === "completed"
              })
            )
          }
          yield* Fiber.interrupt(worker)
          yield* settle
          return { wrong, result: yield* stored }
        })
      )

      const [there, here] = yield* Effect.all([expected, corrected], { concurrency: "unbounded" })
      assert.notDeepEqual(here.wrong.history, there.history)
      assertSameStored(here.result, there)
    }),
  120_000
)
