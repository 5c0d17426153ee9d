/**
 * The device that the first start makes, with its key, as `first-device.json` in the secrets directory names it.
 * @module
 */
import { FirstDevice } from "@argusiq/layers/identity/FirstStart.ts"
import { Schema } from "effect"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(FirstDevice))

/** Undefined when the file is not there or not readable. */
export const readFirstDevice = (directory: string): FirstDevice | undefined => {
  const path = join(directory, "first-device.json")
  if (!existsSync(path)) return undefined
  const result = decode(readFileSync(path, "utf8"))
  return result._tag === "Success" ? result.success : undefined
}
