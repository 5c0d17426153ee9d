/**
 * Files of documents in a directory: `documents` in the data directory. Processes that serve the API share it.
 * @module
 */
import { Config, Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { mkdir, open, readFile, rename, rm } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { DocumentFiles, StorageUnavailable } from "./DocumentFiles.ts"

/** Keys are made by the platform: two UUIDs. Whatever else asks for a file gets none outside of the directory. */
const keyPattern = /^[0-9a-f-]{36}\/[0-9a-f-]{36}$/

const isMissing = (cause: unknown): boolean =>
  typeof cause === "object" && cause !== null && "code" in cause && cause.code === "ENOENT"

const attempt = <A>(run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: (cause) => new StorageUnavailable({ cause }) })

export const make = (directory: string) => {
  const pathOf = (key: string): string => {
    if (!keyPattern.test(key)) throw new Error(`${JSON.stringify(key)} is no storage key`)
    return join(directory, key)
  }
  return DocumentFiles.of({
    write: (key, content) =>
      attempt(async () => {
        const path = pathOf(key)
        await mkdir(dirname(path), { recursive: true })
        const unfinished = `${path}.${randomUUID()}.part`
        try {
          const file = await open(unfinished, "wx", 0o600)
          try {
            await file.writeFile(content)
            await file.sync()
          } finally {
            await file.close()
          }
          await rename(unfinished, path)
        } catch (cause) {
          await rm(unfinished, { force: true })
          throw cause
        }
        const parent = await open(dirname(path), "r")
        try {
          await parent.sync()
        } finally {
          await parent.close()
        }
      }),
    read: (key) =>
      attempt(() =>
        readFile(pathOf(key)).catch((cause: unknown) => {
          if (isMissing(cause)) return undefined
          throw cause
        })
      ),
    remove: (key) => attempt(() => rm(pathOf(key), { force: true }))
  })
}

export const layerConfig = Layer.effect(
  DocumentFiles,
  Effect.map(Config.String("ARGUSIQ_DATA_DIR").pipe(Config.withDefault("./data")), (directory) =>
    make(resolve(directory, "documents"))
  )
)
