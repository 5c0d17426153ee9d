/**
 * Lint rule `argusiq/import-directions`: imports go domain ← layers ← services. Packages meet by their names
 * (`@argusiq/domain/ids.ts`), never by a path that leaves the package; services never import one another, except that
 * `services/platform` imports all of them to compose; `domain` depends on nothing that could do I/O. `client` knows the
 * domain only, and of the services only `services/platform` uses it.
 * @module
 */
import { dirname, join, relative, sep } from "node:path"

/** What the domain may import besides its own files. */
const domainDependencies = new Set([
  "effect",
  "ajv",
  "jsonata",
  "jsonpath-plus",
  "re2js",
  "cborg",
  "protobufjs",
  "node:crypto"
])

/** The package that a path within the checkout belongs to, as its folder: `domain`, `client`, `services/api`; else undefined. */
const packageOfPath = (path) => {
  const [first, second] = path.split("/")
  if (first === "domain" || first === "layers" || first === "client") return first
  return first === "services" && second !== undefined ? `services/${second}` : undefined
}

const packageOfName = (name) => (["domain", "layers", "client"].includes(name) ? name : `services/${name}`)

const nameOf = (specifier) =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/")

const mayImport = (from, to) => {
  if (from === "services/platform") return true
  if (to === "domain") return true
  return to === "layers" && from.startsWith("services/")
}

/** Why the file at `path` (within the checkout) must not import `specifier`; undefined when it may. */
export const forbidden = (path, specifier) => {
  const from = packageOfPath(path)
  if (from === undefined) return undefined
  if (specifier.startsWith(".") || specifier.startsWith("/")) {
    const target = join(dirname(path), specifier).split(sep).join("/")
    if (packageOfPath(target) === from) return undefined
    if (from === "services/platform" && target.startsWith("scripts/")) return undefined
    return `${specifier} leaves the package ${from}: packages meet by their names (@argusiq/…)`
  }
  const name = nameOf(specifier)
  if (name.startsWith("@argusiq/")) {
    const to = packageOfName(name.slice("@argusiq/".length))
    if (to === from) return `${specifier}: inside a package, imports are relative`
    return mayImport(from, to) ? undefined : `${from} must not import ${to}: imports go domain ← layers ← services`
  }
  if (from === "domain" && !domainDependencies.has(name)) {
    return `domain must not import ${specifier}: it does no I/O and depends on ${[...domainDependencies].join(", ")} only`
  }
  return undefined
}

const importDirections = {
  create(context) {
    const path = relative(context.cwd, context.filename).split(sep).join("/")
    const check = (node) => {
      const specifier = node.source?.value
      if (typeof specifier !== "string") return
      const message = forbidden(path, specifier)
      if (message !== undefined) context.report({ node, message })
    }
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
      TSImportType: check
    }
  }
}

export default { meta: { name: "argusiq" }, rules: { "import-directions": importDirections } }
