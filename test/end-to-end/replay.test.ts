import { Groups } from "@argusiq/domain/pipeline.ts"
import { assert, describe, it } from "@effect/vitest"
import { connectAsync } from "mqtt"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import { eventually, PlatformProcess } from "../support/PlatformProcess.ts"
import { connectSuperuser, type Superuser } from "../support/superuser.ts"
import { argusiq } from "./Argusiq.ts"

const demoOrganization = "d0000000-0000-4000-8000-000000000001"
const demoDevice = (number: number) => `d0000000-0000-4000-8000-000000000${number}`
const at = (minute: number) => new Date(Date.UTC(2026, 0, 29, 10, minute)).toISOString()

/** What one device of each processing mode sends; readings without a timestamp of their own among them. */
const modes: ReadonlyArray<{
  readonly mode: string
  readonly deviceId: string
  readonly payloads: ReadonlyArray<object>
}> = [
  {
    mode: "endpoint",
    deviceId: demoDevice(301),
    payloads: Array.from({ length: 20 }, (_, n) =>
      n % 4 === 0 ? { temperature: n } : { timestamp: at(n), temperature: n, humidity: n * 2 }
    )
  },
  {
    mode: "gateway",
    deviceId: demoDevice(304),
    payloads: Array.from({ length: 5 }, (_, n) => ({
      timestamp: at(n),
      devices: Array.from({ length: 4 }, (_, child) => ({ beaconId: `hub-${child % 3}`, rssi: -child, battery: n }))
    }))
  },
  {
    mode: "gateway_chunked",
    deviceId: demoDevice(305),
    payloads: Array.from({ length: 12 }, (_, n) => ({
      correlationId: `whole-${n % 4}`,
      seq: 1 + Math.floor(n / 4),
      total: 3,
      timestamp: at(n % 4),
      data: { devices: [{ beaconId: `ble-${n % 5}`, rssi: -n, battery: n }] }
    }))
  },
  {
    mode: "rtu_multiport",
    deviceId: demoDevice(306),
    payloads: Array.from({ length: 5 }, (_, n) => ({
      timestamp: at(n),
      ports: [1, 2, 3, 4].map((port) => ({ port, voltage: 230 + n, current: port }))
    }))
  }
]

interface Consumers {
  readonly items: ReadonlyArray<{ readonly group: string; readonly lag: number; readonly state: string }>
}

describe("everything consumed again from offset 0", () => {
  let platform: PlatformProcess
  let database: Superuser

  beforeAll(async () => {
    platform = await (await PlatformProcess.prepare({ env: { ARGUSIQ_DEMO: "1" } })).start()
    database = await connectSuperuser(platform.dataDirectory)
  }, 120_000)
  afterAll(async () => {
    await database?.close()
    await platform?.dispose()
  })

  const command = (...parameters: ReadonlyArray<string>) =>
    argusiq(parameters, { ARGUSIQ_DATA_DIR: platform.dataDirectory })

  /** As the command line, for the demo organisation. */
  const demoApi = async <A>(method: string, path: string, body?: unknown): Promise<A> => {
    const token = readFileSync(join(platform.dataDirectory, "cli-token"), "utf8").trim()
    const answer = await platform.request(method, `/api/v1${path}`, body, {
      authorization: `Bearer ${token}`,
      "x-organization-id": demoOrganization
    })
    assert.isBelow(answer.status, 300, `${method} ${path}: ${JSON.stringify(answer.body)}`)
    return answer.body as A
  }

  const hash = async () => {
    const [row] = await database.query<{ hash: string; rows: number }>(
      `select md5(string_agg(line, '|' order by line)) as hash, count(*)::int as rows
       from (select h::text as line from telemetry_history h) history`
    )
    return row!
  }
  const rawRows = async () =>
    (await database.query<{ n: number }>("select count(*)::int as n from telemetry_raw"))[0]?.n

  const drained = () => {
    let calm = 0
    return eventually("the pipeline's end", 60, async () => {
      const { items } = await platform.api<Consumers>("GET", "/consumers")
      calm = items.every(({ lag }) => lag === 0) ? calm + 1 : 0
      return calm > 5 ? true : undefined
    })
  }

  it("stores what a device of each mode sends", async () => {
    for (const { deviceId, payloads } of modes) {
      const { key } = await demoApi<{ key: string }>("POST", `/devices/${deviceId}/api-keys`, {})
      const client = await connectAsync(`mqtt://127.0.0.1:${platform.mqttPort}`, {
        username: deviceId,
        password: key
      })
      for (const payload of payloads) {
        await client.publishAsync(`devices/${deviceId}/telemetry`, JSON.stringify(payload), { qos: 1 })
      }
      await client.endAsync()
    }
    await drained()
    for (const { deviceId, mode } of modes) {
      const [row] = await database.query<{ n: number }>(
        `select count(*)::int as n from telemetry_frames where source_device_id = '${deviceId}'`
      )
      assert.isAbove(row?.n ?? 0, 0, mode)
    }
  })

  it("leaves the hash over the history as it was, twice", async () => {
    const before = await hash()
    const copies = await rawRows()
    assert.isAbove(before.rows, 100)
    for (let times = 0; times < 2; times++) {
      await Promise.all(
        Object.values(Groups).map((group) => demoApi("POST", "/consumers/rewind", { group, offset: "0" }))
      )
      await drained()
      assert.deepStrictEqual(await hash(), before)
      assert.strictEqual(await rawRows(), copies)
    }
    await eventually("every group running again", 30, async () => {
      const { items } = await platform.api<Consumers>("GET", "/consumers")
      return items.every(({ state }) => state === "running") ? true : undefined
    })
  })

  it("can be shown, cancelled and asked for as a job", async () => {
    const { jobId } = await demoApi<{ jobId: string }>("POST", "/telemetry/replay", {
      startTime: at(0),
      endTime: new Date().toISOString(),
      source: "raw",
      targetStream: "telemetry.raw.v1"
    })
    const before = await hash()
    const organization = ["--organization", demoOrganization]
    await eventually("the job's end", 60, async () => {
      const { status } = await demoApi<{ status: string }>("GET", `/jobs/${jobId}`)
      return status === "completed" ? true : undefined
    })
    await drained()
    assert.deepStrictEqual(await hash(), before)
    const [list, cancel, replay, nobody] = await Promise.all([
      command("jobs", "list", ...organization),
      command("jobs", "cancel", jobId, ...organization),
      command("replay", "--group", Groups.normalizer, "--from-time", at(0)),
      command("replay", "--group", "argusiq.nobody", "--from-offset", "0")
    ])
    assert.include(list.output, jobId, list.errors)
    assert.include(cancel.output, "had ended already", cancel.errors)
    assert.include(replay.output, "telemetry.endpoint.v1", replay.errors)
    assert.include(nobody.errors, "There is no such consumer group")
    assert.deepStrictEqual([replay.code, nobody.code], [0, 1])
    await drained()
    assert.deepStrictEqual(await hash(), before)
  })
})
