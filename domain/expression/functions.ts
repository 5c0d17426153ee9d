/**
 * The functions that an expression may call, by JSONata's names and signatures.
 * @module
 */

export interface FunctionArity {
  readonly least: number
  readonly most: number
  /** With fewer arguments than this it can take the whole input for the one that is missing. */
  readonly readsInputBelow: number
}

const takes = (least: number, most = least, readsInputBelow = 0): FunctionArity => ({ least, most, readsInputBelow })

/** Values that are missing in front, JSONata takes from the input: `least` counts those that it cannot. */
export const functions: ReadonlyMap<string, FunctionArity> = new Map([
  ["sum", takes(1)],
  ["count", takes(1)],
  ["max", takes(1)],
  ["min", takes(1)],
  ["average", takes(1)],
  ["string", takes(0, 2, 1)],
  ["substring", takes(1, 3)],
  ["substringBefore", takes(1, 2)],
  ["substringAfter", takes(1, 2)],
  ["lowercase", takes(0, 1)],
  ["uppercase", takes(0, 1)],
  ["length", takes(0, 1)],
  ["trim", takes(0, 1)],
  ["pad", takes(1, 3)],
  ["match", takes(1, 3)],
  ["contains", takes(1, 2)],
  ["replace", takes(2, 4)],
  ["split", takes(1, 3)],
  ["join", takes(1, 2)],
  ["formatNumber", takes(1, 3)],
  ["formatBase", takes(0, 2)],
  ["formatInteger", takes(1, 2)],
  ["parseInteger", takes(1, 2)],
  ["number", takes(0, 1)],
  ["floor", takes(0, 1)],
  ["ceil", takes(0, 1)],
  ["round", takes(0, 2)],
  ["abs", takes(0, 1)],
  ["sqrt", takes(0, 1)],
  ["power", takes(1, 2)],
  ["boolean", takes(0, 1, 1)],
  ["not", takes(0, 1, 1)],
  ["map", takes(2)],
  ["zip", takes(1, Infinity)],
  ["filter", takes(2)],
  ["single", takes(1, 2)],
  ["reduce", takes(2, 3)],
  ["sift", takes(0, 2, 2)],
  ["keys", takes(0, 1, 1)],
  ["lookup", takes(1, 2, 2)],
  ["append", takes(2)],
  ["exists", takes(1)],
  ["spread", takes(0, 1, 1)],
  ["merge", takes(1)],
  ["reverse", takes(1)],
  ["each", takes(1, 2, 2)],
  ["error", takes(0, 1)],
  ["assert", takes(1, 2)],
  ["type", takes(1)],
  ["sort", takes(1, 2)],
  ["distinct", takes(1)],
  ["base64encode", takes(0, 1)],
  ["base64decode", takes(0, 1)],
  ["encodeUrlComponent", takes(0, 1)],
  ["encodeUrl", takes(0, 1)],
  ["decodeUrlComponent", takes(0, 1)],
  ["decodeUrl", takes(0, 1)],
  ["toMillis", takes(0, 2)],
  ["fromMillis", takes(0, 3)],
  ["clone", takes(0, 1, 1)]
])

const changing = "gives another value each time, so results could not be computed again"
/** Functions of JSONata that are not available, and why. */
export const refusedFunctions: ReadonlyMap<string, string> = new Map([
  ["eval", "runs text as an expression, which cannot be checked when it is saved"],
  ["now", `${changing}: use the timestamp of what was measured`],
  ["millis", `${changing}: use the timestamp of what was measured`],
  ["random", changing],
  ["shuffle", changing]
])

export const forbiddenNames: ReadonlySet<string> = new Set(["constructor", "__proto__", "prototype"])
