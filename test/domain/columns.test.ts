import { fromColumns, toColumns } from "@argusiq/domain/columns.ts"
import { assert, it } from "@effect/vitest"
import { Schema } from "effect"

const written = (value: unknown) => JSON.parse(JSON.stringify(value))
const comeBack = (values: ReadonlyArray<unknown>) =>
  assert.deepStrictEqual(fromColumns(written(toColumns(values))), written(values))

const Value = Schema.Union([Schema.Finite, Schema.String, Schema.Boolean, Schema.Null, Schema.Array(Schema.Boolean)])

it.prop("values come back as their JSON has them", { values: Schema.NonEmptyArray(Schema.Json) }, ({ values }) =>
  comeBack(values)
)

it.prop(
  "objects that are alike, or nearly, come back",
  {
    values: Schema.NonEmptyArray(
      Schema.Struct({
        id: Schema.Literals(["a", "b"]),
        ts: Schema.Int,
        metrics: Schema.Record(Schema.Literals(["t", "p"]), Value),
        more: Schema.Record(Schema.Literals(["constructor", "x"]), Schema.Union([Schema.Undefined, Value])),
        quality: Schema.optionalKey(Schema.Union([Schema.Undefined, Schema.Literal("bad")]))
      })
    )
  },
  ({ values }) => comeBack(values),
  { arbitrary: { runs: 500 } }
)

it("a key that JavaScript takes for the prototype comes back as a key", () => {
  const values = [1, 2].map((value) => JSON.parse(`{"metrics": {"__proto__": ${value}}}`))
  comeBack(values)
  assert.strictEqual(JSON.stringify(fromColumns(toColumns(values))), JSON.stringify(values))
})

it("what all have in common stands once", () => {
  const values = Array.from({ length: 16 }, (_, ts) => ({ ts, assetId: "0a4ff6", metrics: { temperature: ts / 8 } }))
  assert.strictEqual(JSON.stringify(toColumns(values)).match(/0a4ff6|temperature/g)?.length, 2)
})
