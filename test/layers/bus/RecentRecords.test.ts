import { type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { RecentRecords } from "@argusiq/layers/bus/local/RecentRecords.ts"
import { assert, describe, it } from "@effect/vitest"

const record = (offset: number): StoredRecord => ({
  topic: "t",
  partition: 0,
  offset: BigInt(offset),
  appendedAt: offset,
  key: "k",
  headers: {},
  value: new Uint8Array()
})
const offsets = (records: ReadonlyArray<StoredRecord> | undefined) => records?.map(({ offset }) => Number(offset))

describe("the recent records of a partition", () => {
  it("are the newest that fit into the bound, however many came", () => {
    const recent = new RecentRecords(1_000)
    for (let offset = 5; offset < 10_000; offset++) {
      recent.add(offset, record(offset), 100)
      const oldest = Math.max(5, offset - 9)
      assert.strictEqual(recent.at(oldest)?.appendedAt, oldest)
      assert.isUndefined(recent.at(oldest - 1))
      assert.isUndefined(recent.at(offset + 1))
    }
    assert.deepStrictEqual(
      offsets(recent.read(9_990, 10_000, 100, 10_000)),
      [9_990, 9_991, 9_992, 9_993, 9_994, 9_995, 9_996, 9_997, 9_998, 9_999]
    )
  })

  it("are read within bounds of offset, count and bytes, one at least", () => {
    const recent = new RecentRecords(10_000)
    for (let offset = 0; offset < 20; offset++) recent.add(offset, record(offset), 100)
    assert.deepStrictEqual(offsets(recent.read(3, 6, 100, 10_000)), [3, 4, 5])
    assert.deepStrictEqual(offsets(recent.read(3, 20, 2, 10_000)), [3, 4])
    assert.deepStrictEqual(offsets(recent.read(3, 20, 100, 250)), [3, 4])
    assert.deepStrictEqual(offsets(recent.read(3, 20, 100, 10)), [3])
    assert.isUndefined(recent.read(20, 30, 100, 10_000))
  })

  it("of a partition whose offsets jumped are those after the jump", () => {
    const recent = new RecentRecords(10_000)
    recent.add(0, record(0), 100)
    recent.add(7, record(7), 100)
    assert.isUndefined(recent.at(0))
    assert.deepStrictEqual(offsets(recent.read(7, 8, 100, 10_000)), [7])
  })

  it("hold no record that is larger than the bound", () => {
    const recent = new RecentRecords(1_000)
    recent.add(0, record(0), 5_000)
    recent.add(1, record(1), 10)
    assert.isUndefined(recent.at(0))
    assert.deepStrictEqual(offsets(recent.read(1, 2, 10, 10)), [1])
  })

  it("are without those that everybody has handled; what comes later is kept", () => {
    const recent = new RecentRecords(10_000)
    for (let offset = 0; offset < 5; offset++) recent.add(offset, record(offset), 100)
    recent.dropBefore(3)
    assert.isUndefined(recent.at(2))
    assert.deepStrictEqual(offsets(recent.read(3, 5, 10, 10_000)), [3, 4])
    recent.dropBefore(1)
    recent.dropBefore(Infinity)
    assert.isUndefined(recent.at(4))
    recent.add(5, record(5), 100)
    assert.deepStrictEqual(offsets(recent.read(5, 6, 10, 10_000)), [5])
  })
})
