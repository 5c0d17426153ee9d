/**
 * How fast a bus takes records, over and over for some seconds.
 * @module
 */
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Effect } from "effect"
import { messageWriter } from "./messages.ts"

const device = (index: number) => `018f3c1e-0000-7000-8000-${String(index % 1_000).padStart(12, "0")}`

/** Raw records of 1,000 devices in turns, as the bridge makes them of messages of ten metrics. */
export const rawRecords = () => {
  const value = messageWriter(10)(0, 1_700_000_000_000_000)
  let sequence = 0
  return (): BusRecord => {
    const key = device(sequence++)
    return {
      topic: Topics.raw,
      key,
      value,
      headers: {
        "message-id": "018f3c1e-1111-7111-8111-111111111111",
        "tenant-id": "018f3c1e-2222-7222-8222-222222222222",
        "device-id": key,
        "received-at": "1700000000000000",
        source: "mqtt",
        "content-type": "application/json",
        "mqtt-topic": "v1/telemetry/018f3c1e/device",
        "client-id": "client"
      }
    }
  }
}

/** Publishes `count` records of `record` in one call; answers the count. */
export const publishing = (record: () => BusRecord, count: number) =>
  Effect.flatMap(Bus, (bus) => Effect.as(bus.publish(Array.from({ length: count }, record)), count))

/** Runs `once`, which says how much it did, for some seconds on a number of fibers. */
export const rate = <E, R>(seconds: number, fibers: number, once: Effect.Effect<number, E, R>) =>
  Effect.gen(function* () {
    const start = performance.now()
    const cpu = process.cpuUsage()
    const end = start + seconds * 1_000
    let done = 0
    yield* Effect.forEach(
      Array.from({ length: fibers }),
      () =>
        once.pipe(
          Effect.tap((count) => Effect.sync(() => (done += count))),
          Effect.repeat({ while: () => performance.now() < end })
        ),
      { concurrency: "unbounded", discard: true }
    )
    const { user, system } = process.cpuUsage(cpu)
    return { perSecond: (done * 1_000) / (performance.now() - start), cpuMicrosEach: (user + system) / done }
  })
