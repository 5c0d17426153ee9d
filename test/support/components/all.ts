/**
 * Every program that tests start and that npm does not bring.
 * @module
 */
import { debianProgram } from "./debian.ts"
import { kafkaJars } from "./kafkaJars.ts"

const programs: ReadonlyArray<readonly [program: string, fromPackage: string]> = [
  ["redis-server", "redis-server"],
  ["mosquitto", "mosquitto"],
  ["mosquitto_passwd", "mosquitto"],
  ["mosquitto_pub", "mosquitto-clients"],
  ["openssl", "openssl"],
  ["java", "openjdk-17-jre-headless"],
  ["mvn", "maven"]
]

/**
 * Makes sure of them, once, before tests in several processes need them: in CI as root what is missing is installed.
 * Answers one line for each that could not be had, with the way to get it; the suites that need it fail.
 */
export const provideComponents = (): ReadonlyArray<string> => {
  const lines: Array<string> = []
  const attempt = (provide: () => unknown) => {
    try {
      provide()
    } catch (error) {
      lines.push(error instanceof Error ? error.message : String(error))
    }
  }
  for (const [program, fromPackage] of programs) attempt(() => debianProgram(program, fromPackage))
  if (lines.length === 0) attempt(kafkaJars)
  return lines
}
