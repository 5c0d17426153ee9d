/** What `argusiq doctor` found out about one thing. A fault comes with what to do about it. */
export type Finding =
  | { readonly _tag: "Fine"; readonly what: string; readonly detail: string }
  | { readonly _tag: "Note"; readonly what: string; readonly detail: string }
  | { readonly _tag: "Fault"; readonly what: string; readonly detail: string; readonly remedy: string }

export const fine = (what: string, detail: string): Finding => ({ _tag: "Fine", what, detail })
export const note = (what: string, detail: string): Finding => ({ _tag: "Note", what, detail })
export const fault = (what: string, detail: string, remedy: string): Finding => ({
  _tag: "Fault",
  what,
  detail,
  remedy
})

const marks = { Fine: "ok   ", Note: "note ", Fault: "FAULT" } as const

const indent = " ".repeat(21)

/** One line, and under a fault what to do, which may take several. */
export const render = (finding: Finding): string => {
  const first = `${marks[finding._tag]}  ${finding.what.padEnd(14)}  ${finding.detail}`
  return finding._tag === "Fault" ? `${first}\n${indent}→ ${finding.remedy.replaceAll("\n", `\n${indent}  `)}` : first
}
