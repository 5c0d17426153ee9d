import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { normalize, poison, problemsOf } from "./compiled.ts"

const accepts = (messageSchema: object, payload: object | string) =>
  Result.isSuccess(normalize(payload, { messageSchema }))
const problems = (messageSchema: object) => problemsOf({ messageSchema })

describe("a message that does not match is SchemaMismatch", () => {
  it("with the path of what is wrong", () => {
    const messageSchema = {
      type: "object",
      required: ["metrics"],
      properties: { metrics: { type: "object", properties: { t: { type: "number" } }, additionalProperties: false } }
    }
    assert.isTrue(accepts(messageSchema, { metrics: { t: 1 } }))
    const wrong = poison({ metrics: { t: "x" } }, { messageSchema })
    assert.deepStrictEqual([wrong.reason, wrong.path], ["SchemaMismatch", "/metrics/t"])
    assert.include(wrong.message, "must be number")
    assert.strictEqual(poison({}, { messageSchema }).path, "")
    assert.include(poison({ metrics: { x: 1 } }, { messageSchema }).message, '"x"')
  })

  it("in words that can be stored, and not too many of them, whatever the message names its properties", () => {
    const messageSchema = { additionalProperties: { type: "string" } }
    const { message, path } = poison(`{"a\\u0000\\ud800${"x".repeat(5_000)}":1}`, { messageSchema })
    for (const text of [message, path!]) {
      assert.isTrue(text.isWellFormed())
      assert.notInclude(text, "\0")
      assert.isBelow(text.length, 1_500)
    }
  })

  it("also when it is infinite", () => {
    assert.isFalse(accepts({ properties: { a: { type: "number" } } }, '{"a":1e999}'))
  })
})

it("the keywords of 2020-12 work: references, prefixItems, dependentRequired, unevaluatedProperties", () => {
  const messageSchema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "https://example.com/sensor",
    $defs: { "a/b ~": { type: "number" } },
    properties: { a: { $ref: "#/$defs/a~1b%20~0" }, pair: { prefixItems: [{ type: "number" }], items: false } },
    dependentRequired: { a: ["pair"] },
    unevaluatedProperties: false
  }
  assert.isTrue(accepts(messageSchema, { a: 1, pair: [1] }))
  assert.isFalse(accepts(messageSchema, { a: 1 }))
  assert.isFalse(accepts(messageSchema, { a: "x", pair: [1] }))
  assert.isFalse(accepts(messageSchema, { a: 1, pair: [1, 2] }))
  assert.isFalse(accepts(messageSchema, { a: 1, pair: [1], z: 1 }))
})

it("a property named as a keyword is a property", () => {
  const messageSchema = {
    properties: {
      $ref: { type: "number" },
      const: { type: "number" },
      $id: { type: "number" },
      uniqueItems: { type: "boolean" }
    }
  }
  assert.strictEqual(problems(messageSchema), "")
  assert.isFalse(accepts(messageSchema, { $ref: "x" }))
  assert.strictEqual(problems({ const: { $ref: "https://example.com", $id: "x" }, enum: [{ $ref: 1 }] }), "")
})

it("format is an annotation", () => {
  assert.isTrue(accepts({ properties: { a: { type: "string", format: "date-time" } } }, { a: "no date" }))
})

describe("patterns", () => {
  it("find anywhere in the text, as the specification has it", () => {
    const messageSchema = { properties: { a: { pattern: "b+" } }, patternProperties: { "^x-\\d": { type: "number" } } }
    assert.isTrue(accepts(messageSchema, { a: "abbc", "x-1": 1 }))
    assert.isFalse(accepts(messageSchema, { a: "ac" }))
    assert.isFalse(accepts(messageSchema, { "x-1": "1" }))
  })

  it("that would run for years by backtracking come to an end", () => {
    assert.isFalse(accepts({ properties: { a: { pattern: "^(a+)+$" } } }, { a: `${"a".repeat(5_000)}!` }))
  })

  it("match no text of more than 10,000 units", () => {
    assert.isTrue(accepts({ properties: { a: { pattern: "^a*$" } } }, { a: "a".repeat(10_000) }))
    assert.isFalse(accepts({ properties: { a: { pattern: "^a*$" } } }, { a: "a".repeat(10_001) }))
  })

  it.each([["(?=a)b"], ["(a)\\1"], ["("], ["a{1,100000}"]])("%s is refused when the type is compiled", (pattern) => {
    assert.include(problems({ properties: { a: { pattern } } }), "cannot be compiled")
  })
})

/** Doubles with every level: 2^levels subschemas when expanded. */
const doubling = (levels: number) => ({
  $ref: "#/$defs/d0",
  $defs: Object.fromEntries(
    Array.from({ length: levels }, (_, level) => {
      const next = level === levels - 1 ? { type: "object" } : { $ref: `#/$defs/d${level + 1}` }
      return [`d${level}`, { allOf: [next, next] }]
    })
  )
})
const deep = (levels: number): object => (levels === 0 ? {} : { properties: { a: deep(levels - 1) } })

