/**
 * docker-compose.yml as a person brings it up: each service in containers of its own and two of the dispatcher, messages
 * over HTTP and MQTT that become readings, and everything taken down again.
 * @module
 */
import { execFileSync, spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { randomBytes } from "node:crypto"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { environmentExample } from "../deploy/environmentExample.ts"
import { eventually, freePort } from "../support/PlatformProcess.ts"
import { root, run } from "./images.ts"

const local = process.env["TEST_IMAGES"] === "local"
const project = `argusiq-test-${process.pid}`
const composeCommand = (): ReadonlyArray<string> =>
  spawnSync("docker", ["compose", "version"], { stdio: "ignore" }).status === 0
    ? ["docker", "compose"]
    : ["docker-compose"]

const secret = () => randomBytes(12).toString("hex")

/** A directory with what a person has in front of them: the files of the checkout, .env and users.csv filled in. */
const prepare = async () => {
  const directory = mkdtempSync(join(tmpdir(), "argusiq-containers-"))
  const values: Record<string, string> = { ARGUSIQ_ADMIN_EMAIL: "admin@example.com", ARGUSIQ_ADMIN_PASSWORD: secret() }
  for (const [, name = ""] of environmentExample().matchAll(/^([A-Z_]+)=$/gm)) values[name] = secret()
  for (const [, name = ""] of environmentExample().matchAll(/^#([A-Z_]+_PORT)=\d+$/gm)) {
    values[name] = String(await freePort())
  }
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}\n`)
  writeFileSync(join(directory, ".env"), lines.join(""), { mode: 0o600 })
  for (const file of ["docker-compose.yml", "docker-compose.local.yml"]) cpSync(join(root, file), join(directory, file))
  mkdirSync(join(directory, "deploy"))
  cpSync(join(root, "deploy/emqx"), join(directory, "deploy/emqx"), { recursive: true })
  const users = readFileSync(join(root, "deploy/emqx/users.csv.example"), "utf8")
  writeFileSync(
    join(directory, "deploy/emqx/users.csv"),
    users.replace("the-password-in-MQTT_URL", values["MQTT_PASSWORD"] ?? "")
  )
  return { directory, values }
}

const request = async <A>(url: string, token: string | undefined, body?: unknown): Promise<A> => {
  const response = await fetch(url, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      "content-type": "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` })
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return (await response.json()) as A
}

/** Fails unless all of it works. The images exist. */
export const bringComposeUp = async (say: (line: string) => void): Promise<void> => {
  const { directory, values } = await prepare()
  const [command = "", ...first] = composeCommand()
  const files = ["docker-compose.yml", ...(local ? ["docker-compose.local.yml"] : [])].flatMap((file) => ["-f", file])
  const parameters = [...first, "-p", project, "--project-directory", directory, ...files, "--profile", "services"]
  process.chdir(directory)
  const compose = (...rest: ReadonlyArray<string>) => run(command, ...parameters, ...rest)
  try {
    compose("config", "-q")
    compose("up", "-d", "--scale", "dispatcher=2")
    const ids = execFileSync(command, [...parameters, "ps", "-q"], { encoding: "utf8" })
      .trim()
      .split("\n")
    await eventually(
      `${ids.length} containers being healthy`,
      240,
      () => {
        const states = execFileSync("docker", ["inspect", "--format", "{{.State.Health.Status}}", ...ids], {
          encoding: "utf8"
        })
        return states
          .trim()
          .split("\n")
          .every((state) => state === "healthy")
          ? true
          : undefined
      },
      1_000
    )
    say(`${ids.length} containers are healthy`)

    const api = `http://127.0.0.1:${values["API_PORT"]}/api/v1`
    const { accessToken } = await request<{ accessToken: string }>(`${api}/auth/login`, undefined, {
      email: values["ARGUSIQ_ADMIN_EMAIL"],
      password: values["ARGUSIQ_ADMIN_PASSWORD"]
    })
    const type = await request<{ id: string }>(`${api}/device-types`, accessToken, {
      name: "Any",
      config: { processingMode: "endpoint" }
    })
    const device = await request<{ id: string }>(`${api}/devices`, accessToken, { name: "One", deviceTypeId: type.id })
    const { key } = await request<{ key: string }>(`${api}/devices/${device.id}/api-keys`, accessToken, {})

    const becomes = (metric: string, value: number) =>
      eventually(`${metric} becoming ${value}`, 30, async () => {
        const latest = await request<{ metrics: Readonly<Record<string, { value: unknown }>> }>(
          `${api}/telemetry/device/${device.id}/latest`,
          accessToken
        )
        return latest.metrics[metric]?.value === value ? true : undefined
      })
    await request(`http://127.0.0.1:${values["INGEST_PORT"]}/api/v1/telemetry`, key, { metrics: { temperature: 21.5 } })
    await becomes("temperature", 21.5)
    say("a message over HTTP is a reading")

    if (local) {
      const publish = ["-h", "127.0.0.1", "-u", "argusiq-bridge", "-P", values["MQTT_PASSWORD"] ?? "", "-q", "1"]
      const message = ["-t", `devices/${device.id}/telemetry`, "-m", '{"humidity": 55}']
      compose("exec", "-T", "mqtt", "mosquitto_pub", ...publish, ...message)
      await becomes("humidity", 55)
      say("a message through the MQTT broker is a reading")
    }
    compose("exec", "-T", "api", "argusiq", "doctor")
    say("docker-compose.yml: everything passed")
  } catch (error) {
    compose("logs", "--tail", "30")
    throw error
  } finally {
    compose("down", "-v", "--remove-orphans")
    process.chdir(root)
    rmSync(directory, { recursive: true, force: true })
  }
}
