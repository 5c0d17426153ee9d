/**
 * What the REST API answers: latest values per second, a list of 100 devices out of many, devices added in bulk. A platform of
 * its own on an empty directory; this process asks, so it takes its share of the processors.
 *
 *   node bench/rest.ts [--devices 100000] [--seconds 10] [--connections 32]
 *
 * Prints tables.
 * @module
 */
import { Agent, request } from "node:http"
import { parseArgs } from "node:util"
import { table } from "../services/platform/table.ts"
import { PlatformProcess } from "../test/support/PlatformProcess.ts"
import { cpuMicros } from "../test/support/processes.ts"
import { connectSuperuser } from "../test/support/superuser.ts"
import { percentiles } from "./percentiles.ts"

const { values: options } = parseArgs({
  options: {
    devices: { type: "string", default: "100000" },
    seconds: { type: "string", default: "10" },
    connections: { type: "string", default: "32" }
  }
})
const devices = Number(options.devices)
const seconds = Number(options.seconds)
const connections = Number(options.connections)
const ROWS = 10_000

const platform = await PlatformProcess.prepare({ env: { LOG_LEVEL: "Warn" } })
const agent = new Agent({ keepAlive: true, maxSockets: connections })

interface Answered {
  readonly status: number
  readonly text: string
}
const ask = (token: string, path: string, body?: string): Promise<Answered> =>
  new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
    }
    const asking = request(
      `${platform.url}/api/v1${path}`,
      { agent, headers, method: body === undefined ? "GET" : "POST" },
      (answer) => {
        const pieces: Array<Buffer> = []
        answer.on("data", (piece: Buffer) => pieces.push(piece))
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(pieces).toString() }))
        answer.on("error", reject)
      }
    )
    asking.on("error", reject)
    asking.end(body)
  })
const askWell = async (token: string, path: string, body?: string): Promise<string> => {
  const { status, text } = await ask(token, path, body)
  if (status >= 300) throw new Error(`${path}: ${status} ${text.slice(0, 500)}`)
  return text
}

/** Requests per second and how long each took, by as many askers as there are connections. */
const throughput = async (token: string, pathOf: (index: number) => string, asCount: number, forSeconds: number) => {
  const times: Array<number> = []
  let index = 0
  const postgres = platform.postgresPid
  const cpu = () => [
    cpuMicros(platform.pid),
    postgres === undefined ? 0 : cpuMicros(postgres, { withDescendants: true }),
    process.cpuUsage().user + process.cpuUsage().system
  ]
  const cpuBefore = cpu()
  const began = performance.now()
  const until = began + forSeconds * 1_000
  const asker = async () => {
    while (performance.now() < until) {
      const start = performance.now()
      await askWell(token, pathOf(index++))
      times.push(performance.now() - start)
    }
  }
  await Promise.all(Array.from({ length: asCount }, asker))
  const perSecond = (times.length * 1_000) / (performance.now() - began)
  const cpuEach = cpu().map((micros, part) => Math.round((micros - cpuBefore[part]!) / times.length))
  return { perSecond, cpuEach, ...percentiles(times) }
}
const shown = (what: string, { cpuEach, p50, p95, p99, perSecond }: Awaited<ReturnType<typeof throughput>>) => [
  what,
  perSecond.toFixed(0),
  p50.toFixed(1),
  p95.toFixed(1),
  p99.toFixed(1),
  cpuEach.join(" + ")
]
const heading = ["", "requests/s", "p50 ms", "p95 ms", "p99 ms", "CPU µs each: platform + PostgreSQL + this process"]

try {
  await platform.start()
  const { body: session } = await platform.request("POST", "/api/v1/auth/login", {
    email: "admin@example.com",
    password: "correct-horse-battery-staple"
  })
  const { accessToken: token } = session as { accessToken: string }
  const { items } = JSON.parse(await askWell(token, "/device-types")) as { items: ReadonlyArray<{ id: string }> }
  const deviceTypeId = items[0]!.id

  const ids: Array<string> = []
  const imports: Array<number> = []
  for (let from = 0; from < devices; from += ROWS) {
    const rows = Array.from({ length: Math.min(ROWS, devices - from) }, (_, index) => ({
      name: `Device ${String((from + index) * 7919).padStart(10, "0")}`,
      deviceTypeId,
      externalId: `bench-${from + index}`,
      serialNumber: `S-${from + index}`,
      customAttributes: { floor: index % 7 }
    }))
    const start = performance.now()
    const answer = JSON.parse(await askWell(token, "/devices/bulk", JSON.stringify({ devices: rows }))) as {
      created: number
      results: ReadonlyArray<{ id: string }>
    }
    imports.push((performance.now() - start) / 1_000)
    if (answer.created !== rows.length) throw new Error(`only ${answer.created} of ${rows.length} rows were created`)
    ids.push(...answer.results.map(({ id }) => id))
  }
  const worst = Math.max(...imports)
  console.log(
    `\n${ROWS} devices by POST /devices/bulk: ${imports[0]!.toFixed(2)} s the first, ${worst.toFixed(2)} s the slowest\n`
  )

  const superuser = await connectSuperuser(platform.dataDirectory)
  await superuser.query(`
    insert into entity_latest (entity_id, entity_type, tenant_id, metrics, newest_ts, updated_at)
    select id, 'device', tenant_id, (select jsonb_object_agg('metric_' || n, n * 1.5) from generate_series(1, 10) n), now(), now()
    from devices where external_id like 'bench-%'`)
  await superuser.query(
    "insert into device_status (device_id, tenant_id, connectivity, last_seen_at) select id, tenant_id, 'online', now() from devices on conflict do nothing"
  )
  await superuser.query("analyze")
  await superuser.close()

  const latest = (index: number) => `/telemetry/device/${ids[(index * 7919) % ids.length]}/latest`
  await throughput(token, latest, connections, 3)
  const rows = [shown("GET /telemetry/device/:id/latest", await throughput(token, latest, connections, seconds))]

  let cursor: string | null = null
  const middle = { cursor: "" }
  for (let page = 0; page < 20; page++) {
    const at: string = cursor === null ? "" : `&cursor=${cursor}`
    cursor = (JSON.parse(await askWell(token, `/devices?limit=500${at}`)) as { nextCursor: string | null }).nextCursor
    if (cursor === null) break
    middle.cursor = cursor
  }
  const lists: Readonly<Record<string, string>> = {
    "100 devices, by name": "/devices?limit=100",
    "100 devices, from the 10,000th on": `/devices?limit=100&cursor=${middle.cursor}`,
    "100 devices, newest first": "/devices?limit=100&sort=-createdAt",
    "100 devices, of a type": `/devices?limit=100&deviceTypeId=${deviceTypeId}`,
    "100 devices that are online": "/devices?limit=100&connectivityStatus=online",
    "devices by part of a name": "/devices?limit=100&q=0000791",
    "a device by its external id": "/devices?externalId=bench-77"
  }
  for (const [what, path] of Object.entries(lists)) {
    await throughput(token, () => path, 1, 1)
    rows.push(shown(what, await throughput(token, () => path, 2, Math.min(seconds, 5))))
  }
  console.log(table(heading, rows))
} finally {
  agent.destroy()
  await platform.dispose()
}
