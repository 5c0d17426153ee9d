/**
 * `npm run test:containers`: the integration suites on components in containers, then docker-compose.yml brought up; one of
 * them with `-- suites` or `-- compose`. With TEST_IMAGES=local on images built on this machine, else with those that
 * docker-compose.yml names. Needs this machine's Docker daemon, and Docker Compose for the second.
 * @module
 */
import { bringComposeUp } from "./composeRun.ts"
import { standInImage } from "./componentImages.ts"
import { buildComponents, buildPlatform } from "./images.ts"
import { runSuites } from "./suites.ts"

const started = performance.now()
const say = (line: string) => console.log(`[${((performance.now() - started) / 1000).toFixed(1)} s] ${line}`)
const chosen = process.argv.slice(2)
const has = (part: "suites" | "compose") => chosen.length === 0 || chosen.includes(part)

if (process.env["TEST_IMAGES"] === "local") {
  buildComponents(standInImage)
  say("the stand-in image is built")
}
if (has("suites")) {
  if (!runSuites()) process.exitCode = 1
  say("the suites have run")
}
if (has("compose")) {
  buildPlatform("argusiq-lite:local")
  say("the platform's image is built")
  await bringComposeUp(say)
}
