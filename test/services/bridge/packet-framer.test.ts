import { PacketFramer, type PacketSink } from "@argusiq/bridge/mqtt/PacketFramer.ts"
import { assert, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { packet } from "./support.ts"

const LIMIT = 100_000
class Collector implements PacketSink {
  readonly framer = new PacketFramer(this)
  readonly packets: Array<string> = []
  refused = 0
  reserved: Array<number> = []
  limit() {
    return LIMIT
  }
  tooLarge() {
    this.refused++
  }
  reserve(length: number) {
    this.reserved.push(length)
    this.framer.hold()
  }
  packet(header: number, body: Buffer) {
    this.packets.push(`${header}:${body.toString("latin1")}`)
  }
}

const Cases = Schema.Struct({
  lengths: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40_000 }))).check(
    Schema.isMaxLength(6)
  ),
  cuts: Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 30_000 })))
})

it.effect.prop(
  "gives the same packets however the bytes are cut and whenever it is held",
  { cases: Cases },
  ({ cases }) =>
    Effect.sync(() => {
      const bodies = cases.lengths.map((length, index) => Buffer.alloc(length, `${index}abc`))
      const bytes = Buffer.concat(bodies.map((body) => packet(0x30, body)))
      const collector = new Collector()
      for (let at = 0, cut = 0; at < bytes.length; cut++) {
        const size = cases.cuts[cut % cases.cuts.length]!
        collector.framer.feed(bytes.subarray(at, at + size))
        at += size
        if (cut % 3 === 0) collector.framer.resume()
      }
      for (const _ of bodies) collector.framer.resume()
      assert.deepStrictEqual(
        collector.packets,
        bodies.map((body) => `48:${body.toString("latin1")}`)
      )
      assert.isFalse(collector.framer.amid)
    }),
  { arbitrary: { runs: 200 } }
)

it("refuses an announced length above the limit with none of its bytes, and looks at nothing after it", () => {
  const collector = new Collector()
  const start = packet(0x30, Buffer.alloc(LIMIT + 1)).subarray(0, 4)
  collector.framer.feed(start)
  assert.strictEqual(collector.refused, 1)
  collector.framer.feed(packet(0x30, Buffer.from("x")))
  assert.deepStrictEqual(collector.packets, [])
  assert.deepStrictEqual(collector.reserved, [])
})
