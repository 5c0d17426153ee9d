/**
 * What the embedded bus can do on this machine: appends in small and large publishes, reads, consumption, and what a flush
 * costs. `node bench/bus.ts [seconds per row]`
 */
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { layer } from "@argusiq/layers/bus/local/LocalBus.ts"
import { Topics, topicTable } from "@argusiq/domain/topics.ts"
import { Effect, Fiber, Stream } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { publishing, rate, rawRecords } from "./append.ts"
import { fsyncMillis } from "./fsync.ts"

const seconds = Number(process.argv[2] ?? 3)
const directory = mkdtempSync(join(process.env["BENCH_DIRECTORY"] ?? tmpdir(), "argusiq-bench-bus-"))
const record = rawRecords()

const main = Effect.gen(function* () {
  const bus = yield* Bus
  const rows: Record<string, unknown> = {}
  const tell = (calls: number, count: number) =>
    Effect.map(rate(seconds, calls, publishing(record, count)), ({ cpuMicrosEach, perSecond }) => {
      rows[`publish of ${count}, ${calls} at a time`] = {
        "per second": Math.round(perSecond),
        "CPU µs each": cpuMicrosEach
      }
    })
  yield* tell(1, 1)
  yield* tell(1_000, 1)
  yield* tell(1, 500)
  yield* tell(4, 500)

  let read = 0
  const start = performance.now()
  yield* Effect.forEach(
    Array.from({ length: bus.partitions }, (_, partition) => partition),
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
  const { p50, p99 } = fsyncMillis(directory)
  console.log(
    `fdatasync of 4 KiB: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms; record value ${record().value.length} bytes`
  )
})

await main
  .pipe(
    Effect.provide(layer({ directory: join(directory, "bus"), topics: topicTable.values() })),
    Effect.scoped,
    Effect.runPromise
  )
  .finally(() => rmSync(directory, { recursive: true }))
