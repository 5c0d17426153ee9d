import protobuf from "protobufjs/minimal.js"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { decoded, hex, refusal } from "./decoding.ts"

/** Field numbers and datatypes of the schema in the Sparkplug 3.0 specification, section 6.4.1 (sparkplug_b.proto). */
interface Metric {
  readonly name?: string
  readonly alias?: number
  readonly datatype?: number
  readonly int?: number
  readonly long?: string
  readonly float?: number
  readonly double?: number
  readonly bool?: boolean
  readonly text?: string
  readonly isNull?: boolean
  readonly time?: number
  readonly template?: ReadonlyArray<Metric>
}

const writeMetric = (writer: protobuf.Writer, metric: Metric): protobuf.Writer => {
  if (metric.name !== undefined) writer.uint32(10).string(metric.name)
  if (metric.alias !== undefined) writer.uint32(16).uint64(metric.alias)
  if (metric.time !== undefined) writer.uint32(24).uint64(metric.time)
  if (metric.datatype !== undefined) writer.uint32(32).uint32(metric.datatype)
  if (metric.isNull !== undefined) writer.uint32(56).bool(metric.isNull)
  if (metric.int !== undefined) writer.uint32(80).uint32(metric.int)
  if (metric.long !== undefined) writer.uint32(88).uint64(metric.long)
  if (metric.float !== undefined) writer.uint32(101).float(metric.float)
  if (metric.double !== undefined) writer.uint32(105).double(metric.double)
  if (metric.bool !== undefined) writer.uint32(112).bool(metric.bool)
  if (metric.text !== undefined) writer.uint32(122).string(metric.text)
  if (metric.template !== undefined) {
    writer.uint32(146).fork()
    for (const inner of metric.template) writeMetric(writer.uint32(18).fork(), inner).ldelim()
    writer.ldelim()
  }
  return writer
}

const payload = (seq: number | undefined, ...metrics: ReadonlyArray<Metric>): Uint8Array => {
  const writer = protobuf.Writer.create().uint32(8).uint64(1_486_144_502_122)
  for (const metric of metrics) writeMetric(writer.uint32(18).fork(), metric).ldelim()
  if (seq !== undefined) writer.uint32(24).uint64(seq)
  return writer.finish()
}

const metricsOf = (root: unknown) => (root as { readonly metrics: Readonly<Record<string, unknown>> }).metrics

const birth = payload(
  0,
  { name: "bdSeq", datatype: 8, long: "0" },
  { name: "Inputs/Temp", alias: 1, datatype: 9, float: 20.5 },
  { name: "Counter", alias: 2, datatype: 3, int: 4_294_967_295 },
  { name: "Node Control/Rebirth", alias: 3, datatype: 11, bool: false }
)

describe("Sparkplug B", () => {
  it("reads a birth by names and what follows by its aliases", () => {
    const born = decoded("sparkplug_b", birth)
    assert.deepStrictEqual(metricsOf(born.root), {
      bdSeq: 0,
      "Inputs/Temp": 20.5,
      Counter: -1,
      "Node Control/Rebirth": false
    })
    const data = decoded(
      "sparkplug_b",
      payload(1, { alias: 2, int: 4_294_967_294 }, { alias: 1, isNull: true }),
      born.aliases
    )
    assert.deepStrictEqual(metricsOf(data.root), { Counter: -2, "Inputs/Temp": null })
    assert.strictEqual(data.aliases, born.aliases)
    assert.strictEqual((data.root as { timestamp: number }).timestamp, 1_486_144_502_122)
  })

  it("adds a device's birth to its node's names, and forgets all at the node's next birth", () => {
    const born = decoded("sparkplug_b", birth)
    const device = decoded(
      "sparkplug_b",
      payload(1, { name: "Press", alias: 9, datatype: 10, double: 1.5 }),
      born.aliases
    )
    assert.deepStrictEqual(Object.keys(device.aliases!), ["1", "2", "3", "9"])
    const again = decoded(
      "sparkplug_b",
      payload(0, { name: "bdSeq", long: "1" }, { name: "New", alias: 1, datatype: 12, text: "x" }),
      device.aliases
    )
    assert.deepStrictEqual(again.aliases, { "1": { name: "New", datatype: 12 } })
    assert.deepStrictEqual(Object.keys(born.aliases!), ["1", "2", "3"])
  })

  it("survives being stored as JSON between two messages", () => {
    const born = JSON.parse(JSON.stringify(decoded("sparkplug_b", birth).aliases))
    assert.deepStrictEqual(metricsOf(decoded("sparkplug_b", payload(1, { alias: 1, float: 1 }), born).root), {
      "Inputs/Temp": 1
    })
  })

  it("refuses an alias that no birth named, with the field", () => {
    const { path, reason } = refusal("sparkplug_b", payload(4, { alias: 77, int: 1 }), {})
    assert.deepStrictEqual([reason, path], ["Undecodable", "alias 77"])
  })

  it.prop(
    "numbers of each width and texts come back",
    { long: Schema.Int, double: Schema.Finite, text: Schema.String },
    ({ double, long, text }) => {
      const written = payload(
        1,
        { name: "l", datatype: 4, long: BigInt.asUintN(64, BigInt(long)).toString() },
        { name: "d", datatype: 10, double },
        { name: "t", datatype: 12, text: text.toWellFormed() },
        { name: "i8", datatype: 1, int: long & 0xff }
      )
      const metrics = metricsOf(decoded("sparkplug_b", written).root)
      assert.deepStrictEqual(
        [metrics["l"], metrics["d"], metrics["t"]],
        [long === 0 ? 0 : long, double, text.toWellFormed()]
      )
      assert.strictEqual(metrics["i8"], (long << 24) >> 24)
    },
    { arbitrary: { runs: 200 } }
  )

  it("reads templates as objects and bounds their nesting", () => {
    const nest = (depth: number): Metric => ({
      name: "t",
      template: [depth === 0 ? { name: "v", int: 1, datatype: 7 } : nest(depth - 1)]
    })
    assert.deepStrictEqual(metricsOf(decoded("sparkplug_b", payload(1, nest(1))).root), { t: { t: { v: 1 } } })
    assert.strictEqual(refusal("sparkplug_b", payload(1, nest(40))).reason, "PayloadTooDeep")
  })

  it.each<[string, string]>([
    ["a metric longer than the payload", "12ffffff7f"],
    ["a length of four gibibytes", "12ffffffff0f"],
    ["a name longer than its metric", "12040a7f6161"],
    ["a varint without end", "08ffffffffffffffffffffff"],
    ["a group", "0b0b0b0b"],
    ["a field without a number", "0000"],
    ["a cut double", "120969000000"]
  ])("refuses %s", (_, text) => {
    assert.strictEqual(refusal("sparkplug_b", hex(text)).reason, "Undecodable")
  })

  it("bounds how many metrics there are", () => {
    const { reason } = refusal("sparkplug_b", hex("1200".repeat(20_000)))
    assert.strictEqual(reason, "TooManyMetrics")
  })
})
