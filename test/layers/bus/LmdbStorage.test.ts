import { openLmdb } from "@argusiq/layers/bus/local/LmdbStorage.ts"
import { assert, it } from "@effect/vitest"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
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
          else if (starts[slot]! < ends[slot]!) writes.remove(slot, starts[slot]!++)
        }
        for (let slot = 0; slot < 100; slot++) writes.note(`partition/${slot}`, `${round} ${"n".repeat(below(3_000))}`)
      })
      assert.strictEqual((size() - empty) % CHUNK_BYTES, 0, `after commit ${round}`)
    }
    for (const [slot, start] of starts.entries()) {
      const offsets: Array<number> = []
      storage.scan(slot, 0, Number.MAX_SAFE_INTEGER, (offset) => offsets.push(offset) > 0)
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
