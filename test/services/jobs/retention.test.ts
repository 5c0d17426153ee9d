import { assert, describe, it } from "@effect/vitest"
import { expiredPartitions, type Limits } from "../../../services/jobs/retention.ts"

const partition = (from: number, bytes: number) => ({ name: `p${from}`, from, to: from + 10, bytes })
const names = (partitions: ReadonlyArray<{ readonly name: string }>) => partitions.map(({ name }) => name)
/** Half open: p0 is [0, 10). */
const partitions = [partition(20, 4), partition(0, 4), partition(10, 4), partition(30, 4), partition(40, 0)]

describe("retention", () => {
  const cases: ReadonlyArray<readonly [string, Limits, number, ReadonlyArray<string>]> = [
    ["keeps a partition whose last instant is still kept", { keep: 25 }, 34, []],
    ["drops one when all of it is older", { keep: 25 }, 35, ["p0"]],
    ["drops all that are older, oldest first", { keep: 5 }, 35, ["p0", "p10", "p20"]],
    ["drops the oldest until the rest is within the cap", { keep: 1000, maxBytes: 9 }, 35, ["p0", "p10"]],
    ["drops nothing at the cap", { keep: 1000, maxBytes: 16 }, 35, []],
    ["keeps the one being written, whatever the cap", { keep: 1000, maxBytes: 0 }, 35, ["p0", "p10", "p20"]],
    ["keeps the one being written, with no time to keep", { keep: 0 }, 35, ["p0", "p10", "p20"]],
    ["counts what goes by age towards the cap", { keep: 25, maxBytes: 12 }, 35, ["p0"]]
  ]
  for (const [name, limits, now, dropped] of cases) {
    it(name, () => assert.deepStrictEqual(names(expiredPartitions(partitions, limits, now)), dropped))
  }
})
