import type { LogStorage } from "@argusiq/layers/bus/local/LogStorage.ts"
import { openLmdb } from "@argusiq/layers/bus/local/LmdbStorage.ts"
import { assert, it } from "@effect/vitest"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { open } from "lmdb"
import { randomFrom } from "../../support/random.ts"

const CHUNK_BYTES = 8_388_608

it("LMDB never makes its file grow where space is allocated ahead, whatever is written", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  console.log(`seed ${seed} (SEED=${seed} repeats it)`)
  const random = randomFrom(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  const directory = mkdtempSync(join(tmpdir(), "argusiq-lmdb-"))
  const storage = openLmdb(directory, { plentyBytes: Infinity })
  try {
    const size = () => statSync(join(directory, "log.mdb")).size
    const empty = size()
    const ends = Array.from({ length: 100 }, () => 0)
    const starts = ends.map(() => 0)
    for (let round = 0; round < 60; round++) {
      const largest = [60, 500, 3_000, 300_000][below(4)] ?? 60
      const records = Math.min(5_000, Math.ceil(12_000_000 / largest))
      const removes = random() < 0.2
      await storage.commit((writes) => {
        for (let written = below(records); written >= 0; written--) {
          const slot = below(100)
          if (!removes) writes.put(slot, ends[slot]!++, Buffer.alloc(1 + below(largest)))
          else {
            const from = starts[slot]!
            starts[slot] = Math.min(ends[slot]!, from + 1 + below(50))
            if (from < starts[slot]) writes.remove(slot, from, starts[slot])
          }
        }
        for (let slot = 0; slot < 100; slot++) writes.note(`partition/${slot}`, `${round} ${"n".repeat(below(3_000))}`)
      })
      assert.strictEqual((size() - empty) % CHUNK_BYTES, 0, `after commit ${round}`)
    }
    for (const [slot, start] of starts.entries()) {
      const offsets: Array<number> = []
      storage.scan(slot, start, Number.MAX_SAFE_INTEGER, (offset) => offsets.push(offset) > 0)
      assert.deepStrictEqual(
        offsets,
        Array.from({ length: ends[slot]! - start }, (_, index) => start + index)
      )
    }
  } finally {
    await storage.close()
    rmSync(directory, { recursive: true })
  }
})

const withDirectory = async (use: (directory: string) => Promise<void>) => {
  const directory = mkdtempSync(join(tmpdir(), "argusiq-lmdb-"))
  try {
    await use(directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const textsOf = (storage: LogStorage, slot: number, from: number, to: number, most = Infinity) => {
  const texts: Array<string> = []
  storage.scan(slot, from, to, (offset, bytes) => {
    texts.push(`${offset} ${Buffer.from(bytes).toString()}`)
    return texts.length < most
  })
  return texts
}

const numbered = (slot: number, from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => `${from + index} \0${slot}/${from + index}`)

const put = (storage: LogStorage, slot: number, from: number, to: number) =>
  storage.commit((writes) => {
    for (let offset = from; offset < to; offset++) writes.put(slot, offset, Buffer.from(`\0${slot}/${offset}`))
  })

it("LMDB reads on from any record, wherever blocks of them begin, and not into other slots", () =>
  withDirectory(async (directory) => {
    const storage = openLmdb(directory)
    let end = 0
    for (const count of [1, 7, 3_000, 1, 40]) {
      for (const slot of [3, 4, 5]) await put(storage, slot, end, end + count)
      end += count
    }
    for (const [from, to] of [
      [0, end],
      [1, 2],
      [7, 9],
      [2_000, 2_005],
      [3_007, end],
      [end - 1, end],
      [end, end + 5]
    ] as const) {
      assert.deepStrictEqual(textsOf(storage, 4, from, to), numbered(4, from, Math.min(to, end)), `${from} to ${to}`)
    }
    assert.deepStrictEqual(textsOf(storage, 4, 5, end, 2), numbered(4, 5, 7), "until the visitor has enough")
    assert.deepStrictEqual(textsOf(storage, 2, 0, end), [])
    assert.deepStrictEqual(textsOf(storage, 6, 0, end), [])
    await storage.close()
  }))

it("LMDB frees what is removed, a block when its last record goes", () =>
  withDirectory(async (directory) => {
    const storage = openLmdb(directory)
    const keysLeft = () => {
      const root = open({ path: join(directory, "log.mdb"), noSubdir: true, maxDbs: 4, readOnly: true })
      return root.openDB({ name: "records", encoding: "binary", keyEncoding: "binary" }).getKeysCount()
    }
    for (const from of [0, 10, 20]) await put(storage, 1, from, from + 10)
    await put(storage, 2, 0, 10)
    const after: Array<number> = []
    for (const [from, to] of [
      [0, 4],
      [4, 9],
      [9, 10],
      [10, 25],
      [25, 30]
    ] as const) {
      await storage.commit((writes) => writes.remove(1, from, to))
      after.push(keysLeft())
      assert.deepStrictEqual(textsOf(storage, 1, to, 30), numbered(1, to, 30), `without those below ${to}`)
    }
    assert.deepStrictEqual(after, [4, 4, 3, 2, 1])
    assert.deepStrictEqual(textsOf(storage, 2, 0, 10), numbered(2, 0, 10), "another slot keeps its own")
    await storage.close()
  }))

it("LMDB reads and removes records that were stored one by one, and those after them", () =>
  withDirectory(async (directory) => {
    const root = open({ path: join(directory, "log.mdb"), noSubdir: true, maxDbs: 4 })
    const records = root.openDB<Buffer, Buffer>({ name: "records", encoding: "binary", keyEncoding: "binary" })
    for (let offset = 0; offset < 5; offset++) {
      const key = Buffer.alloc(12)
      key.writeUInt32BE(1, 0)
      key.writeUInt32BE(offset, 8)
      await records.put(key, Buffer.from(`\0${1}/${offset}`))
    }
    await root.close()
    const storage = openLmdb(directory)
    await put(storage, 1, 5, 9)
    assert.deepStrictEqual(textsOf(storage, 1, 0, 9), numbered(1, 0, 9))
    assert.deepStrictEqual(textsOf(storage, 1, 3, 7), numbered(1, 3, 7))
    await storage.commit((writes) => writes.remove(1, 0, 3))
    assert.deepStrictEqual(textsOf(storage, 1, 0, 9), numbered(1, 3, 9), "each by itself")
    await storage.close()
  }))
