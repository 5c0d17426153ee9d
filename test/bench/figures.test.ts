import { assert, describe, it } from "@effect/vitest"
import { summary } from "../../bench/memory.ts"
import { readOptions, UsageError } from "../../bench/options.ts"
import { percentiles, Reservoir } from "../../bench/percentiles.ts"
import { recovery } from "../../bench/spike.ts"

const MEBIBYTE = 1_048_576

describe("figures of a benchmark", () => {
  it("tells memory that grows by 6 MB a minute from memory that swings around a level", () => {
    const samples = (bytesAt: (second: number) => number) =>
      Array.from({ length: 61 }, (_, second) => ({ atMillis: second * 1000, bytes: bytesAt(second) * MEBIBYTE }))
    const growing = summary(
      "growing",
      samples((second) => 100 + second / 10)
    )
    assert.closeTo(growing.slopeMegabytesPerMinute, 6, 0.001)
    assert.isBelow(growing.firstMegabytes, growing.lastMegabytes)
    const level = summary(
      "level",
      samples((second) => 100 + (second % 2 === 0 ? 20 : 0))
    )
    assert.closeTo(level.slopeMegabytesPerMinute, 0, 0.001)
    assert.deepStrictEqual([level.minMegabytes, level.maxMegabytes], [100, 120])
  })

  it("counts as recovered only from the second after the last bad one", () => {
    const seconds = [900, 40, 900, 30, 20].map((p99, second) => ({ second, p99 }))
    assert.strictEqual(recovery(seconds, 10), 3)
    assert.strictEqual(recovery(seconds.slice(3), 10), 0)
    assert.strictEqual(recovery(seconds.slice(0, 3), 10), undefined)
    assert.strictEqual(recovery([], 10), undefined)
    assert.strictEqual(recovery(seconds, 500), 0)
  })

  it("keeps an even choice of a long run's latencies in bounded memory", () => {
    const reservoir = new Reservoir(1_000)
    for (let value = 0; value < 100_000; value++) reservoir.add(value)
    assert.strictEqual(reservoir.values.length, 1_000)
    assert.closeTo(percentiles(reservoir.values).p50, 50_000, 10_000)
  })

  it("refuses what it does not know or cannot do, and says what it can", () => {
    const refusals = {
      "--durtion 5m": /Unknown option '--durtion'/,
      "--duration 5": /30s, 5m or 4h/,
      "--rate many": /--rate many: write a whole number/,
      "--bus redpanda": /embedded or kafka/,
      "--devices 100000": /--ingest webhook or --mqtt external/,
      "--ingest webhook --mqtt external": /exclude each other/,
      "--connections 5": /each device has one of its own/
    }
    for (const [words, message] of Object.entries(refusals)) {
      assert.throws(() => readOptions(words.split(" ")), message)
      assert.throws(() => readOptions(words.split(" ")), UsageError)
    }
    assert.isUndefined(readOptions(["--help"]))
    const far = readOptions(["--devices", "100000", "--mqtt", "external", "--duration", "4h"])
    assert.deepStrictEqual([far?.connections, far?.seconds], [1_000, 14_400])
  })
})
