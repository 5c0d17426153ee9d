/**
 * What the embedded bus can do on this machine: appends in small and large publishes, reads, consumption, and what a flush
 * costs. `node bench/bus.ts [seconds per row]`
 */
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { layer } from "@argusiq/layers/bus/local/LocalBus.ts"
import { PARTITIONS, Topics, topicTable } from "@argusiq/domain/topics.ts"
import { Effect, Fiber, Stream } from "effect"
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const seconds = Number(process.argv[2] ?? 3)
const directory = mkdtempSync(join(process.env["BENCH_DIRECTORY"] ?? tmpdir(), "argusiq-bench-bus-"))
const value = Buffer.from(
  JSON.stringify({
    ts: 1_700_000_000_000,
    metrics: Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`metric_${i}`, i * 1.25]))
  })
)
const device = (i: number) => `018f3c1e-0000-7000-8000-${String(i % 1_000).padStart(12, "0")}`
let sequence = 0
const record = (): BusRecord => ({
  topic: Topics.raw,
  key: device(sequence++),
  value,
  headers: {
    "message-id": "018f3c1e-1111-7111-8111-111111111111",
    "tenant-id": "018f3c1e-2222-7222-8222-222222222222",
    "device-id": device(sequence),
    "received-at": "1700000000000000",
    source: "mqtt",
    "content-type": "application/json",
    "mqtt-topic": "v1/telemetry/018f3c1e/device",
    "client-id": "client"
  }
})

const flushes = (): { p50: number; p99: number } => {
  const file = openSync(join(directory, "flush"), "w")
  const page = Buffer.alloc(4_096)
  const times = Array.from({ length: 500 }, (_, i) => {
    const start = performance.now()
    writeSync(file, page, 0, page.length, i * page.length)
    fdatasyncSync(file)
    return performance.now() - start
  }).toSorted((a, b) => a - b)
  closeSync(file)
  return { p50: times[250] as number, p99: times[495] as number }
}

/** Runs `once`, which says how much it did, for some seconds on a number of fibers. */
const rate = <E, R>(fibers: number, once: Effect.Effect<number, E, R>) =>
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
    return {
      "per second": Math.round((done * 1_000) / (performance.now() - start)),
      "CPU µs each": (user + system) / done
    }
  })

const main = Effect.gen(function* () {
  const bus = yield* Bus
  const rows: Record<string, unknown> = {}
  const publish = (count: number) =>
    Effect.suspend(() => Effect.as(bus.publish(Array.from({ length: count }, record)), count))
  rows["publish of 1, 1 at a time"] = yield* rate(1, publish(1))
  rows["publish of 1, 1,000 at a time"] = yield* rate(1_000, publish(1))
  rows["publish of 500, 1 at a time"] = yield* rate(1, publish(500))
  rows["publish of 500, 4 at a time"] = yield* rate(4, publish(500))

  let read = 0
  const start = performance.now()
  yield* Effect.forEach(
    Array.from({ length: PARTITIONS }, (_, partition) => partition),
    (partition) =>
      bus
        .read({ topic: Topics.raw, partition }, 0n, BigInt(Number.MAX_SAFE_INTEGER))
        .pipe(Stream.runForEachArray((records) => Effect.sync(() => (read += records.length)))),
    { discard: true }
  )
  rows["read"] = { "per second": Math.round((read * 1_000) / (performance.now() - start)) }

  let handled = 0
  let onHandled: (() => void) | undefined
  const before = performance.now()
  const reader = yield* bus
    .subscribe(
      { group: "bench", topics: [Topics.raw], maxRecords: 2_000, maxBytes: 16_777_216, maxWaitMillis: 5 },
      (batch) =>
        Effect.sync(() => {
          handled += batch.records.length
          onHandled?.()
        })
    )
    .pipe(Effect.forkChild)
  while (handled < read) yield* Effect.sleep(5)
  rows["handled by a group"] = { "per second": Math.round((handled * 1_000) / (performance.now() - before)) }

  const latencies: Array<number> = []
  for (let i = 0; i < 300; i++) {
    const start = performance.now()
    const delivered = new Promise<void>((resolve) => (onHandled = resolve))
    yield* bus.publish([record()])
    yield* Effect.promise(() => delivered)
    latencies.push(performance.now() - start)
    yield* Effect.sleep(10)
  }
  latencies.sort((a, b) => a - b)
  yield* Fiber.interrupt(reader)
  console.table(rows)
  console.log(`publish to handled, idle: p50 ${latencies[150]?.toFixed(2)} ms, p99 ${latencies[297]?.toFixed(2)} ms`)
  const { p50, p99 } = flushes()
  console.log(
    `fdatasync of 4 KiB: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms; record value ${value.length} bytes`
  )
})

await main
  .pipe(
    Effect.provide(layer({ directory: join(directory, "bus"), topics: topicTable.values() })),
    Effect.scoped,
    Effect.runPromise
  )
  .finally(() => rmSync(directory, { recursive: true }))
