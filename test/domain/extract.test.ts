import { compilePath } from "@argusiq/domain/json-path.ts"
import { encodeNormalized, MAX_METRICS_PER_READING } from "@argusiq/domain/normalize.ts"
import { MetricKey } from "@argusiq/domain/ids.ts"
import { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { isMetricKey, storableJson, storableText } from "@argusiq/domain/storable.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { JSONPath } from "jsonpath-plus"
import { normalize, poison, problemsOf, reading } from "./compiled.ts"

const Step = Schema.Union([
  Schema.Literals(["a", "b", "c d", "é", "x-1", "toString", "constructor", "hasOwnProperty", "7"]),
  Schema.Literals([0, 1, 2])
])
const nested = (leaves: ReadonlyArray<unknown>, depth: number): unknown =>
  depth === 0
    ? leaves[0]
    : depth % 2 === 0
      ? leaves.map((_, index) => nested(leaves.slice(index), depth - 1))
      : Object.fromEntries(
          ["a", "b", "c d", "é", "constructor", "7"].map((key, index) => [
            key,
            nested(leaves.slice(index % leaves.length), depth - 1)
          ])
        )
/** No text: the library reads `[0]` of it as its first character, which is no part of a message here. */
const Leaves = Schema.Array(Schema.Union([Schema.Finite, Schema.Boolean, Schema.Null])).check(
  Schema.isMinLength(1),
  Schema.isMaxLength(3)
)

const read = (path: string, root: unknown) => Result.getOrThrow(compilePath(path)).read(root)

describe("a path", () => {
  it.prop(
    "of names and indexes reads what the JSONPath library reads",
    {
      steps: Schema.Array(Step).check(Schema.isMaxLength(4)),
      leaves: Leaves,
      depth: Schema.Literals([1, 2, 3, 4]),
      quoted: Schema.Boolean
    },
    ({ depth, leaves, quoted, steps }) => {
      const path = `$${steps.map((step) => (typeof step === "number" ? `[${step}]` : quoted || step.includes(" ") ? `['${step}']` : `.${step}`)).join("")}`
      const root = nested(leaves, depth)
      if (typeof root !== "object" || root === null) return
      const [expected] = JSONPath({ path, json: root, eval: false, wrap: true }) as ReadonlyArray<unknown>
      assert.deepStrictEqual(read(path, root), expected ?? undefined)
    },
    { arbitrary: { runs: 2_000 } }
  )

  it("reaches nothing that is not in the message", () => {
    for (const path of [
      "$.constructor",
      "$.a.constructor.name",
      "$.toString",
      "$.list.length",
      "$.text.length",
      "$.text[0]",
      "$['valueOf']"
    ]) {
      assert.isUndefined(read(path, { a: {}, list: [1], text: "abc" }), path)
    }
    assert.strictEqual(read("$.constructor", JSON.parse('{"constructor":1}')), 1)
  })

  it("takes what stands in quotes as a name, whatever it looks like", () => {
    for (const name of ["*", "..", "?(@.a)", "(1+1)", "a.b", "$", "^", "~", "0:1", "a,b", ""]) {
      assert.strictEqual(read(`$['${name}']`, { [name]: 1, x: 2 }), 1, name)
      assert.isUndefined(read(`$..["${name}"]`, { x: [{ y: 2 }] }), name)
    }
  })

  it("that searches reads its first match, and as json all of them", () => {
    const root = { list: [{ t: 1 }, { t: 2 }, { u: 3 }] }
    assert.strictEqual(read("$.list[*].t", root), 1)
    assert.strictEqual(read("$..u", root), 3)
    assert.deepStrictEqual(read("$.list[-1:]", root), { u: 3 })
    const all = reading(root, { extractionRules: { t: { path: "$.list[*].t", type: "json" } } })
    assert.deepStrictEqual(all.metrics, { t: [1, 2] })
    assert.isUndefined(read("$.list[*].none", root))
    assert.isUndefined(read("$..u", 5))
  })

  it.each([
    ["temperature", "must start with $"],
    ["$.list[?(@.t>1)]", "filter or script"],
    ["$.list[(@.length-1)]", "filter or script"],
    ["$.a^", "is not a JSONPath"],
    ["$.a~", "is not a JSONPath"],
    ["$['a','b']", "union"],
    ["$[0,1]", "union"],
    ["$.__proto__.x", "__proto__"],
    ["$['__proto__']", "__proto__"],
    ["$..a..b", "only once"],
    ["$.", "is not a JSONPath"],
    ["$a", "is not a JSONPath"],
    ["$.a[", "is not a JSONPath"],
    ["$.a[1:9:0]", "is not a JSONPath"],
    [`$.${"a".repeat(500)}`, "longer than 500"]
  ])("%s is refused when the type is compiled", (path, why) => {
    const problems = problemsOf({ extractionRules: { a: { path, type: "numeric" } } })
    assert.include(problems, why)
    assert.include(problems, '$.extractionRules["a"].path')
  })
})

const rules = (count: number, path: string | ReadonlyArray<string>) => ({
  extractionRules: Object.fromEntries(
    Array.from({ length: count }, (_, index) => [`m${index}`, { path, type: "numeric" }])
  )
})
it("a type may have 16 paths that search, and 5,000 paths", () => {
  assert.strictEqual(problemsOf(rules(8, ["$..a", "$.b[*]", "$.c"])), "")
  assert.include(problemsOf(rules(9, ["$..a", "$.b[*]"])), "18 paths that search")
  assert.strictEqual(problemsOf(rules(2_500, ["$.a", "$.b"])), "")
  assert.include(problemsOf(rules(2_501, ["$.a", "$.b"])), "5002 paths")
})

const SearchStep = Schema.Literals([".a", "['c d']", "[0]", "[*]", ".*", "[1:]", "[-1:]", "[:1]"])
const Search = Schema.Struct({
  before: Schema.Array(SearchStep).check(Schema.isMaxLength(2)),
  descend: Schema.Literals(["", "..a", "..b", "..*"]),
  after: Schema.Array(SearchStep).check(Schema.isMaxLength(2)),
  leaves: Leaves,
  depth: Schema.Literals([1, 2, 3, 4])
})
it.prop(
  "a searching path finds what the JSONPath library finds, in its order",
  { given: Search },
  ({ given }) => {
    const path = `$${given.before.join("")}${given.descend}${given.after.join("")}`
    const root = nested(given.leaves, given.depth)
    const expected = JSONPath({ path, json: root as object, eval: false, wrap: true }) as ReadonlyArray<unknown>
    const found = Result.getOrThrow(compilePath(path, true)).read(root)
    const singular = !/\*|:|\.\./.test(path)
    assert.deepStrictEqual(singular ? found : (found ?? []), singular ? (expected[0] ?? undefined) : expected, path)
  },
  { arbitrary: { runs: 2_000 } }
)

describe("conversion", () => {
  it.each<[type: string, given: unknown, expected: unknown]>([
    ["numeric", 23.5, 23.5],
    ["numeric", "23.5", 23.5],
    ["numeric", " -1.5e3 ", -1500],
    ["numeric", ".5", 0.5],
    ["numeric", "", undefined],
    ["numeric", "12abc", undefined],
    ["numeric", "0x10", undefined],
    ["numeric", "1e999", undefined],
    ["numeric", "1_000", undefined],
    ["numeric", true, undefined],
    ["numeric", [1], undefined],
    ["boolean", true, true],
    ["boolean", 0, false],
    ["boolean", 1, true],
    ["boolean", "true", true],
    ["boolean", "false", false],
    ["boolean", 2, undefined],
    ["boolean", "yes", undefined],
    ["text", "on", "on"],
    ["text", "", ""],
    ["text", 1.5, "1.5"],
    ["text", false, "false"],
    ["text", {}, undefined],
    ["json", { x: [1, null] }, { x: [1, null] }],
    ["json", [], []],
    ["json", 1, 1],
    ["json", null, undefined]
  ])("to %s of %j is %j", (type, given, expected) => {
    const { metrics, skipped } = reading({ a: given }, { extractionRules: { a: { path: "$.a", type } } })
    assert.deepStrictEqual(metrics, expected === undefined ? {} : { a: expected as never })
    assert.strictEqual(skipped, expected === undefined ? 1 : 0)
  })

  it("scales, then offsets, then compares with min and max", () => {
    const rules = { a: { path: "$.a", type: "numeric", scale: 0.1, offset: -40, min: -40, max: 85 } }
    assert.deepStrictEqual(reading({ a: 600 }, { extractionRules: rules }).metrics, { a: 20 })
    assert.deepStrictEqual(reading({ a: "603" }, { extractionRules: rules }).metrics, { a: 20.3 })
    assert.isUndefined(reading({ a: 1250 }, { extractionRules: rules }).quality)
    assert.deepStrictEqual(reading({ a: 1251 }, { extractionRules: rules }).quality, { a: "bad" })
    assert.deepStrictEqual(reading({ a: -1 }, { extractionRules: rules }).quality, { a: "bad" })
  })

  it("takes the first alternative that is present, even when it is of the wrong type; null is not present", () => {
    const rules = { a: { path: ["$.metrics.a", "$.a"], type: "numeric" } }
    assert.deepStrictEqual(reading({ metrics: { a: 1 }, a: 2 }, { extractionRules: rules }).metrics, { a: 1 })
    assert.deepStrictEqual(reading({ a: 2 }, { extractionRules: rules }).metrics, { a: 2 })
    assert.deepStrictEqual(reading({ metrics: { a: null }, a: 2 }, { extractionRules: rules }).metrics, { a: 2 })
    assert.deepStrictEqual(reading({ metrics: { a: "x" }, a: 2 }, { extractionRules: rules }).metrics, {})
  })
})

describe("without rules", () => {
  it("each scalar under metrics counts and nothing beside it", () => {
    const given = reading({ deviceId: "x", metrics: { t: 1, on: true, s: "x", list: [] }, other: 2 })
    assert.deepStrictEqual(given.metrics, { t: 1, on: true, s: "x" })
    assert.strictEqual(given.skipped, 1)
  })
  it("at the top level the envelope's keys do not count", () => {
    const given = reading({
      deviceId: "x",
      ts: 1_767_225_600,
      timestamp: 1_767_225_600,
      messageId: "m",
      metadata: { site: "A" },
      t: 1
    })
    assert.deepStrictEqual(given.metrics, { t: 1 })
    assert.deepStrictEqual(given.metadata, { site: "A" })
    assert.strictEqual(given.skipped, 0)
  })
  it("under metrics they are metrics as any other", () => {
    assert.deepStrictEqual(reading({ metrics: { ts: 5 } }).metrics, { ts: 5 })
  })
  it("a message that is no object is ExtractionFailed", () => {
    for (const payload of ["[1]", "5", "null", '"x"', "true"])
      assert.strictEqual(poison(payload).reason, "ExtractionFailed")
  })
  it("a message without metrics is a reading without metrics", () => {
    assert.deepStrictEqual(reading("{}").metrics, {})
  })
})

it("metadata is made storable, and ignored when it is no object", () => {
  assert.deepStrictEqual(reading('{"metadata":{"a":"\\u0000"}}').metadata, { a: "\uFFFD" })
  assert.isUndefined(reading({ metadata: [1] }).metadata)
  assert.isUndefined(reading({ metadata: "x" }).metadata)
})

const AnyText = Schema.Array(
  Schema.Union([Schema.String, Schema.Literals(["\0", "\ud800", "\udc00", "a\ud83d\ude00"])])
)
it.prop(
  "made storable, any value holds neither NUL nor lone surrogates, and stays what it is when it held none",
  { value: Schema.Json, text: AnyText },
  ({ text, value }) => {
    const hostile = { [text.join("")]: [text.join(""), value] }
    const stored = JSON.stringify(storableJson(hostile))
    assert.isTrue(stored.isWellFormed())
    assert.notMatch(stored, /\\u0000|\\ud[89a-f]/)
    assert.strictEqual(storableText(text.join("")).length, text.join("").length)
    const clean = storableJson(value)
    if (!/\\u0000|\\ud[89a-f]|__proto__/.test(JSON.stringify(value))) assert.strictEqual(clean, value)
  }
)

it.prop("a key is a metric's key exactly when the schema says so", { text: AnyText }, ({ text }) => {
  const key = text.join("")
  return isMetricKey(key) === Schema.is(MetricKey)(key)
})

describe("splitting", () => {
  const Count = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1500 }))
  it.prop(
    "loses nothing, gives every part an id of its own, and is the same again",
    { count: Count },
    ({ count }) => {
      const payload = Object.fromEntries(
        Array.from({ length: count }, (_, index) => [`m${index}`, index % 3 === 0 ? `t${index}\0` : index])
      )
      const { readings } = Result.getOrThrow(normalize(payload)).message
      assert.strictEqual(readings.length, Math.ceil(count / MAX_METRICS_PER_READING))
      assert.strictEqual(new Set(readings.map((part) => part.readingId)).size, readings.length)
      const together = Object.assign({}, ...readings.map((part) => part.metrics))
      const expected = Object.fromEntries(
        Object.entries(payload).map(([key, value]) => [key, typeof value === "string" ? storableText(value) : value])
      )
      assert.deepStrictEqual(together, expected)
      for (const part of readings) {
        assert.isAtMost(Object.keys(part.metrics).length, MAX_METRICS_PER_READING)
        for (const [key, value] of Object.entries(part.metrics)) {
          assert.strictEqual(part.quality?.[key], typeof value === "string" ? "uncertain" : undefined)
        }
      }
      assert.deepStrictEqual(Result.getOrThrow(normalize(payload)).message.readings, readings)
    },
    { arbitrary: { runs: 40 } }
  )
})

