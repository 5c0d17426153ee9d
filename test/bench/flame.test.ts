import { assert, describe, it } from "@effect/vitest"
import { flame, framesOf, type Profile } from "../../bench/flame.ts"

const node = (id: number, functionName: string, children: ReadonlyArray<number> = [], url = "") => ({
  id,
  callFrame: { functionName, url, lineNumber: 9 },
  children
})

/** `work` calls `parse` twice from two places; nothing runs for 40 of 140 µs. */
const profile: Profile = {
  nodes: [
    node(1, "(root)", [2, 3, 5]),
    node(2, "(idle)"),
    node(3, "work", [4], "file:///home/me/checkout/services/bridge/work.ts"),
    node(4, 'parse<"a">', [], "file:///home/me/checkout/node_modules/pg/parse.js"),
    node(5, "work", [6], "file:///home/me/checkout/services/bridge/work.ts"),
    node(6, 'parse<"a">', [], "file:///home/me/checkout/node_modules/pg/parse.js")
  ],
  samples: [2, 3, 4, 6, 5],
  timeDeltas: [40, 30, 20, 30, 20]
}

describe("the flame picture", () => {
  it("puts the same function under the same callers into one frame, without the time in which nothing ran", () => {
    const root = framesOf(profile)
    assert.strictEqual(root.total, 100)
    const work = root.children.get("work services/bridge/work.ts:10")
    assert.strictEqual(root.children.size, 1)
    assert.deepStrictEqual([work?.self, work?.total], [50, 100])
    const parse = work?.children.get('parse<"a"> pg/parse.js:10')
    assert.deepStrictEqual([parse?.self, parse?.total], [50, 50])
  })

  it("leaves out the time before the given instant", () => {
    assert.strictEqual(framesOf(profile, 90).total, 50)
  })

  it("names places without the directories of the machine, and escapes what a function may be called", () => {
    const picture = flame(profile)
    assert.notInclude(picture, "/home/me")
    assert.include(picture, "parse&lt;&quot;a&quot;&gt; pg/parse.js:10: 50.0 %, of its own 50.0 %")
    assert.notMatch(picture, /parse<"/)
  })

  it("leaves out what takes less than 0.3 % of the busy time", () => {
    const rare: Profile = {
      nodes: [node(1, "(root)", [2, 3]), node(2, "often"), node(3, "rarely")],
      samples: [2, 3],
      timeDeltas: [9_980, 20]
    }
    assert.include(flame(rare), "often")
    assert.notInclude(flame(rare), "rarely")
  })
})
