/**
 * What was told against what is told.
 * @module
 */

/** Of plain JSON. What is the same object is not looked into: most of two outputs of one fold is. */
export const isSameJson = (left: unknown, right: unknown): boolean => {
  if (left === right) return true
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null)
    return left !== left && right !== right
  if (Array.isArray(left) !== Array.isArray(right)) return false
  if (Array.isArray(left)) {
    const other = right as ReadonlyArray<unknown>
    return left.length === other.length && left.every((item, index) => isSameJson(item, other[index]))
  }
  const ours = left as Readonly<Record<string, unknown>>
  const theirs = right as Readonly<Record<string, unknown>>
  const keys = Object.keys(ours)
  return (
    keys.length === Object.keys(theirs).length &&
    keys.every((key) => Object.hasOwn(theirs, key) && isSameJson(ours[key], theirs[key]))
  )
}

/** What is told and was not told so before, and the ids that were told and are not the case. */
export const compareTold = <Output>(before: ReadonlyMap<string, Output>, after: ReadonlyMap<string, Output>) => {
  const changed = new Map<string, Output>()
  for (const [id, output] of after) {
    if (!before.has(id) || !isSameJson(before.get(id), output)) changed.set(id, output)
  }
  return { changed, retracted: [...before.keys()].filter((id) => !after.has(id)) }
}
