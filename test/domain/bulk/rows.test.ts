import { csvRows } from "@argusiq/domain/bulk/csv-rows.ts"
import { jsonRows } from "@argusiq/domain/bulk/json-rows.ts"
import { type RowReader, type WrittenRow } from "@argusiq/domain/bulk/rows.ts"
import { assert, describe, it } from "@effect/vitest"
import { randomFrom } from "../../support/random.ts"

const readWhole = (reader: RowReader, pieces: ReadonlyArray<string>): ReadonlyArray<WrittenRow> => [
  ...pieces.flatMap((piece) => reader.push(piece)),
  ...reader.end()
]

const cut = (text: string, random: () => number): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  for (let at = 0; at < text.length;) {
    const size = 1 + Math.floor(random() * 9)
    pieces.push(text.slice(at, at + size))
    at += size
  }
  return pieces
}

const hard = [
  "",
  "a",
  '"',
  "\\",
  '\\"',
  "]",
  "}",
  ",",
  "[{",
  "\n",
  "\r\n",
  "é",
  "\u{1f600}",
  "0",
  "-1.5",
  "true",
  "a,b",
  '"",""'
]

describe("rows of a JSON array", () => {
  it("are those of JSON.parse, wherever the text is cut", () => {
    const seed = Math.floor(Math.random() * 2 ** 31)
    const random = randomFrom(seed)
    const pick = () => hard[Math.floor(random() * hard.length)]!
    for (let round = 0; round < 300; round++) {
      const values = Array.from({ length: Math.floor(random() * 5) }, () => ({
        [pick()]: pick(),
        a: [pick(), { b: [[]] }]
      }))
      const indent = random() < 0.5 ? 2 : 0
      const text = JSON.stringify(random() < 0.5 ? values : { rows: values }, null, indent)
      const read = readWhole(jsonRows("rows"), cut(text, random))
      assert.deepStrictEqual(
        read,
        values.map((value, index) => ({ row: index + 1, value })),
        `seed ${seed}: ${text}`
      )
    }
  })

  it("a row that is no JSON, or too deep, is told as that row", () => {
    const rows = readWhole(jsonRows("rows"), [`[{"a":1},{a:1},${"[".repeat(70)}${"]".repeat(70)},2]`])
    assert.deepStrictEqual(
      rows.map((row) => ("fault" in row ? "fault" : row.value)),
      [{ a: 1 }, "fault", "fault", 2]
    )
  })
})

describe("rows of CSV", () => {
  const shape = { texts: ["name", "note"], objects: ["attributes"] }
  it("are the cells that were written, wherever the text is cut", () => {
    const seed = Math.floor(Math.random() * 2 ** 31)
    const random = randomFrom(seed)
    const pick = () => hard[Math.floor(random() * hard.length)]!
    for (let round = 0; round < 300; round++) {
      const rows = Array.from({ length: 1 + Math.floor(random() * 4) }, () => [`x${pick()}`, pick()] as const)
      const cell = (text: string) =>
        /[",\r\n]/.test(text) || random() < 0.3 ? `"${text.replaceAll('"', '""')}"` : text
      const ending = random() < 0.5 ? "\n" : "\r\n"
      const text =
        [`name,note`, ...rows.map(([name, note]) => `${cell(name)},${cell(note)}`)].join(ending) +
        (random() < 0.5 ? ending : "")
      const read = readWhole(csvRows(shape), cut(text, random))
      const expected = rows.map(([name, note], index) => ({
        row: index + 1,
        value: note === "" ? { name } : { name, note }
      }))
      assert.deepStrictEqual(read, expected, `seed ${seed}: ${JSON.stringify(text)}`)
    }
  })

  it("numbers and truth values of an object's parts are such, and text that only looks like one stays text", () => {
    const [row] = readWhole(csvRows(shape), [
      "name,attributes.a,attributes.b,attributes.c,attributes.d\nx,1.5,true,007,1e3\n"
    ])
    assert.deepStrictEqual(row, { row: 1, value: { name: "x", attributes: { a: 1.5, b: true, c: "007", d: "1e3" } } })
  })

  it("keys of objects that JavaScript knows are keys like others", () => {
    const [row] = readWhole(csvRows(shape), ["name,attributes.__proto__,attributes.constructor\nx,1,2\n"])
    assert.isTrue(row !== undefined && "value" in row)
    assert.strictEqual(({} as Record<string, unknown>)["1"], undefined)
  })
})
