import { effectiveVersion } from "@argusiq/domain/effective.ts"
import { ProcessingMode } from "@argusiq/domain/envelope.ts"
import { route, servedModes } from "@argusiq/domain/route.ts"
import { topicTable } from "@argusiq/domain/topics.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"

describe("a processing mode", () => {
  it.each([...ProcessingMode.literals])(
    "%s has its topic, or is UnknownProcessingMode while no service reads it",
    (mode) => {
      const routed = route(mode)
      assert.strictEqual(Result.isSuccess(routed), servedModes.has(mode))
      if (Result.isSuccess(routed)) assert.isTrue(topicTable.has(routed.success))
      else assert.strictEqual(routed.failure.reason, "UnknownProcessingMode")
    }
  )

  it("endpoint goes to the normalizer", () => {
    assert.strictEqual(Result.getOrThrow(route("endpoint")), "telemetry.endpoint.v1")
  })

  it.each(["", "mesh", "toString", "Endpoint"])("%j is UnknownProcessingMode", (mode) => {
    assert.strictEqual(Result.getOrThrow(Result.flip(route(mode))).reason, "UnknownProcessingMode")
  })
})

describe("the effective version", () => {
  const versions = [{ effectiveAt: 100 }, { effectiveAt: 200 }, { effectiveAt: 300 }]
  it.each([
    [-5, 100],
    [99, 100],
    [100, 100],
    [199, 100],
    [200, 200],
    [299, 200],
    [300, 300],
    [9e15, 300]
  ])("at %d is that of %d", (at, expected) => {
    assert.strictEqual(effectiveVersion(versions, at)?.effectiveAt, expected)
  })

  it("does not exist without versions", () => {
    assert.isUndefined(effectiveVersion([], 5))
  })

  const Instants = Schema.Array(Schema.Int).check(Schema.isMinLength(1))
  it.prop(
    "is the last that began by then, of several at once the last published, else the first",
    { instants: Instants, at: Schema.Int },
    ({ at, instants }) => {
      const published = instants.toSorted((a, b) => a - b).map((effectiveAt, number) => ({ effectiveAt, number }))
      return (
        effectiveVersion(published, at) === (published.findLast((version) => version.effectiveAt <= at) ?? published[0])
      )
    }
  )
})
