/**
 * Apache Kafka as jars of Maven Central.
 * @module
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { debianProgram } from "./debian.ts"

const pom = fileURLToPath(new URL("kafka-pom.xml", import.meta.url))
const cache = fileURLToPath(new URL("../../../node_modules/.cache/argusiq-kafka", import.meta.url))

/** The directory of the jars, filled by Maven at the first use and kept. */
export const kafkaJars = (): string => {
  const version = /<version>(\d+\.\d+\.\d+)<\/version>/.exec(readFileSync(pom, "utf8"))?.[1] ?? "unknown"
  const directory = join(cache, version)
  if (existsSync(directory)) return directory
  mkdirSync(cache, { recursive: true })
  const partial = mkdtempSync(join(cache, "partial-"))
  const { status, error, stdout, stderr } = spawnSync(
    debianProgram("mvn", "maven"),
    ["-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", `-DoutputDirectory=${partial}`],
    { encoding: "utf8" }
  )
  if (status !== 0) {
    rmSync(partial, { recursive: true })
    const why = error?.message ?? `${stdout}${stderr}`
    throw new Error(`Kafka's jars could not be had with Maven: ${why}`)
  }
  // Whoever is first wins; what another process has put there meanwhile is the same.
  if (existsSync(directory)) rmSync(partial, { recursive: true })
  else renameSync(partial, directory)
  return directory
}
