/**
 * docker-compose.yml, read: block mappings and sequences, flow sequences of plain words, anchors and merge keys, which is the
 * YAML that it is written in. What is written otherwise throws.
 * @module
 */

export type Node = string | ReadonlyArray<Node> | { readonly [key: string]: Node }

interface Line {
  readonly number: number
  readonly indent: number
  readonly text: string
}

const linesOf = (text: string): ReadonlyArray<Line> =>
  text
    .split("\n")
    .map((line, index) => ({ number: index + 1, indent: line.search(/\S/), text: line.trim() }))
    .filter(({ text }) => text !== "" && !text.startsWith("#"))

const scalar = (text: string): Node => {
  if (/^\[.*\]$/.test(text)) {
    const words = text.slice(1, -1).match(/'[^']*'|"[^"]*"|[^,'"]+/g) ?? []
    return words.map((word) => scalar(word.trim())).filter((word) => word !== "")
  }
  const quoted = /^(["'])(.*)\1$/.exec(text)
  return quoted?.[2] ?? text
}

export const readCompose = (text: string): { readonly [key: string]: Node } => {
  const lines = linesOf(text)
  const anchors = new Map<string, Node>()
  let at = 0

  const block = (indent: number): Node => {
    const list: Array<Node> = []
    const map: Record<string, Node> = {}
    for (let line = lines[at]; line !== undefined && line.indent === indent; line = lines[at]) {
      if (line.text.startsWith("- ")) {
        at++
        list.push(scalar(line.text.slice(2)))
        continue
      }
      const entry = /^([\w.<-]+):(?: +&(\w+))?(?: +(.+))?$/.exec(line.text)
      const [, key, anchor, rest] = entry ?? []
      if (key === undefined) throw new Error(`line ${line.number} is no mapping: ${line.text}`)
      at++
      const inner = lines[at]
      const alias = /^\*(\w+)$/.exec(rest ?? "")?.[1]
      const value =
        alias !== undefined
          ? (anchors.get(alias) ?? {})
          : rest !== undefined
            ? scalar(rest)
            : inner !== undefined && inner.indent > indent
              ? block(inner.indent)
              : ""
      if (anchor !== undefined) anchors.set(anchor, value)
      if (key === "<<") Object.assign(map, value)
      else map[key] = value
    }
    return list.length > 0 ? list : map
  }

  const read = block(0)
  if (at < lines.length) throw new Error(`line ${lines[at]?.number} is indented as nothing before it`)
  return read as { readonly [key: string]: Node }
}
