import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { ServiceNames } from "../../services/platform/services.ts"
import { settings } from "../../services/platform/settings.ts"
import { type Node, readCompose } from "./compose.ts"
import { environmentExample } from "./environmentExample.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const read = (path: string) => readFileSync(join(root, path), "utf8")

type Map = { readonly [key: string]: Node }
const map = (node: Node | undefined): Map => {
  if (node === undefined || typeof node === "string" || Array.isArray(node)) throw new Error(`not a mapping: ${node}`)
  return node as Map
}
const list = (node: Node | undefined): ReadonlyArray<string> => (Array.isArray(node) ? node.map(String) : [])

const compose = read("docker-compose.yml")
const services = map(readCompose(compose)["services"])
const ours = Object.entries(services).filter(([, service]) => String(map(service)["image"]).startsWith("argusiq-lite:"))
const theirs = Object.entries(services).filter(([name]) => !ours.some(([our]) => our === name))

const known = new Set(settings.map(({ name }) => name))
/** Read by Node and its libraries. */
const ofNode = ["NODE_ENV"]
const interpolated = new Set([...compose.matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name ?? ""))
const inExample = new Set([...read(".env.example").matchAll(/^#?([A-Z][A-Z0-9_]*)=/gm)].map(([, name]) => name ?? ""))

describe("what the deployment sets", () => {
  it("is read by the platform, in .env.example", () => {
    assert.deepStrictEqual(
      [...inExample].filter((name) => !known.has(name) && !interpolated.has(name)),
      []
    )
  })

  it("is read by the platform, in docker-compose.yml", () => {
    for (const [, service] of ours) {
      const names = Object.entries(map(map(service)["environment"])).flatMap(([name, value]) =>
        value === "" ? [] : [name]
      )
      assert.isAbove(names.length, 4)
      assert.deepStrictEqual(
        names.filter((name) => !known.has(name)),
        []
      )
    }
  })

  it("is read by the platform, in the Dockerfile", () => {
    const block = /^ENV ((?:.*\\\n)*.*)$/m.exec(read("Dockerfile"))?.[1] ?? ""
    const names = [...block.matchAll(/([A-Z][A-Z0-9_]*)=/g)].map(([, name]) => name ?? "")
    assert.isAbove(names.length, 3)
    assert.deepStrictEqual(
      names.filter((name) => !known.has(name) && !ofNode.includes(name)),
      []
    )
  })

  it("is all that can be set: .env.example has every setting and every variable of docker-compose.yml", () => {
    assert.deepStrictEqual(
      [...known, ...interpolated].filter((name) => !inExample.has(name)),
      []
    )
    assert.strictEqual(
      read(".env.example"),
      environmentExample(),
      "node test/deploy/environmentExample.ts > .env.example"
    )
  })
})

describe("docker-compose.yml", () => {
  it("runs every service in a container of its own, and all of them in one", () => {
    const started = ours.map(([, service]) => list(map(service)["command"]).join(" "))
    assert.deepStrictEqual(
      started.toSorted(),
      ["", ...ServiceNames.map((name) => `start --services ${name}`)].toSorted()
    )
  })

  it("names the version of every component, and how one sees that it works", () => {
    assert.deepStrictEqual(theirs.map(([name]) => name).toSorted(), ["database", "kafka", "mqtt", "redis"])
    for (const [name, service] of theirs) {
      assert.match(String(map(service)["image"]), /:v?\d+\.\d+\.\d+[\w.-]*$/, name)
      assert.isAbove(list(map(map(service)["healthcheck"])["test"]).length, 1, name)
    }
    for (const [name, service] of ours) {
      assert.deepStrictEqual(
        Object.keys(map(map(service)["depends_on"])).toSorted(),
        theirs.map(([one]) => one).toSorted(),
        name
      )
    }
  })

  it("keeps what must last in volumes that it declares, and mounts files that exist or that one is told to make", () => {
    const declared = Object.keys(map(readCompose(compose)["volumes"]))
    const mounts = Object.values(services).flatMap((service) => list(map(service)["volumes"]))
    for (const mount of mounts) {
      const source = mount.split(":")[0] ?? ""
      if (!source.startsWith("./")) assert.include(declared, source)
      else assert.isTrue(existsSync(join(root, source)) || existsSync(join(root, `${source}.example`)), source)
    }
    for (const name of declared)
      assert.isTrue(
        mounts.some((mount) => mount.startsWith(`${name}:`)),
        name
      )
  })

  it("keeps the secrets of .env out of the containers that do not need them", () => {
    const secrets = [...read(".env.example").matchAll(/^([A-Z_]+)=$/gm)].map(([, name]) => name ?? "")
    assert.isAbove(secrets.length, 4)
    for (const [name, service] of ours) {
      const environment = map(map(service)["environment"])
      const readsBroker = ["bridge", "platform"].includes(name)
      const given = secrets.filter((secret) => environment[secret] !== "")
      assert.deepStrictEqual(given, readsBroker ? ["WEBHOOK_SECRET"] : [], name)
      assert.strictEqual("MQTT_URL" in environment, readsBroker, name)
    }
  })

  it("holds no password", () => {
    for (const [, name] of compose.matchAll(/^\s+(\w*(?:PASSWORD|SECRET|COOKIE|AUTH)): *(?!"")[^$\s]/gm))
      assert.fail(name)
    for (const url of compose.match(/\w+:\/\/[^@\s]*:[^@\s]*@/g) ?? []) assert.include(url, "${")
  })
})

describe("the Dockerfile", () => {
  const dockerfile = read("Dockerfile")

  it("copies the package.json of every workspace, so that npm ci knows them", () => {
    const { workspaces } = JSON.parse(read("package.json")) as { readonly workspaces: ReadonlyArray<string> }
    assert.deepStrictEqual(workspaces, ["domain", "layers", "client", "services/*"])
    const folders = ["domain", "layers", "client", ...[...ServiceNames, "platform"].map((name) => `services/${name}`)]
    for (const folder of folders) assert.include(dockerfile, `COPY ${folder}/package.json ${folder}/`)
  })

  it("finds in its build context all that it copies", () => {
    const [everything, ...patterns] = read(".dockerignore").split("\n")
    assert.strictEqual(everything, "*")
    const passed = patterns.flatMap((line) => (line.startsWith("!") ? [line.slice(1)] : []))
    const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, from = ""]) => from.split(" "))
    assert.isAbove(copies.length, 0)
    for (const path of copies) {
      assert.isTrue(existsSync(join(root, path)), path)
      assert.isTrue(
        passed.some((folder) => path === folder || path.startsWith(`${folder}/`)),
        `.dockerignore lets ${path} through`
      )
    }
  })

  it("runs the platform as a user without rights, on the Node that the checkout has", () => {
    const { dependencies } = JSON.parse(read("package.json")) as { readonly dependencies: { readonly node: string } }
    assert.include(dockerfile, `ARG BASE_IMAGE=node:${dependencies.node}-`)
    assert.include(compose, `BASE_IMAGE:-node:${dependencies.node}-`)
    assert.match(dockerfile, /^USER argusiq$/m)
    assert.match(dockerfile, /^HEALTHCHECK /m)
    assert.include(dockerfile, "--omit=dev")
  })
})
