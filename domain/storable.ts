/**
 * What PostgreSQL and JavaScript can both hold: text without NUL and lone surrogates, finite numbers, harmless keys.
 * @module
 */

/** Whether text can be the key of a metric: what the schema `MetricKey` says, without its cost. */
export const isMetricKey = (key: string): boolean => {
  if (key.length === 0 || key.length > 500 || key === "__proto__") return false
  for (let index = 0; index < key.length; index++) {
    const unit = key.charCodeAt(index)
    if (unit < 0x20 || (unit >= 0x7f && unit <= 0x9f)) return false
    if (unit >= 0xd800 && unit <= 0xdfff) return key.isWellFormed() && !/\p{Cc}/u.test(key)
  }
  return true
}

/** The text itself, or with U+FFFD in place of each NUL and lone surrogate. */
export const storableText = (text: string): string =>
  text.isWellFormed() && !text.includes("\0") ? text : text.toWellFormed().replaceAll("\0", "\uFFFD")

/** A JSON value as PostgreSQL's jsonb holds it. */
export type StorableJson =
  | null
  | boolean
  | number
  | string
  | ReadonlyArray<StorableJson>
  | { readonly [key: string]: StorableJson }

const storableObject = (value: object): { readonly [key: string]: StorableJson } => {
  let changed: Record<string, StorableJson> | undefined
  for (const key of Object.keys(value)) {
    const inner: unknown = Reflect.get(value, key)
    const storable = storableJson(inner)
    const name = storableText(key)
    if (changed === undefined && (storable !== inner || name !== key || key === "__proto__")) {
      changed = {}
      for (const before of Object.keys(value)) {
        if (before === key) break
        changed[before] = Reflect.get(value, before)
      }
    }
    if (changed !== undefined && key !== "__proto__") changed[name] = storable
  }
  return changed ?? (value as { readonly [key: string]: StorableJson })
}

/**
 * A parsed JSON value itself when it can be stored as it is, else a copy: text as by {@link storableText}, keys too, infinite
 * numbers as null, keys `__proto__` left out. Recursive: the depth was bounded when the payload was decoded.
 */
export const storableJson = (value: unknown): StorableJson => {
  switch (typeof value) {
    case "string":
      return storableText(value)
    case "number":
      return Number.isFinite(value) ? value : null
    case "boolean":
      return value
    case "object": {
      if (value === null) return null
      if (!Array.isArray(value)) return storableObject(value)
      const items = value.map(storableJson)
      return items.every((item, index) => item === value[index]) ? value : items
    }
    default:
      return null
  }
}
