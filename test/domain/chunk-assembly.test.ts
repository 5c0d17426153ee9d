import { ChunkAssembly, type Whole } from "@argusiq/domain/chunk-assembly.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { bytes, compiled, deviceId, deviceTypeId, receivedAt } from "./compiled.ts"

const type = compiled({
  processingMode: "gateway_chunked",
  chunkingConfig: {},
  demuxStrategy: {
    childDevicesPath: "$.data.devices",
    childDeviceIdPath: "$.id",
    autoCreateChildren: true,
    childDeviceTypeId: deviceTypeId
  }
})
const chunked = { ...type, chunking: type.chunking! }
const second = 1_000_000

const chunk = (correlationId: string, seq: number, total = 3, mark = 0) =>
  bytes({ correlationId, seq, total, data: { devices: [{ id: `${correlationId}/${seq}/${mark}` }] } })

/** The wholes of chunks that come a second apart. */
const wholesOf = (payloads: ReadonlyArray<Uint8Array>, apart = second) => {
  const assembly = new ChunkAssembly(deviceId)
  return payloads.flatMap((payload, index): ReadonlyArray<Whole> => {
    const added = Result.getOrThrow(assembly.add(chunked, payload, receivedAt + index * apart))
    return added === undefined ? [] : [added]
  })
}
const idsIn = ({ payload }: Whole) =>
  (JSON.parse(Buffer.from(payload).toString()) as { data: { devices: Array<{ id: string }> } }).data.devices.map(
    ({ id }) => id
  )

describe("chunks put together again", () => {
  it("give the same whole in whichever order they were received, interleaved and repeated", () => {
    const orders = [
      [1, 2, 3],
      [3, 2, 1],
      [2, 2, 3, 3, 1]
    ]
    for (const order of orders) {
      const wholes = wholesOf(order.flatMap((seq) => [chunk("a", seq), chunk("b", seq)]))
      assert.deepStrictEqual(
        wholes.map(({ correlationId }) => correlationId),
        ["a", "b"]
      )
      for (const whole of wholes) {
        const { correlationId } = whole
        assert.deepStrictEqual(
          idsIn(whole),
          [1, 2, 3].map((seq) => `${correlationId}/${seq}/0`)
        )
      }
      assert.strictEqual(wholes[0]?.startedAt, receivedAt)
      assert.strictEqual(wholes[0]?.receivedAt, receivedAt + (order.length * 2 - 2) * second)
    }
  })

  it("are another whole when a correlation id is used again", () => {
    const wholes = wholesOf([0, 1].flatMap((mark) => [1, 2, 3].map((seq) => chunk("a", seq, 3, mark))))
    assert.deepStrictEqual(
      wholes.map(({ generation }) => generation),
      [1, 2]
    )
    assert.deepStrictEqual(idsIn(wholes[1]!), ["a/1/1", "a/2/1", "a/3/1"])
  })

  it("are none when the others come after their time", () => {
    assert.lengthOf(wholesOf([chunk("a", 1), chunk("a", 2), chunk("a", 3)], 50 * second), 0)
    assert.lengthOf(wholesOf([chunk("a", 1), chunk("a", 2), chunk("a", 3)], 40 * second), 1)
  })

  it("that contradict each other are refused, and the others go on", () => {
    const assembly = new ChunkAssembly(deviceId)
    const add = (payload: Uint8Array) => assembly.add(chunked, payload, receivedAt)
    assert.isTrue(Result.isSuccess(add(chunk("a", 1))))
    const refused = add(chunk("a", 1, 3, 1))
    assert.isTrue(Result.isFailure(refused) && refused.failure.reason === "ChunkContradiction")
    assert.isTrue(Result.isFailure(add(bytes("{"))))
    add(chunk("a", 2))
    assert.isDefined(Result.getOrThrow(add(chunk("a", 3))))
  })
})
