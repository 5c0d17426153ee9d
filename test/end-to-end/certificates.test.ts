import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { debianProgram } from "../support/components/debian.ts"
import { eventually, PlatformProcess } from "../support/PlatformProcess.ts"
import { argusiq } from "./Argusiq.ts"

interface Latest {
  readonly metrics: Readonly<Record<string, { readonly value: unknown }>>
}
interface Notification {
  readonly title: string
}

describe("certificates on the command line, and mosquitto", () => {
  let platform: PlatformProcess
  const workshop = mkdtempSync(join(tmpdir(), "argusiq-cert-"))

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare()).start()
  }, 90_000)
  afterAll(async () => {
    await platform.dispose()
    rmSync(workshop, { recursive: true, force: true })
  })

  const cert = (...parameters: ReadonlyArray<string>) =>
    argusiq(["cert", ...parameters], { ARGUSIQ_DATA_DIR: platform.dataDirectory })
  const latest = (id: string) => platform.api<Latest>("GET", `/telemetry/device/${id}/latest`)
  const mosquitto = (directory: string, id: string) => [
    "-h",
    "localhost",
    "-p",
    String(platform.mqttsPort),
    "--cafile",
    join(directory, "ca.crt"),
    "--cert",
    join(directory, "device.crt"),
    "--key",
    join(directory, "device.key"),
    "-i",
    id
  ]
  const publish = (directory: string, id: string, value: number) =>
    spawnSync(
      debianProgram("mosquitto_pub", "mosquitto-clients"),
      [...mosquitto(directory, id), "-q", "1", "-t", `devices/${id}/telemetry`, "-m", `{"temperature": ${value}}`],
      { encoding: "utf8", timeout: 20_000 }
    )

  it("a device gets its certificate, sends with it, is renewed, listed and revoked", async () => {
    const type = await platform.createDeviceType("Certified", { processingMode: "endpoint" })
    const { id } = await platform.createDevice("Pump 7", type)
    const out = join(workshop, "pump")
    const made = await cert("device", "Pump 7", "--days", "20", "--out", out)
    assert.strictEqual(made.code, 0, made.errors)
    assert.strictEqual(statSync(join(out, "device.key")).mode & 0o777, 0o600)
    const sent = publish(out, id, 21.5)
    assert.strictEqual(sent.status, 0, sent.stderr)
    await eventually("the reading", 20, async () =>
      (await latest(id)).metrics["temperature"]?.value === 21.5 ? true : undefined
    )

    const again = await cert("device", "Pump 7", "--out", out)
    assert.notStrictEqual(again.code, 0)
    assert.include(again.errors, "renew or revoke")
    spawnSync(
      "openssl",
      [
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "device.key",
        "-subj",
        "/CN=x",
        "-out",
        "device.csr"
      ],
      { cwd: workshop }
    )
    const renewed = join(workshop, "renewed")
    const csr = join(workshop, "device.csr")
    const next = await cert("device", "Pump 7", "--renew", "--days", "20", "--csr", csr, "--out", renewed)
    assert.strictEqual(next.code, 0, next.errors)
    assert.throws(() => readFileSync(join(renewed, "device.key")))

    const listed = await cert("list", "--expiring-in", "30")
    assert.include(listed.output, id)
    assert.include(listed.output, "expiring")
    assert.notInclude((await cert("list", "--expiring-in", "10")).output, id)

    const listener = spawn(debianProgram("mosquitto_sub", "mosquitto-clients"), [
      ...mosquitto(out, id),
      "-t",
      `devices/${id}/commands/#`
    ])
    const ended = new Promise<number>((resolve) => listener.on("close", () => resolve(Date.now())))
    await eventually("the device online", 20, async () =>
      (await platform.api<{ connectivityStatus: string }>("GET", `/devices/${id}`)).connectivityStatus === "online"
        ? true
        : undefined
    )
    const revokedAt = Date.now()
    const revoked = await cert("revoke", "Pump 7", "--reason", "keyCompromise")
    assert.strictEqual(revoked.code, 0, revoked.errors)
    // It connects again by itself, and is refused: the events tell.
    await eventually("the refusal of its next connection", 5 - (Date.now() - revokedAt) / 1000 + 5, async () => {
      const { items } = await platform.api<{ items: ReadonlyArray<{ eventType: string }> }>("GET", "/events?limit=500")
      return items.some(({ eventType }) => eventType === "CERTIFICATE_REFUSED") ? true : undefined
    })
    listener.kill()
    await ended
    assert.notStrictEqual(publish(out, id, 99).status, 0)
    const list = await (await fetch(`${platform.url}/crl.pem`)).text()
    const read = spawnSync(debianProgram("openssl", "openssl"), ["crl", "-noout", "-text"], {
      input: list,
      encoding: "utf8"
    })
    assert.match(read.stdout, /Key Compromise/)
    assert.strictEqual((await latest(id)).metrics["temperature"]?.value, 21.5)
  }, 120_000)

  it("the administrators are told by a notification that a certificate ends soon", async () => {
    const { id } = await platform.createDevice(
      "Pump 8",
      await platform.createDeviceType("Ending", { processingMode: "endpoint" })
    )
    await platform.api("POST", `/devices/${id}/certificate`, { validityDays: 5 })
    // It is looked for at the start, then every ten minutes.
    await platform.stop()
    await platform.start()
    const told = await eventually("the notification", 60, async () => {
      const { items } = await platform.api<{ items: ReadonlyArray<Notification> }>("GET", "/notifications?limit=500")
      return items.find(({ title }) => title.startsWith("The certificate of Pump 8"))
    })
    assert.match(told.title, /ends in 5 days/)
  }, 120_000)

  it("an authority and a broker's certificate are made without a platform, once", async () => {
    const settings = { ARGUSIQ_DATA_DIR: join(workshop, "data") }
    const run = (...parameters: ReadonlyArray<string>) => argusiq(["cert", ...parameters], settings)
    const [first, second] = [await run("init"), await run("init")]
    assert.strictEqual(first.code, 0, first.errors)
    assert.strictEqual(second.output, first.output)
    const out = join(workshop, "broker")
    const made = await run("server", "--host", "mqtt.example.com,10.0.0.1", "--out", out)
    assert.strictEqual(made.code, 0, made.errors)
    const certificate = readFileSync(join(out, "server.crt"), "utf8")
    await run("server", "--host", "mqtt.example.com", "--out", out)
    assert.strictEqual(readFileSync(join(out, "server.crt"), "utf8"), certificate)
    const verified = spawnSync(
      debianProgram("openssl", "openssl"),
      ["verify", "-CAfile", "ca.crt", "-verify_ip", "10.0.0.1", "server.crt"],
      {
        cwd: out,
        encoding: "utf8"
      }
    )
    assert.include(verified.stdout, "OK")
  }, 60_000)
})
