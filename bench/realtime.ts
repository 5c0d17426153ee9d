/**
 * Live connections of many browsers to one platform: how long a reading takes from its device to who watches it, and what
 * that costs. Devices publish over MQTT from this process; the browsers are a process of their own.
 *
 *   node bench/realtime.ts --clients 5000 --rate 1000 --devices 1000 --seconds 60
 *
 * Each client watches one device, `clients / devices` of them the same. Prints percentiles from just before the publish to
 * the client's handler, and the platform's memory and processor time.
 * @module
 */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { io } from "socket.io-client"
import { DeviceConnection } from "../test/support/DeviceConnection.ts"
import {
  ADMIN_EMAIL,
  ADMIN_PASSWORD,
  type Device,
  eventually,
  nodeBinary,
  PlatformProcess
} from "../test/support/PlatformProcess.ts"
import { percentiles, Reservoir } from "./percentiles.ts"

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "5000" },
    devices: { type: "string", default: "1000" },
    rate: { type: "string", default: "1000" },
    seconds: { type: "string", default: "60" },
    browsers: { type: "string" } // of the process with the clients: where they connect
  }
})
const [clients, devices, rate, seconds] = [values.clients, values.devices, values.rate, values.seconds].map(Number) as [
  number,
  number,
  number,
  number
]

interface BrowserPlan {
  readonly url: string
  readonly token: string
  readonly devices: ReadonlyArray<string>
  readonly clients: number
}
interface BrowserResult {
  readonly told: number
  readonly refetches: number
  readonly disconnects: number
  readonly millis: { readonly p50: number; readonly p95: number; readonly p99: number }
  readonly connectSeconds: number
}

/** Connections that are being made at the same time. */
const CONNECTING = 50

/** Connects all, says so, measures until standard input ends, and prints a {@link BrowserResult}. */
const browse = async ({ clients, devices, token, url }: BrowserPlan): Promise<void> => {
  const delays = new Reservoir(200_000)
  let [told, refetches, disconnects, isMeasuring] = [0, 0, 0, false]
  const open = (number: number) =>
    new Promise<void>((resolve, reject) => {
      const socket = io(url, { auth: { token }, forceNew: true, transports: ["websocket"], reconnection: false })
      socket.on("telemetry:new", ({ metrics }: { metrics: { sentAt: number } }) => {
        if (!isMeasuring) return
        told++
        delays.add(Date.now() - metrics.sentAt)
      })
      socket.on("refetch", () => void refetches++)
      socket.on("disconnect", () => void disconnects++)
      socket.on("connect_error", reject)
      socket.on("connect", () => {
        const room = { entityType: "device", id: devices[number % devices.length] }
        socket.emit("subscribe", room, ({ ok }: { ok: boolean }) => (ok ? resolve() : reject(new Error("refused"))))
      })
    })
  const began = performance.now()
  let next = 0
  await Promise.all(
    Array.from({ length: CONNECTING }, async () => {
      while (next < clients) await open(next++)
    })
  )
  const connectSeconds = (performance.now() - began) / 1_000
  console.log("connected")
  await new Promise<void>((resolve) => {
    process.stdin.on("data", (text: Buffer) => {
      if (text.toString().includes("measure")) isMeasuring = true
    })
    process.stdin.on("end", resolve)
  })
  const result: BrowserResult = { told, refetches, disconnects, millis: percentiles(delays.values), connectSeconds }
  console.log(JSON.stringify(result))
  process.exit(0)
}

const startBrowsers = (plan: BrowserPlan) => {
  const child = spawn(nodeBinary, [fileURLToPath(import.meta.url), "--browsers", JSON.stringify(plan)], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  let output = ""
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
  const isUp = () => {
    if (child.exitCode !== null) throw new Error("the browsers have ended")
    return output.includes("connected\n") ? true : undefined
  }
  return {
    connected: () => eventually("all clients being connected", 300, isUp),
    measure: () => void child.stdin.write("measure\n"),
    finish: async (): Promise<BrowserResult> => {
      child.stdin.end()
      await ended
      return JSON.parse(output.trim().split("\n").at(-1) ?? "") as BrowserResult
    }
  }
}

const megabytesOf = (pid: number) =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1_024
/** Of user and system, in seconds. */
const processorSecondsOf = (pid: number) => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ")
  return (Number(fields[11]) + Number(fields[12])) / 100
}

const main = async () => {
  const many = String(clients + 1_000)
  const platform = await PlatformProcess.prepare({
    env: {
      REALTIME_MAX_CONNECTIONS: many,
      REALTIME_CONNECTIONS_PER_USER: many,
      REALTIME_CONNECTIONS_PER_ORGANIZATION: many
    }
  })
  try {
    await platform.start()
    const typeId = await platform.createDeviceType("Live", { processingMode: "endpoint" })
    const made: Array<Device> = []
    let next = 0
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        while (next < devices) made.push(await platform.createDevice(`Live ${next++}`, typeId))
      })
    )
    const connections = made.map(
      ({ id, key }) => new DeviceConnection({ port: platform.mqttPort, deviceId: id, key, window: 10 })
    )
    await eventually("all devices being connected", 120, () =>
      connections.every(({ isConnected }) => isConnected) ? true : undefined
    )
    const megabytesBefore = megabytesOf(platform.pid)
    const login = await platform.request("POST", "/api/v1/auth/login", { email: ADMIN_EMAIL, password: ADMIN_PASSWORD })
    const { accessToken } = login.body as { accessToken: string }
    const browsers = startBrowsers({
      url: platform.url,
      token: accessToken,
      devices: made.map(({ id }) => id),
      clients
    })
    await browsers.connected()
    const megabytesConnected = megabytesOf(platform.pid)

    let [sent, most] = [0, 0]
    const publishFor = async (duration: number) => {
      const began = performance.now()
      const first = sent
      while (performance.now() - began < duration * 1_000) {
        const due = first + Math.floor(((performance.now() - began) / 1_000) * rate)
        for (; sent < due; sent++) {
          const payload = Buffer.from(JSON.stringify({ sentAt: Date.now(), value: sent }))
          connections[sent % connections.length]!.publish({ sequence: sent, payload })
        }
        most = Math.max(most, megabytesOf(platform.pid))
        await sleep(5)
      }
    }
    await publishFor(5) // profiles are loaded, code is compiled
    browsers.measure()
    const [sentBefore, processorBefore] = [sent, processorSecondsOf(platform.pid)]
    await publishFor(seconds)
    const processor = processorSecondsOf(platform.pid) - processorBefore
    await sleep(2_000)
    const { connectSeconds, disconnects, millis, refetches, told } = await browsers.finish()
    for (const connection of connections) connection.close()
    console.table({
      "clients, devices": `${clients}, ${devices}`,
      "published a second": Math.round((sent - sentBefore) / seconds),
      "told a second": Math.round(told / seconds),
      "device to client, ms p50 / p95 / p99": `${millis.p50} / ${millis.p95} / ${millis.p99}`,
      "refetches, disconnects": `${refetches}, ${disconnects}`,
      "all connected within, s": Number(connectSeconds.toFixed(1)),
      "platform RSS, MB: before, connected, most": [megabytesBefore, megabytesConnected, most]
        .map(Math.round)
        .join(", "),
      "platform processor, % of one core": Math.round((processor / seconds) * 100)
    })
  } finally {
    await platform.dispose()
  }
}

await (values.browsers === undefined ? main() : browse(JSON.parse(values.browsers) as BrowserPlan))
