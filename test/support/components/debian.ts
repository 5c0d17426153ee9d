/**
 * Programs that tests need and Debian has. CI installs what its machine lacks; elsewhere a person is told how.
 * @module
 */
import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"

/** Debian keeps servers where only root's PATH leads. */
const places = () => [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"]

const find = (program: string) =>
  places()
    .map((place) => join(place, program))
    .find((path) => existsSync(path))

const mayInstall = () => process.env["CI"] === "true" && process.getuid?.() === 0

/** Absolute path of a program; installed first where CI runs as root and it is missing. */
export const debianProgram = (program: string, fromPackage: string): string => {
  const found = find(program)
  if (found !== undefined) return found
  if (mayInstall()) {
    const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    execFileSync("apt-get", ["update"], { stdio: "ignore", env: environment })
    execFileSync("apt-get", ["install", "-y", "--no-install-recommends", fromPackage], {
      stdio: "ignore",
      env: environment
    })
    const installed = find(program)
    if (installed !== undefined) return installed
  }
  throw new Error(
    `${program} is missing on this machine. Get it with: apt-get update && apt-get install -y ${fromPackage}`
  )
}
