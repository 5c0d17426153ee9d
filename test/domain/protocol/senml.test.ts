import { encode } from "cborg"
import { assert, describe, it } from "@effect/vitest"
import { document, refusal, utf8 } from "./decoding.ts"

interface Resolved {
  readonly device: string
  readonly timestamp?: number
  readonly metrics: Readonly<Record<string, unknown>>
  readonly series: ReadonlyArray<unknown>
  readonly records: ReadonlyArray<unknown>
}

const senml = (pack: unknown) => document("senml", utf8(JSON.stringify(pack))) as Resolved
const why = (pack: unknown) => refusal("senml", utf8(JSON.stringify(pack)))

describe("SenML", () => {
  it("RFC 8428, section 5.1.1: one value", () => {
    const { device, metrics, records } = senml([{ n: "urn:dev:ow:10e2073a01080063", u: "Cel", v: 23.1 }])
    assert.deepStrictEqual(records, [{ n: "urn:dev:ow:10e2073a01080063", u: "Cel", v: 23.1 }])
    assert.deepStrictEqual([device, metrics], ["", { "urn:dev:ow:10e2073a01080063": 23.1 }])
  })

  /** RFC 8428, section 5.1.2: base name, time and unit; the current at six instants. */
  const current = [
    { bn: "urn:dev:ow:10e2073a0108006:", bt: 1.276020076001e9, bu: "A", bver: 5, n: "voltage", u: "V", v: 120.1 },
    { n: "current", t: -5, v: 1.2 },
    { n: "current", t: -4, v: 1.3 },
    { n: "current", t: -3, v: 1.4 },
    { n: "current", t: -2, v: 1.5 },
    { n: "current", t: -1, v: 1.6 },
    { n: "current", v: 1.7 }
  ]

  it("RFC 8428, section 5.1.2: base values are resolved and instants kept apart", () => {
    const { metrics, records, series, timestamp } = senml(current)
    assert.deepStrictEqual(records[0], {
      n: "urn:dev:ow:10e2073a0108006:voltage",
      u: "V",
      v: 120.1,
      t: 1_276_020_076.001
    })
    assert.deepStrictEqual(records[1], {
      n: "urn:dev:ow:10e2073a0108006:current",
      u: "A",
      v: 1.2,
      t: 1_276_020_071.001
    })
    assert.deepStrictEqual([timestamp, metrics], [1_276_020_076.001, { voltage: 120.1, current: 1.7 }])
    assert.strictEqual(series.length, 6)
    assert.deepStrictEqual(series[1], {
      device: "urn:dev:ow:10e2073a0108006:",
      timestamp: 1_276_020_071.001,
      metrics: { current: 1.2 }
    })
  })

  it("RFC 8428, section 6: the CBOR form with its labels says the same", () => {
    const labels = new Map<string, number>([
      ["bver", -1],
      ["bn", -2],
      ["bt", -3],
      ["bu", -4],
      ["n", 0],
      ["u", 1],
      ["v", 2],
      ["t", 6]
    ])
    const pack = current.map(
      (record) => new Map(Object.entries(record).map(([key, value]) => [labels.get(key)!, value]))
    )
    assert.deepStrictEqual(document({ kind: "senml", format: "cbor" }, encode(pack)), senml(current))
  })

  it("takes strings, booleans, data, sums and base values, and leaves relative times to received-at", () => {
    const { metrics, timestamp } = senml([
      { bn: "d:", bv: 20, bs: 100, n: "t", v: 3 },
      { n: "text", vs: "on" },
      { n: "flag", vb: false },
      { n: "blob", vd: "aGk" },
      { n: "energy", s: 5, t: -10 }
    ])
    assert.deepStrictEqual([metrics["t"], metrics["text"], metrics["flag"], metrics["blob"]], [23, "on", false, "aGk"])
    assert.isUndefined(timestamp)
  })

  it.each<[string, unknown]>([
    ["is no array", {}],
    ["has a record that is none", [7]],
    ["has a later version", [{ bver: 11, n: "a", v: 1 }]],
    ["has a field that must be understood", [{ n: "a", v: 1, x_: 1 }]],
    ["has two values in one record", [{ n: "a", v: 1, vb: true }]],
    ["has no value", [{ n: "a" }]],
    ["has no name", [{ v: 1 }]],
    ["has a name that is not allowed", [{ n: "a b", v: 1 }]],
    ["has a value of the wrong type", [{ n: "a", v: "1" }]]
  ])("refuses a pack that %s", (_, pack) => {
    assert.strictEqual(why(pack).reason, "Undecodable")
  })
})
