/**
 * Secrets that an installation makes for itself on its first start and keeps in its data directory, or in one that its
 * processes share.
 * @module
 */
import { chmod, link, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { randomUUID } from "node:crypto"
import { dirname } from "node:path"
import { Config, Effect, Schema } from "effect"

export const dataDirectory = Config.String("ARGUSIQ_DATA_DIR").pipe(Config.withDefault("./data"))

/** What the processes of one installation have in common lies here: the data directory where there is one process. */
export const secretsDirectory = Config.NonEmptyString("ARGUSIQ_SECRETS_DIR").pipe(Config.orElse(() => dataDirectory))

export class SecretUnreadable extends Schema.TaggedError<SecretUnreadable>()("SecretUnreadable", {
  path: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `Cannot read or write ${this.path}. Check that its directory (ARGUSIQ_SECRETS_DIR or ARGUSIQ_DATA_DIR) belongs to this user.`
  }
}

const read = async (path: string): Promise<string | undefined> => {
  try {
    return await readFile(path, "utf8")
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined
    throw cause
  }
}

/**
 * The content of a file; when there is none, what `make` gives, written first. Mode 600. Of processes that start at the same
 * time one writes and all read the same: a complete file appears under its name at once and is never replaced.
 */
export const keptSecret = (path: string, make: () => Promise<string>): Effect.Effect<string, SecretUnreadable> =>
  Effect.tryPromise({
    try: async () => {
      const present = await read(path)
      if (present !== undefined) {
        await chmod(path, 0o600)
        return present
      }
      await mkdir(dirname(path), { recursive: true })
      const aside = `${path}.${randomUUID()}`
      try {
        await writeFile(aside, await make(), { mode: 0o600, flag: "wx", flush: true })
        await link(aside, path)
      } catch (cause) {
        if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw cause
      } finally {
        await rm(aside, { force: true })
      }
      return await readFile(path, "utf8")
    },
    catch: (cause) => new SecretUnreadable({ path, cause })
  })

/** The content of a file, undefined when there is none. */
export const readSecret = (path: string): Effect.Effect<string | undefined, SecretUnreadable> =>
  Effect.tryPromise({ try: () => read(path), catch: (cause) => new SecretUnreadable({ path, cause }) })

/** Writes a file of mode 600, in place of the one that is there: whoever reads it finds the old or the new one, complete. */
export const writeSecret = (path: string, content: string): Effect.Effect<void, SecretUnreadable> =>
  Effect.tryPromise({
    try: async () => {
      await mkdir(dirname(path), { recursive: true })
      const aside = `${path}.${randomUUID()}`
      await writeFile(aside, content, { mode: 0o600, flag: "wx", flush: true })
      await rename(aside, path)
    },
    catch: (cause) => new SecretUnreadable({ path, cause })
  })
