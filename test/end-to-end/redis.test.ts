import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { RedisServer } from "../support/components/redis.ts"
import { type Device, eventually, PlatformProcess } from "../support/PlatformProcess.ts"

/** The limit of each device, per minute. */
const LIMIT = 5

describe("a platform with Redis", () => {
  let redis: RedisServer
  let platform: PlatformProcess
  let deviceTypeId: string
  beforeAll(async () => {
    redis = await RedisServer.started({ password: "p@ss" })
    const env = { REDIS_URL: redis.url, TELEMETRY_RATE_LIMIT_PER_MINUTE: String(LIMIT) }
    platform = await PlatformProcess.prepare({ env })
    await platform.start()
    deviceTypeId = await platform.createDeviceType("Pump", { processingMode: "endpoint" })
  })
  afterAll(async () => {
    await platform?.dispose()
    await redis?.dispose()
  })

  const send = async ({ id, key }: Device) =>
    (
      await platform.request(
        "POST",
        "/api/v1/telemetry",
        { deviceId: id, metrics: { temperature: 21 } },
        { authorization: `Bearer ${key}` }
      )
    ).status
  const statuses = async (device: Device, count: number) => {
    const answers: Array<number> = []
    for (let sent = 0; sent < count; sent++) answers.push(await send(device))
    return answers
  }
  const readiness = async () => {
    const { body, status } = await platform.request("GET", "/ready")
    const { dependencies } = body as { dependencies: ReadonlyArray<{ name: string; state: string }> }
    return { status, redis: dependencies.find(({ name }) => name === "redis")?.state }
  }

  it("keeps profiles and rate limits there, and its password out of the log", async () => {
    expect(await readiness()).toEqual({ status: 200, redis: "up" })
    const device = await platform.createDevice("one", deviceTypeId)
    expect(await statuses(device, LIMIT + 1)).toEqual([...Array.from({ length: LIMIT }, () => 202), 429])
    expect(await redis.command("KEYS *")).toContain(`rate-limit:${device.id}`)
    await eventually("a profile in Redis", 30, async () => {
      await platform.api("POST", "/cache/invalidate", { type: "all" })
      await send(device)
      return (await redis.command("KEYS *")).includes(`device:profile:${device.id}`) ? true : undefined
    })
    expect(platform.log()).toContain("REDIS_URL=<redacted>")
    expect(platform.log()).not.toMatch(/p@ss|p%40ss/)
  })

  it("goes on accepting while Redis hangs and while it is killed, and tells that it does without", async () => {
    redis.hang()
    const first = await platform.createDevice("two", deviceTypeId)
    expect(await statuses(first, LIMIT + 1)).toEqual([...Array.from({ length: LIMIT }, () => 202), 429])
    await eventually("degraded", 15, async () => ((await readiness()).redis === "degraded" ? true : undefined))
    expect((await readiness()).status).toBe(200)
    await redis.kill()
    const second = await platform.createDevice("three", deviceTypeId)
    expect(await statuses(second, LIMIT + 1)).toEqual([...Array.from({ length: LIMIT }, () => 202), 429])
    await redis.start()
    await eventually("up again", 30, async () => ((await readiness()).redis === "up" ? true : undefined))
    const third = await platform.createDevice("four", deviceTypeId)
    expect(await statuses(third, 1)).toEqual([202])
    expect(await redis.command("KEYS *")).toContain(`rate-limit:${third.id}`)
    expect(platform.log().match(/Redis is away/g)?.length).toBeLessThanOrEqual(4) // begins and is over, once or twice
  })
})
