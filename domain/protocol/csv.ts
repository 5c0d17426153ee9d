/**
 * Comma-separated values, read strictly as RFC 4180 says, with `\n` allowed where it wants `\r\n`, and other delimiters.
 *
 * A field is text; one that is exactly what JSON would write for a number is that number. An empty field is absent.
 * @module
 */
import { Result } from "effect"
import { type Poison } from "../errors.ts"
import { utf8ErrorOffset } from "../json-syntax.ts"
import { type StructureLimits } from "../scan.ts"
import { isMetricKey } from "../storable.ts"
import { type CsvAdapter } from "./adapter.ts"
import { type Decoder, put, tooManyKeys, undecodable } from "./decoder.ts"

const utf8 = new TextDecoder("utf-8", { fatal: true }) // skips a byte order mark
const MAX_FIELD_UNITS = 1_048_576

const numberLike = /^-?\d{1,17}(?:\.\d{1,17})?$/

const valueOf = (text: string): string | number => {
  if (text.length > 36 || !numberLike.test(text)) return text
  const number = Number(text)
  return String(number) === text ? number : text
}

interface Malformed {
  readonly why: string
  readonly at: number // index in the text
}

/** The fields of each line. An empty last line is none. */
const linesOf = (text: string, delimiter: string, maxFields: number): Array<Array<string>> | Malformed | "too many" => {
  const lines: Array<Array<string>> = []
  let fields: Array<string> = []
  let count = 0
  let at = 0
  const end = text.length
  while (at < end) {
    let field: string
    if (text[at] === '"') {
      const start = at
      const pieces: Array<string> = []
      for (;;) {
        const close = text.indexOf('"', at + 1)
        if (close < 0) return { why: "A quoted field does not end", at: start }
        pieces.push(text.slice(at + 1, close))
        at = close + 1
        if (text[at] !== '"') break
        pieces.push('"')
      }
      field = pieces.join("")
    } else {
      const start = at
      while (at < end && text[at] !== delimiter && text[at] !== "\n" && text[at] !== "\r") {
        if (text[at] === '"') return { why: "There is a quote within a field that is not quoted", at }
        at++
      }
      field = text.slice(start, at)
    }
    if (field.length > MAX_FIELD_UNITS)
      return { why: `A field is longer than ${MAX_FIELD_UNITS} characters and ends`, at }
    if (++count > maxFields) return "too many"
    fields.push(field)
    if (at >= end) break
    if (text[at] === delimiter) {
      at++
      if (at === end) fields.push("")
      continue
    }
    if (text[at] === "\r" && text[at + 1] === "\n") at++
    if (text[at] !== "\n")
      return { why: "There is something after a field that is neither a delimiter nor a line's end", at }
    at++
    lines.push(fields)
    fields = []
  }
  if (fields.length > 0) lines.push(fields)
  return lines
}

const byteAt = (text: string, index: number): number => Buffer.byteLength(text.slice(0, index))

const toText = (payload: Uint8Array): Result.Result<string, Poison> => {
  try {
    return Result.succeed(utf8.decode(payload))
  } catch {
    return Result.fail(undecodable("The payload is not UTF-8", utf8ErrorOffset(payload) ?? 0))
  }
}

const rowOf = (columns: ReadonlyArray<string>, fields: ReadonlyArray<string>): Record<string, unknown> => {
  const row: Record<string, unknown> = {}
  fields.forEach((field, index) => {
    if (field !== "") put(row, columns[index]!, valueOf(field))
  })
  return row
}

/** Of a payload with one row the document is `{ column: value }`, with many `{ rows: [{ column: value }, …] }`. */
export const csvDecoder = ({ columns, delimiter, rows }: Omit<typeof CsvAdapter.Type, "kind">): Decoder => ({
  stateful: false,
  decode: (payload, limits: StructureLimits) => {
    const text = toText(payload)
    if (Result.isFailure(text)) return Result.fail(text.failure)
    const lines = linesOf(text.success, delimiter, limits.keys)
    if (lines === "too many") return Result.fail(tooManyKeys(limits.keys))
    if (!Array.isArray(lines)) return Result.fail(undecodable(lines.why, byteAt(text.success, lines.at)))
    const names = columns ?? lines.shift() ?? []
    const wrong = names.find((name, index) => !isMetricKey(name) || names.indexOf(name) !== index)
    if (wrong !== undefined) {
      return Result.fail(undecodable(`The column ${JSON.stringify(wrong.slice(0, 100))} has no name of its own`, 0))
    }
    const irregular = lines.findIndex((fields) => fields.length !== names.length)
    if (irregular >= 0) {
      const found = lines[irregular]!.length
      const message = `Row ${irregular + 1} has ${found} fields instead of ${names.length}; it was read in a payload that starts`
      return Result.fail(undecodable(message, 0, `rows[${irregular}]`))
    }
    const read = lines.map((fields) => rowOf(names, fields))
    if (rows === "many") return Result.succeed({ root: { rows: read } })
    if (read.length === 1) return Result.succeed({ root: read[0] })
    const message = `The payload has ${read.length} rows where one is expected: let the adapter read many. It starts`
    return Result.fail(undecodable(message, 0))
  }
})
