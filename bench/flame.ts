/**
 * Draws a V8 profile as a flame picture: `node bench/flame.ts PROFILE.cpuprofile [FILE.svg [SECONDS]]`, without the first
 * SECONDS (10), in which the program starts. A frame is as wide as the time in it and in what it called; what takes less
 * than 0.3 % of the busy time is left out. One SVG that stands alone.
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs"

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  readonly children?: ReadonlyArray<number>
}

/** What a profile file holds; times in microseconds. */
export interface Profile {
  readonly nodes: ReadonlyArray<ProfileNode>
  readonly samples: ReadonlyArray<number>
  readonly timeDeltas: ReadonlyArray<number>
}

interface Frame {
  readonly name: string
  self: number
  total: number
  readonly children: Map<string, Frame>
}

const IDLE = "(idle)"
const WIDTH = 1200
const ROW = 16
const LEAST_SHARE = 0.003
const CHARACTER = 6.2

/** `pg/connection.js` of `file:///…/node_modules/pg/connection.js`; of our own files the way from the checkout. */
const placeOf = (url: string): string => {
  const path = url.replace(/^file:\/\//, "")
  const fromPackages = path.split("/node_modules/").at(-1) ?? path
  if (fromPackages !== path) return fromPackages
  return /(?:^|\/)((?:domain|layers|services)\/.*)$/.exec(path)?.[1] ?? path
}

const nameOf = ({ functionName, lineNumber, url }: ProfileNode["callFrame"]) =>
  `${functionName || "(anonymous)"}${url === "" ? "" : ` ${placeOf(url)}:${lineNumber + 1}`}`

const frameNamed = (name: string): Frame => ({ name, self: 0, total: 0, children: new Map() })

/** After `withoutMicros` from the start. Frames of the same function under the same callers are one; time in which nothing ran is not in it. */
export const framesOf = (profile: Profile, withoutMicros = 0): Frame => {
  const selfTimes = new Map<number, number>()
  let elapsed = 0
  profile.samples.forEach((id, index) => {
    const delta = Math.max(0, profile.timeDeltas[index] ?? 0)
    elapsed += delta
    if (elapsed > withoutMicros) selfTimes.set(id, (selfTimes.get(id) ?? 0) + delta)
  })
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  const root = frameNamed("all")
  const [top] = profile.nodes
  /** The parent of each is entered before it: a stack instead of recursion, as calls may be nested deeply. */
  const waiting = (top?.children ?? []).map((id) => ({ id, path: [root] }))
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const node = nodes.get(next.id)
    if (node === undefined || node.callFrame.functionName === IDLE) continue
    const parent = next.path.at(-1) as Frame
    const name = nameOf(node.callFrame)
    const own = parent.children.get(name) ?? frameNamed(name)
    parent.children.set(name, own)
    const path = [...next.path, own]
    const time = selfTimes.get(node.id) ?? 0
    own.self += time
    for (const one of path) one.total += time
    for (const id of node.children ?? []) waiting.push({ id, path })
  }
  return root
}

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" }
const escaped = (text: string) => text.replaceAll(/[&<>"]/g, (character) => entities[character] ?? "")

/** The more of a frame's time is its own, the redder. */
const colourOf = ({ self, total }: Frame) => `hsl(${Math.round(50 - (45 * self) / total)} 90% 70%)`

export const flame = (profile: Profile, withoutMicros = 0): string => {
  const root = framesOf(profile, withoutMicros)
  const boxes: Array<string> = []
  let depth = 0
  const waiting = [{ frame: root, left: 0, row: 0 }]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { frame, row } = next
    const width = (frame.total / root.total) * WIDTH
    depth = Math.max(depth, row + 1)
    const share = (time: number) => `${((time / root.total) * 100).toFixed(1)} %`
    const title = `${frame.name}: ${share(frame.total)}, of its own ${share(frame.self)}`
    const room = Math.floor((width - 4) / CHARACTER)
    const label = room < 4 ? "" : frame.name.length > room ? `${frame.name.slice(0, room - 1)}…` : frame.name
    const x = next.left.toFixed(1)
    boxes.push(
      `<g><title>${escaped(title)}</title><rect x="${x}" y="${row * ROW}" width="${Math.max(0.5, width - 0.5).toFixed(1)}" ` +
        `height="${ROW - 1}" fill="${colourOf(frame)}"/>` +
        (label === "" ? "" : `<text x="${(next.left + 2).toFixed(1)}" y="${row * ROW + 11}">${escaped(label)}</text>`) +
        "</g>"
    )
    let left = next.left
    for (const child of [...frame.children.values()].toSorted((a, b) => b.total - a.total)) {
      if (child.total / root.total < LEAST_SHARE) break
      waiting.push({ frame: child, left, row: row + 1 })
      left += (child.total / root.total) * WIDTH
    }
  }
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${depth * ROW}" font-family="monospace" font-size="10">\n` +
    `<rect width="100%" height="100%" fill="#fff"/>\n${boxes.join("\n")}\n</svg>\n`
  )
}

if (import.meta.main) {
  const [from, to = "docs/flame.svg", seconds = "10"] = process.argv.slice(2)
  if (from === undefined) {
    console.error("usage: node bench/flame.ts PROFILE.cpuprofile [FILE.svg [SECONDS]]")
    process.exit(2)
  }
  const picture = flame(JSON.parse(readFileSync(from, "utf8")) as Profile, Number(seconds) * 1e6)
  writeFileSync(to, picture)
  console.log(`${to}: ${Math.round(picture.length / 1024)} KiB`)
}
