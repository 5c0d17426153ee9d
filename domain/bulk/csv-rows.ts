/**
 * The lines of a CSV text (RFC 4180, with `\n` allowed where it wants `\r\n`) one after another, each as an object of its
 * columns. The first line names them; a cell that is empty is absent; `a.b` is the member `b` of the object `a`.
 * @module
 */
import { checkStructure } from "../scan.ts"
import { MAX_ROW_UNITS, refuseMoreThan, type RowReader, Unreadable, type WrittenRow } from "./rows.ts"

const MOST_COLUMNS = 200
const bytes = new TextEncoder()

/** A column as the file names it: the member that it fills, and the member of that where the name has two parts. */
interface Column {
  readonly name: string
  readonly member: string
  readonly inner: string | undefined
}

/** What the columns may be: members that are text, and members that are objects, of which a column may be a part. */
export interface CsvShape {
  readonly texts: ReadonlyArray<string>
  readonly objects: ReadonlyArray<string>
}

const columnOf = (shape: CsvShape, written: string): Column => {
  const name = written.trim()
  const dot = name.indexOf(".")
  const [member, inner] = dot < 0 ? [name, undefined] : [name.slice(0, dot), name.slice(dot + 1)]
  const isKnown = shape.objects.includes(member) ? inner !== "" : inner === undefined && shape.texts.includes(member)
  if (isKnown) return { name, member, inner }
  const known = [...shape.texts, ...shape.objects.flatMap((object) => [object, `${object}.<key>`])]
  throw new Unreadable({
    message: `The first line names a column "${name.slice(0, 100)}", which is none. Columns: ${known.join(", ")}.`
  })
}

const jsonNumber = /^-?(?:0|[1-9]\d{0,15})(?:\.\d{1,15})?$/
/** A part of an object: what JSON would write for a number or a truth value is one; anything else is text. */
const partOf = (cell: string): unknown => {
  if (cell === "true" || cell === "false") return cell === "true"
  return jsonNumber.test(cell) && String(Number(cell)) === cell ? Number(cell) : cell
}

const rowOf = (
  columns: ReadonlyArray<Column>,
  shape: CsvShape,
  cells: ReadonlyArray<string>,
  row: number
): WrittenRow => {
  if (cells.length !== columns.length) {
    return { row, fault: `has ${cells.length} cells, and the first line names ${columns.length} columns` }
  }
  const value: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  for (const [index, { inner, member, name }] of columns.entries()) {
    const cell = cells[index]!
    if (cell === "") continue
    if (inner !== undefined) {
      const object = value[member]
      value[member] = { ...(typeof object === "object" ? object : {}), [inner]: partOf(cell) }
    } else if (shape.objects.includes(member)) {
      if (checkStructure(bytes.encode(cell)) !== undefined) return { row, fault: `${name} is nested too deep` }
      try {
        value[member] = JSON.parse(cell)
      } catch {
        return { row, fault: `${name} is no JSON` }
      }
    } else value[member] = cell
  }
  return { row, value: { ...value } }
}

export const csvRows = (shape: CsvShape): RowReader => {
  let columns: ReadonlyArray<Column> | undefined
  let cells: Array<string> = []
  let cell = ""
  let state: "start" | "plain" | "quoted" | "quote" = "start" // quote: one within quotes, which ends them or stands for itself
  let isBroken = false // a quote stands where none may
  let units = 0
  let rows = 0

  const endCell = () => {
    cells.push(cell)
    cell = ""
    state = "start"
    if (cells.length > MOST_COLUMNS) {
      throw new Unreadable({ message: `A line has more than ${MOST_COLUMNS} cells.` })
    }
  }
  const endLine = (): WrittenRow | undefined => {
    endCell()
    const line = cells
    const broken = isBroken
    cells = []
    units = 0
    isBroken = false
    if (line.length === 1 && line[0]!.trim() === "") return undefined
    if (columns === undefined) {
      columns = line.map((name) => columnOf(shape, name))
      const twice = columns.find(({ name }, index) => columns?.findIndex((other) => other.name === name) !== index)
      if (twice !== undefined) throw new Unreadable({ message: `The first line names the column ${twice.name} twice.` })
      return undefined
    }
    refuseMoreThan(++rows)
    return broken
      ? { row: rows, fault: "has a quote within a cell that is not quoted" }
      : rowOf(columns, shape, line, rows)
  }

  const push = (piece: string): ReadonlyArray<WrittenRow> => {
    const found: Array<WrittenRow> = []
    for (const unit of piece) {
      if (++units > MAX_ROW_UNITS) {
        throw new Unreadable({
          message: `Line ${rows + 1} behind the first one is longer than ${MAX_ROW_UNITS} characters.`
        })
      }
      if (state === "quoted") {
        if (unit === '"') state = "quote"
        else cell += unit
      } else if (unit === ",") endCell()
      else if (unit === "\n") {
        if (state === "plain" && cell.endsWith("\r")) cell = cell.slice(0, -1)
        const row = endLine()
        if (row !== undefined) found.push(row)
      } else if (unit === '"' && state !== "plain") {
        if (state === "quote") cell += '"'
        state = "quoted"
      } else if (state === "quote") {
        if (unit !== "\r") isBroken = true
      } else {
        if (unit === '"') isBroken = true
        cell += unit
        state = "plain"
      }
    }
    return found
  }

  const end = (): ReadonlyArray<WrittenRow> => {
    if (state === "quoted") throw new Unreadable({ message: "The text ends within a quoted cell." })
    const row = units === 0 ? undefined : endLine()
    if (columns === undefined) throw new Unreadable({ message: "There is no first line that names the columns." })
    return row === undefined ? [] : [row]
  }
  return { push, end }
}
