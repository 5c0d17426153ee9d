/**
 * What the platform refused, in its own words, for a person to read.
 * @module
 */
import { Predicate } from "effect"

const textAt = (error: object, member: string): string | undefined => {
  const value: unknown = Reflect.get(error, member)
  return value === undefined ? undefined : String(value)
}

/** Of a problem its title, detail and every fault; of another error its message. */
export const wordsOf = (error: unknown): string => {
  if (!Predicate.isObject(error)) return String(error)
  const errors: unknown = Reflect.get(error, "errors")
  const faults = Array.isArray(errors)
    ? errors.map((fault: { path: string; message: string }) => `${fault.path}: ${fault.message}`)
    : []
  const words = [textAt(error, "title"), textAt(error, "detail"), ...faults].filter((part) => part !== undefined)
  return words.length > 0 ? words.join("; ") : (textAt(error, "message") ?? String(error))
}
