import { readFileSync } from "node:fs"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { publicationFaults } from "@argusiq/domain/device-type-trial.ts"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { everydayFunctions } from "@argusiq/domain/expression/everyday-functions.ts"
import { refusedFunctions } from "@argusiq/domain/expression/functions.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { receivedAt } from "../compiled.ts"

const document = readFileSync(new URL("../../../docs/expressions.md", import.meta.url), "utf8")

describe("docs/expressions.md", () => {
  it("shows expressions that can be saved, all but those named compiled", () => {
    const [, block] = /^```\n([^]*?)^```$/m.exec(document)!
    const lines = block!.trim().split("\n")
    assert.isAtLeast(lines.length, 5)
    const sandboxed = lines.filter((line) => Result.getOrThrow(parseExpression(line)).run === undefined)
    assert.deepStrictEqual(sandboxed, ["samples[value > 2].value ~> $sum"])
  })

  it("shows a device type whose vectors hold", () => {
    const [, json] = /^```json\n([^]*?)^```$/m.exec(document)!
    assert.deepStrictEqual(
      publicationFaults(Schema.decodeUnknownSync(DeviceTypeConfig)(JSON.parse(json!)), receivedAt),
      []
    )
  })

  it("names the functions that are compiled and those that are left out", () => {
    const [, compiled] = /`(\$abs [^`]*)`/.exec(document)!
    const namesIn = (text: string) => [...text.matchAll(/\$(\w+)/g)].map(([, name]) => name!)
    assert.sameMembers(namesIn(compiled!), [...everydayFunctions.keys()])
    const [, leftOut] = /## What is left out\n([^]*?)\n## /.exec(document)!
    assert.sameMembers(namesIn(leftOut!), [...refusedFunctions.keys()])
  })
})
