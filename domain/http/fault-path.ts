/**
 * The path of a fault as people write it: `config.rules[3].path`.
 * @module
 */

/** Of the segments that a schema's issue carries; numbers are places in an array. */
export const faultPath = (segments: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }>): string =>
  segments
    .map((segment) => (typeof segment === "object" ? segment.key : segment))
    .reduce<string>((path, key) => {
      if (typeof key === "number") return `${path}[${key}]`
      return path === "" ? String(key) : `${path}.${String(key)}`
    }, "")
