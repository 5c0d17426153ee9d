/**
 * What a file with many rows is bounded by, and what reading it piece by piece comes to.
 * @module
 */
import { Schema } from "effect"

/** Rows that one request may hold. */
export const MAX_BULK_ROWS = 10_000
/** UTF-16 units that one row may hold as it is written in the file. */
export const MAX_ROW_UNITS = 65_536

/** The file as a whole cannot be read: nothing of it has been used. */
export class Unreadable extends Schema.TaggedError<Unreadable>()("Unreadable", { message: Schema.String }) {}

/** One row as the file has it, counted from 1; or why that row alone cannot be read. */
export type WrittenRow =
  | { readonly row: number; readonly value: unknown }
  | { readonly row: number; readonly fault: string }

/** Takes a text piece by piece, wherever it is cut. Throws {@link Unreadable}. */
export interface RowReader {
  /** The rows that end in this piece. */
  push(piece: string): ReadonlyArray<WrittenRow>
  /** The text has ended: the row that ended with it. */
  end(): ReadonlyArray<WrittenRow>
}

export const refuseMoreThan = (rows: number): void => {
  if (rows > MAX_BULK_ROWS) {
    throw new Unreadable({
      message: `A request holds at most ${MAX_BULK_ROWS} rows, and this one holds more: send it in parts.`
    })
  }
}
