/**
 * What this machine can do at most at each of the things that a message needs, each alone.
 * @module
 */
import * as BusAdapter from "@argusiq/layers/bus/BusAdapter.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { ConfigProvider, Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { Mosquitto } from "../test/support/components/mosquitto.ts"
import { PlatformProcess } from "../test/support/PlatformProcess.ts"
import { cpuMicros } from "../test/support/processes.ts"
import { publishing, rate, rawRecords } from "./append.ts"
import { batchesOf, freshDatabase, prepareTables, storeReadings, storingCost } from "./database.ts"
import { fsyncMillis } from "./fsync.ts"
import { messageWriter, normalizedMessage, nowMicros } from "./messages.ts"
import { type Options } from "./options.ts"
import { type Percentiles } from "./percentiles.ts"
import { spawnLoad } from "./spawnLoad.ts"
import { targetOfLoneBroker, WEBHOOK_SECRET, type World } from "./world.ts"

export interface Limit {
  readonly what: string
  readonly perSecond: number
  /** Of the processes that do it, without the load generator. */
  readonly cpuMicrosEach: number
}

const SECONDS = 4
const FRAMES = 60_000
const BATCH = 500

const jsonParse = (metrics: number): Limit => {
  const write = messageWriter(metrics)
  const payloads = Array.from({ length: 1_000 }, (_, index) => write(index, nowMicros()))
  const decoder = new TextDecoder()
  const cpu = process.cpuUsage()
  const start = performance.now()
  let parsed = 0
  while (performance.now() - start < 1_000) {
    for (const payload of payloads) JSON.parse(decoder.decode(payload))
    parsed += payloads.length
  }
  const { system, user } = process.cpuUsage(cpu)
  return {
    what: "JSON.parse of the messages",
    perSecond: (parsed * 1_000) / (performance.now() - start),
    cpuMicrosEach: (system + user) / parsed
  }
}

/** Through the layer that the platform has, into topics of its own. */
const busAppend = (directory: string, kafka: string | undefined) => {
  const config = {
    ARGUSIQ_DATA_DIR: directory,
    ...(kafka !== undefined && { KAFKA_BROKERS: kafka, KAFKA_PREFIX: "limit." })
  }
  return Effect.map(rate(SECONDS, 4, publishing(rawRecords(), BATCH)), ({ cpuMicrosEach, perSecond }): Limit => ({
    what: `appends to ${kafka === undefined ? "the embedded log, flushed" : "Kafka"}, ${BATCH} records a call`,
    perSecond,
    cpuMicrosEach
  })).pipe(
    Effect.provide(
      BusAdapter.layerConfig.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(config))))
    ),
    Effect.scoped
  )
}

/** The frames of the run's messages, by the statement and in the role of the telemetry-writer. */
const inserts = (devices: number, metrics: number) => {
  const tenantId = randomUUID()
  const deviceTypeId = randomUUID()
  const deviceIds = Array.from({ length: devices }, () => randomUUID())
  const write = messageWriter(metrics)
  const decoder = new TextDecoder()
  const messageOf = (index: number) => {
    const receivedAt = nowMicros() + index
    const { metrics, timestamp } = JSON.parse(decoder.decode(write(index, receivedAt)))
    const deviceId = deviceIds[index % devices]
    return normalizedMessage({ tenantId, deviceId, deviceTypeId, ts: timestamp, receivedAt, metrics })
  }
  return Effect.gen(function* () {
    yield* prepareTables(tenantId)
    const batches = batchesOf(FRAMES, BATCH, messageOf)
    const { nodeMicrosEach, perSecond, serverMicrosEach } = yield* storingCost(batches, storeReadings)
    const limit: Limit = {
      what: `unnest inserts of the frames as argusiq_pipeline, ${BATCH} a statement`,
      perSecond,
      cpuMicrosEach: nodeMicrosEach + serverMicrosEach
    }
    return limit
  }).pipe(Effect.provide(Layer.provideMerge(TelemetryStore.layer, freshDatabase("limits"))), Effect.scoped)
}

/** Publishing to a platform that only takes messages in, or to a mosquitto that nobody reads. The platform of the world must be stopped. */
const takingIn = async (world: World, options: Options): Promise<Limit> => {
  const { devices, platform } = world
  const { metrics, window } = options
  const phases = [{ seconds: SECONDS * 2 }]
  const published = async (what: string, target: World["target"], pid: number): Promise<Limit> => {
    const cpu = cpuMicros(pid)
    const load = await spawnLoad({ target, devices, metrics, window, phases })
    const started = load.phases[0]?.startedAtMicros ?? 0
    return {
      what,
      perSecond: (load.acknowledged * 1e6) / (load.lastAcknowledgedAtMicros - started),
      cpuMicrosEach: (cpuMicros(pid) - cpu) / load.acknowledged
    }
  }
  if (options.mqtt === "external") {
    const broker = await Mosquitto.prepare({ devices: [] })
    try {
      await broker.start()
      const target = await targetOfLoneBroker(world, options, broker)
      return await published("mosquitto alone, that nobody reads", target, broker.pid)
    } finally {
      await broker.dispose()
    }
  }
  const bridge = await PlatformProcess.prepare({
    dataDirectory: platform.dataDirectory,
    services: ["bridge"],
    env: { WEBHOOK_SECRET }
  })
  try {
    await bridge.start(180)
    return world.target._tag === "Webhook"
      ? await published("webhook with the embedded log alone", { ...world.target, url: bridge.url }, bridge.pid)
      : await published(
          "MQTT listener with the embedded log alone",
          { _tag: "Connections", port: bridge.mqttPort },
          bridge.pid
        )
  } finally {
    await bridge.stop()
  }
}

/** Stops the platform of the world: each limit is measured alone. */
export const measureLimits = async (
  world: World,
  options: Options
): Promise<{ readonly limits: ReadonlyArray<Limit>; readonly fsyncMillis: Percentiles }> => {
  await world.platform.stop()
  const { dataDirectory } = world.platform
  const fsync = fsyncMillis(dataDirectory)
  const append = await Effect.runPromise(busAppend(join(dataDirectory, "limits"), world.kafka?.addresses))
  const insert = await Effect.runPromise(inserts(options.devices, options.metrics))
  const taking = await takingIn(world, options)
  return { limits: [taking, append, insert, jsonParse(options.metrics)], fsyncMillis: fsync }
}