describe("a schema is refused when the type is compiled", () => {
  it.each<[why: string, schema: object, message: string]>([
    ["refers to another document", { $ref: "https://example.com/s.json" }, "within the schema"],
    ["refers to a file", { properties: { a: { $ref: "file:///etc/passwd" } } }, "within the schema"],
    ["refers to nothing", { $ref: "#/$defs/none" }, "leads nowhere"],
    ["refers to what objects inherit", { $ref: "#/constructor" }, "leads nowhere"],
    ["refers by a malformed escape", { $ref: "#/%E0%A4%A" }, "leads nowhere"],
    ["recurses", { properties: { a: { $ref: "#" } } }, "refers to itself"],
    ["recurses without end", { $ref: "#" }, "refers to itself"],
    [
      "recurses over two definitions",
      { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { items: { $ref: "#/$defs/a" } } } },
      "refers to itself"
    ],
    ["refers dynamically", { $dynamicRef: "#x" }, "not supported"],
    ["has anchors", { $defs: { a: { $anchor: "x" } } }, "not supported"],
    ["has an id inside", { properties: { a: { $id: "https://example.com/x" } } }, "at the top only"],
    ["is of another dialect", { $schema: "http://json-schema.org/draft-07/schema#" }, "2020-12"],
    ["is too long", { description: "x".repeat(70_000) }, "longer than"],
    ["is too deep", deep(40), "levels deep"],
    ["expands without measure", doubling(30), "subschemas"],
    ["is too wide", { allOf: Array.from({ length: 501 }, () => ({})) }, "subschemas"],
    ["compares with thousands of values", { enum: Array.from({ length: 6_000 }, (_, index) => index) }, "subschemas"],
    ["compares every item with every other", { items: { uniqueItems: true } }, "maxItems"],
    ["misspells a keyword", { propertys: {} }, "propertys"],
    ["is not JSON Schema", { type: "float" }, "not valid JSON Schema"],
    ["asks for $data", { properties: { a: { maximum: { $data: "1/b" } } } }, "not valid JSON Schema"]
  ])("that %s", (_, schema, message) => {
    assert.include(problems(schema), message)
    assert.include(problems(schema), "$.messageSchema")
  })

  it("a small array of unique items is fine", () => {
    const messageSchema = { properties: { a: { uniqueItems: true, maxItems: 1000 } } }
    assert.isFalse(accepts(messageSchema, { a: [{ x: 1 }, { x: 1 }] }))
    assert.isTrue(accepts(messageSchema, { a: [1, 2] }))
  })
})

const payload = (items: number) => `[${"1,".repeat(items)}1]`

it("a message may be the smaller the larger its schema is", () => {
  const messageSchema = { items: { allOf: Array.from({ length: 400 }, (_, index) => ({ maximum: 1e9 + index })) } }
  const extractionRules = { a: { path: "$[0]", type: "numeric" } }
  assert.isTrue(Result.isSuccess(normalize(payload(60_000), { messageSchema, extractionRules })))
  assert.include(poison(payload(100_000), { messageSchema, extractionRules }).message, "too large to be checked")
})

it("no text in a schema becomes code", () => {
  const hostile = [
    '"];globalThis.pwned=1;//',
    "`${globalThis.pwned=1}`",
    "'+(globalThis.pwned=1)+'",
    "*/globalThis.pwned=1/*",
    "\u2028globalThis.pwned=1",
    'a\\";globalThis.pwned=1//'
  ]
  for (const text of hostile) {
    const escaped = text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")
    const messageSchema = {
      $id: `https://example.com/${encodeURIComponent(text)}`,
      $comment: text,
      title: text,
      $defs: { [text]: { const: text } },
      properties: { [text]: { enum: [text, { [text]: text }], default: text, examples: [text] } },
      patternProperties: { [escaped]: { not: { const: text } } },
      dependentRequired: { [text]: [text] },
      dependentSchemas: { [text]: { required: [text] } },
      required: [text],
      additionalProperties: false
    }
    problems(messageSchema)
    normalize({ [text]: text }, { messageSchema: { ...messageSchema, patternProperties: {} } })
    normalize({ other: text }, { messageSchema: { ...messageSchema, patternProperties: {} } })
  }
  assert.notProperty(globalThis, "pwned")
})

it("a type keeps its own schema: two with the same $id do not meet", () => {
  const $id = "https://example.com/same"
  assert.isTrue(accepts({ $id, properties: { a: { type: "number" } } }, { a: 1 }))
  assert.isFalse(accepts({ $id, properties: { a: { type: "string" } } }, { a: 1 }))
})
