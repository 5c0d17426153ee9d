/**
 * The elements of a JSON array one after another, without ever holding the whole text: `[…]`, or `{"<member>": […]}`.
 * @module
 */
import { checkStructure } from "../scan.ts"
import { MAX_ROW_UNITS, refuseMoreThan, type RowReader, Unreadable, type WrittenRow } from "./rows.ts"

const bytes = new TextEncoder()
const MOST_AROUND = 1_000

const valueOf = (row: number, text: string): WrittenRow => {
  const excess = checkStructure(bytes.encode(text))
  if (excess === "PayloadTooDeep") return { row, fault: "is nested more than 64 levels deep" }
  if (excess !== undefined) return { row, fault: "has more than 10000 keys" }
  try {
    return { row, value: JSON.parse(text) as unknown }
  } catch {
    return { row, fault: "is no JSON" }
  }
}

/** `member`: of the object that may stand around the array. */
export const jsonRows = (member: string): RowReader => {
  const before = new RegExp(`^\\s*(?:\\{\\s*"${member}"\\s*:\\s*)?$`)
  const unreadable = () =>
    new Unreadable({ message: `The body is neither a JSON array nor {"${member}": [ … ]}, or it broke off.` })

  let state: "before" | "inside" | "after" = "before"
  let around = "" // what has been read before the array, or after it
  let isWrapped = false
  let pieces = "" // of the element that has begun
  let depth = 0
  let isString = false
  let isEscaped = false
  let rows = 0

  const take = (text: string): WrittenRow | undefined => {
    const element = (pieces + text).trim()
    pieces = ""
    if (element === "") return undefined
    refuseMoreThan(++rows)
    return valueOf(rows, element)
  }

  /** Where the element that goes on at `from` ends: at a comma or a bracket outside of it; `piece.length`: not in this piece. */
  const endOfElement = (piece: string, from: number): number => {
    for (let at = from; at < piece.length; at++) {
      const unit = piece[at]
      if (isString) {
        if (isEscaped) isEscaped = false
        else if (unit === "\\") isEscaped = true
        else if (unit === '"') isString = false
      } else if (unit === '"') isString = true
      else if (unit === "{" || unit === "[") depth++
      else if (depth > 0 && (unit === "}" || unit === "]")) depth--
      else if (depth === 0 && (unit === "," || unit === "]")) return at
    }
    return piece.length
  }

  const keepAround = (text: string) => {
    around += text
    if (around.length > MOST_AROUND) throw unreadable()
  }

  const push = (piece: string): ReadonlyArray<WrittenRow> => {
    const found: Array<WrittenRow> = []
    let at = 0
    if (state === "before") {
      const opening = piece.indexOf("[")
      keepAround(opening < 0 ? piece : piece.slice(0, opening))
      if (opening < 0) return found
      if (!before.test(around)) throw unreadable()
      isWrapped = around.includes("{")
      around = ""
      state = "inside"
      at = opening + 1
    }
    while (state === "inside" && at < piece.length) {
      const end = endOfElement(piece, at)
      if (pieces.length + end - at > MAX_ROW_UNITS) {
        throw new Unreadable({ message: `Row ${rows + 1} is longer than ${MAX_ROW_UNITS} characters.` })
      }
      if (end === piece.length) {
        pieces += piece.slice(at)
        return found
      }
      const isLast = piece[end] === "]"
      const row = take(piece.slice(at, end))
      if (row !== undefined) found.push(row)
      else if (!isLast) throw unreadable()
      if (isLast) state = "after"
      at = end + 1
    }
    if (state === "after") keepAround(piece.slice(at))
    return found
  }

  const end = (): ReadonlyArray<WrittenRow> => {
    const isWhole = isWrapped ? /^\s*\}\s*$/.test(around) : around.trim() === ""
    if (state !== "after" || !isWhole) throw unreadable()
    return []
  }
  return { push, end }
}
