import { Bus } from "@argusiq/layers/bus/Bus.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { run } from "@argusiq/bridge/Bridge.ts"
import * as DC from "@argusiq/bridge/DeviceConnections.ts"
import * as Ingest from "@argusiq/bridge/Ingest.ts"
import { ConfigProvider, Effect, Layer } from "effect"
import { spawn } from "node:child_process"
import { hash } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const n = 1000
const tenantId = "00000000-0000-4000-9000-000000000000"
const id = (i: number) => `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`
const devices = new Map(Array.from({ length: n }, (_, i) => [id(i), { deviceId: id(i), tenantId, deviceTypeId: tenantId, status: "active", sequence: 1 }]))
const keys = new Map(Array.from({ length: n }, (_, i) => [hash("sha256", "k" + i, "hex"), { keyId: id(i), deviceId: id(i), tenantId }]))
const profiles = Layer.succeed(Profiles, { cachedDevice: (d: string) => devices.get(d), devices: () => Effect.succeed(devices), apiKey: (k: string) => Effect.succeed(keys.get(k)) } as any)
const dir = mkdtempSync(join(tmpdir(), "benchE-"))
const port = 18830 + Math.floor(Math.random() * 1000)
const bus = LocalBus.layerConfig
const layers = Layer.mergeAll(Ingest.layer, DC.layer).pipe(Layer.provideMerge(bus), Layer.provideMerge(profiles), Layer.provide(Layer.succeed(PipelineSql, (() => {}) as any)),
  Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ ARGUSIQ_DATA_DIR: dir, MQTT_PORT: String(port) }))))
const program = Effect.gen(function* () {
  yield* Effect.forkChild(run)
  yield* Effect.sleep(500)
  const child = spawn(process.execPath, ["/tmp/benchE/load.mjs", String(port), String(n), process.argv[2] ?? "4", "8", process.argv[3] ?? "4"], { stdio: ["ignore", "pipe", "inherit"] })
  let cpu = process.cpuUsage()
  yield* Effect.callback<void>((resume) => {
    child.stdout.on("data", (d) => {
      console.log(String(d).trim())
      if (String(d).includes("GO")) cpu = process.cpuUsage()
      const m = /acked (\d+)/.exec(String(d))
      if (m) { const c = process.cpuUsage(cpu); console.log("cpu us/msg", (c.user + c.system) / Number(m[1]), "rss", process.memoryUsage().rss / 1e6) }
    })
    child.on("exit", () => resume(Effect.void))
  })
}).pipe(Effect.scoped, Effect.provide(layers), Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ MQTT_PORT: String(port) }))))
await Effect.runPromise(program as any)
rmSync(dir, { recursive: true })
process.exit()
