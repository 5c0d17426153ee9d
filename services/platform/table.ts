/** Rows under a heading, columns aligned; numbers to the right. */
export const table = (
  heading: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string | number | bigint>>
): string => {
  const widths = heading.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => String(row[column] ?? "").length))
  )
  const line = (cells: ReadonlyArray<string | number | bigint>) =>
    cells
      .map((cell, column) =>
        typeof cell === "string" ? cell.padEnd(widths[column] ?? 0) : String(cell).padStart(widths[column] ?? 0)
      )
      .join("  ")
      .trimEnd()
  return [line(heading), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n")
}