it("a message on the bus is what its schema says", () => {
  const { message } = Result.getOrThrow(
    normalize({ timestamp: "?", metrics: { a: 1, b: "x" }, metadata: { c: [null] } })
  )
  const decoded: unknown = JSON.parse(new TextDecoder().decode(Result.getOrThrow(encodeNormalized(message))))
  assert.deepStrictEqual(Schema.decodeUnknownSync(NormalizedMessage)(decoded), message)
})

it("readings that have grown beyond what a record holds are RecordTooLarge", () => {
  const payload = `[${"1e20,".repeat(800_000)}1]`
  const rules = { extractionRules: { a: { path: "$", type: "json" } } }
  const { message } = Result.getOrThrow(normalize(payload, rules))
  const { limit, reason } = Result.getOrThrow(Result.flip(encodeNormalized(message)))
  assert.deepStrictEqual([reason, limit], ["RecordTooLarge", 15 * 1024 * 1024])
})

const ids = (payload: object) => Result.getOrThrow(normalize(payload)).message.readings.map((part) => part.readingId)

it("a redelivery without a timestamp is another reading, with one it is the same", () => {
  assert.deepStrictEqual(ids({ ts: 1_767_225_599, a: 1 }), ids({ ts: 1_767_225_599, a: 1 }))
  assert.notDeepEqual(ids({ ts: 1_767_225_599, a: 1 }), ids({ ts: 1_767_225_599, a: 2 }))
  assert.notDeepEqual(ids({ ts: 1_767_225_599, a: 1 }), ids({ ts: 1_767_225_598, a: 1 }))
})
