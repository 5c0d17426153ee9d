/**
 * JSON that names its values by ids: the nodes of an OPC UA publisher, the objects of a BACnet gateway.
 *
 * The ids are the keys of an object (`{ "ns=2;s=Temperature": { "Value": 21.5 } }`), or stand within the items of an array
 * (`[{ "objectType": "analog-input", "instance": 1, "presentValue": 21.5 }]`). The document is the JSON with what was found
 * under `decoded`, by the names that the fields give; of an id that comes twice the last value stays.
 * @module
 */
import { Result } from "effect"
import { type Problem } from "../extract.ts"
import { compilePath, type PathReader } from "../json-path.ts"
import { decodeJson } from "../scan.ts"
import { type KeyedAdapter } from "./adapter.ts"
import { type Decoder, put, undecodable } from "./decoder.ts"

const none: PathReader = () => undefined

const listOf = <A>(oneOrMore: A | ReadonlyArray<A>): ReadonlyArray<A> =>
  Array.isArray(oneOrMore) ? (oneOrMore as ReadonlyArray<A>) : [oneOrMore as A]

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

/** An id of several parts is written with commas between them. */
const idOf = (readers: ReadonlyArray<PathReader>, entry: unknown): string | undefined => {
  const parts = readers.map((read) => read(entry))
  return parts.every((part) => typeof part === "string" || typeof part === "number") ? parts.join(",") : undefined
}

/** Compiles where values are found; what is wrong with it is added to `problems`. */
export const keyedDecoder = (adapter: typeof KeyedAdapter.Type, problems: Array<Problem>): Decoder => {
  const where = "$.protocolAdapter"
  const compile = (path: string, at: string): PathReader => {
    const compiled = compilePath(path)
    if (Result.isSuccess(compiled)) return compiled.success.read
    problems.push({ path: `${where}.${at}`, message: compiled.failure })
    return none
  }
  const readGroups = adapter.groupsPath === undefined ? undefined : compile(adapter.groupsPath, "groupsPath")
  const readEntries = compile(adapter.entriesPath, "entriesPath")
  const idReaders = listOf(adapter.idPath ?? []).map((path) => compile(path, "idPath"))
  const valueReaders = listOf(adapter.valuePath ?? []).map((path) => compile(path, "valuePath"))
  const names = new Map<string, string>()
  adapter.fields.forEach(({ id, name }, index) => {
    if (names.has(id)) problems.push({ path: `${where}.fields[${index}].id`, message: `"${id}" is named twice.` })
    names.set(id, name)
  })

  const valueOf = (entry: unknown): unknown => {
    for (const read of valueReaders) {
      const value = read(entry)
      if (value !== undefined) return value
    }
    return isObject(entry) && valueReaders.length > 0 ? undefined : entry
  }
  const take = (id: string | undefined, entry: unknown, into: Record<string, unknown>): void => {
    const name = id === undefined ? undefined : names.get(id)
    if (name === undefined) return
    const value = valueOf(entry)
    if (value !== undefined) put(into, name, value)
  }
  const takeAll = (group: unknown, into: Record<string, unknown>): boolean => {
    const entries = readEntries(group)
    if (!isObject(entries)) return false
    if (Array.isArray(entries)) for (const entry of entries) take(idOf(idReaders, entry), entry, into)
    else for (const id of Object.keys(entries)) take(id, Reflect.get(entries, id), into)
    return true
  }
  return {
    stateful: false,
    decode: (payload, limits) => {
      const decoded = decodeJson(payload, limits)
      if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
      const root = decoded.success
      const groups = readGroups === undefined ? [root] : readGroups(root)
      if (!Array.isArray(groups)) {
        return Result.fail(undecodable(`There is no array at ${adapter.groupsPath} in the JSON that starts`, 0))
      }
      const values: Record<string, unknown> = {}
      const found = groups.filter((group) => takeAll(group, values))
      if (found.length === 0 && groups.length > 0) {
        const message = `There is neither an object nor an array at ${adapter.entriesPath} in the JSON that starts`
        return Result.fail(undecodable(message, 0, adapter.entriesPath))
      }
      const around = isObject(root) && !Array.isArray(root) ? root : {}
      return Result.succeed({ root: { ...around, decoded: values } })
    }
  }
}
