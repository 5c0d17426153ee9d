import { compareTold, isSameJson } from "@argusiq/domain/fold-told.ts"
import { assert, describe, it } from "@effect/vitest"

describe("what was told against what is told", () => {
  it("is the same where its JSON is, whatever the order of keys", () => {
    assert.isTrue(isSameJson({ a: 1, b: [{ c: null }, "x"] }, { b: [{ c: null }, "x"], a: 1 }))
    assert.isTrue(isSameJson(NaN, NaN))
    for (const [left, right] of [
      [{ a: 1 }, { a: 2 }],
      [{ a: 1 }, { a: 1, b: 2 }],
      [
        { a: 1, b: 2 },
        { a: 1, c: 2 }
      ],
      [{ toString: 1 }, { a: 1 }],
      [[1, 2], [1]],
      [[], {}],
      [{}, null],
      [1, "1"],
      [false, undefined]
    ]) {
      assert.isFalse(isSameJson(left, right), JSON.stringify([left, right]))
      assert.isFalse(isSameJson(right, left), JSON.stringify([right, left]))
    }
  })

  it("names what is another and what is not the case any more", () => {
    const before = new Map([
      ["same", { value: [1] }],
      ["other", { value: [1] }],
      ["gone", { value: [1] }]
    ])
    const after = new Map([
      ["same", { value: [1] }],
      ["other", { value: [2] }],
      ["added", { value: [3] }]
    ])
    const { changed, retracted } = compareTold(before, after)
    assert.deepStrictEqual([...changed.keys()], ["other", "added"])
    assert.deepStrictEqual(retracted, ["gone"])
  })
})
