/**
 * How fast the bridge reads a mosquitto that has a backlog: reader, checks and the embedded log, without the rest of the
 * pipeline and without publishers at the same time. `node bench/broker-reader.ts [messages]`
 */
import { readBroker } from "@argusiq/bridge/external/BrokerReader.ts"
import * as Ingest from "@argusiq/bridge/Ingest.ts"
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { ConfigProvider, Effect, Layer } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Mosquitto } from "../test/support/components/mosquitto.ts"
import { eventually } from "../test/support/PlatformProcess.ts"
import { cpuMicros } from "../test/support/processes.ts"
import { spawnLoad } from "./spawnLoad.ts"

const wanted = Number(process.argv[2] ?? 200_000)
const directory = mkdtempSync(join(tmpdir(), "argusiq-bench-reader-"))
const devices = Array.from({ length: 200 }, (_, index) => ({
  id: `018f3c1e-0000-7000-8000-${String(index).padStart(12, "0")}`,
  key: `key-${index}`
}))

const known = new Map(
  devices.map(({ id }) => {
    const profile = {
      deviceId: id,
      tenantId: "018f3c1e-2222-7222-8222-222222222222",
      deviceTypeId: id,
      status: "active"
    }
    return [id, profile as DeviceProfile]
  })
)
/** All devices are in memory, as after a moment of running. */
const profiles = Layer.mock(Profiles, {
  cachedDevice: (id) => known.get(id),
  devices: () => Effect.succeed(known)
})

const publish = (port: number, seconds: number) =>
  spawnLoad({ target: { _tag: "Connections", port }, devices, metrics: 10, window: 20, phases: [{ seconds }] })

const stored = Effect.gen(function* () {
  const bus = yield* Bus
  let records = 0
  for (let partition = 0; partition < bus.partitions; partition++) {
    records += Number((yield* bus.range({ topic: Topics.raw, partition })).end)
  }
  return records
})

const measure = Effect.gen(function* () {
  const broker = yield* Effect.acquireRelease(
    Effect.promise(async () => (await Mosquitto.prepare({ devices })).start()),
    (one) => Effect.promise(() => one.dispose())
  )
  const read = readBroker.pipe(
    Effect.provide(
      ConfigProvider.layer(
        ConfigProvider.fromUnknown({ MQTT_URL: broker.url, MQTT_SHARED: "true", MQTT_CLIENT_ID: "bench" })
      )
    )
  )
  // So that the broker keeps what is published from now on.
  yield* Effect.scoped(
    Effect.flatMap(read, ({ state }) =>
      Effect.promise(() => eventually("reading", 10, () => (state()._tag === "Reading" ? true : undefined)))
    )
  )
  let waiting = 0
  while (waiting < wanted) waiting += (yield* Effect.promise(() => publish(broker.port, 5))).acknowledged
  const cpu = () => ({ bridge: process.cpuUsage(), broker: cpuMicros(broker.pid) })
  const before = cpu()
  const startedAt = performance.now()
  yield* read
  while ((yield* stored) < waiting) yield* Effect.sleep(2)
  const seconds = (performance.now() - startedAt) / 1000
  const bridge = process.cpuUsage(before.bridge)
  console.table([
    {
      messages: waiting,
      "msg/s": Math.round(waiting / seconds),
      "µs/msg bridge": ((bridge.user + bridge.system) / waiting).toFixed(1),
      "µs/msg broker": ((cpu().broker - before.broker) / waiting).toFixed(1)
    }
  ])
})

const layer = Ingest.layer.pipe(
  Layer.provideMerge(LocalBus.layer({ directory: join(directory, "bus") })),
  Layer.provideMerge(profiles),
  // Nothing is refused here, so nothing is told to the database.
  Layer.provideMerge(Layer.succeed(PipelineSql, undefined as never))
)

try {
  await Effect.runPromise(Effect.scoped(Effect.provide(measure, layer)))
} finally {
  rmSync(directory, { recursive: true, force: true })
}
