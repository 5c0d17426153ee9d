/** Live connections to two processes of one platform: what happens in one is told by both. */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { connectAsync } from "mqtt"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { ServiceNames } from "../../services/platform/services.ts"
import { KafkaCluster } from "../support/components/kafka.ts"
import { RedisServer } from "../support/components/redis.ts"
import { LiveClient } from "../support/LiveClient.ts"
import { ADMIN_EMAIL, ADMIN_PASSWORD, PlatformProcess } from "../support/PlatformProcess.ts"
import { databaseEnvironment, emptyDatabase, TestDatabase } from "../support/postgres.ts"

/** In the order given; ended the other way round. */
const together = async (database: Readonly<Record<string, string>>, body: (both: Both) => Promise<void>) => {
  const ends: Array<() => Promise<unknown>> = []
  try {
    const secrets = mkdtempSync(join(tmpdir(), "argusiq-secrets-"))
    ends.unshift(async () => rmSync(secrets, { recursive: true, force: true }))
    const kafka = await KafkaCluster.start()
    ends.unshift(() => kafka.remove())
    const redis = await RedisServer.started()
    ends.unshift(() => redis.dispose())
    const env = { ...database, KAFKA_BROKERS: kafka.addresses, REDIS_URL: redis.url, ARGUSIQ_SECRETS_DIR: secrets }
    const start = async (services: NonNullable<Parameters<typeof PlatformProcess.prepare>[0]>["services"] & object) => {
      const process = await PlatformProcess.prepare({ services, env })
      ends.unshift(() => process.dispose())
      return process.start()
    }
    const all = await start(ServiceNames)
    await body({ all, live: await start(["realtime"]), redis })
  } finally {
    for (const end of ends) await end()
  }
}

interface Both {
  readonly all: PlatformProcess
  /** Only live connections. */
  readonly live: PlatformProcess
  readonly redis: RedisServer
}

const hearBoth = async ({ all, live, redis }: Both) => {
  const session = await all.request("POST", "/api/v1/auth/login", { email: ADMIN_EMAIL, password: ADMIN_PASSWORD })
  const { accessToken } = session.body as { readonly accessToken: string }
  const probe = await all.createDevice("Probe", await all.createDeviceType("Probe", { processingMode: "endpoint" }))
  const clients = [new LiveClient(all.url, accessToken), new LiveClient(live.url, accessToken)]
  const { id: activityTypeId } = await all.api<{ id: string }>("POST", "/activity-types", { name: "Look" })
  const template = { name: "Look", activityTypeId, triggerEventType: "DEVICE_ONLINE" }
  await all.api("POST", "/activity-templates", template)
  await sleep(2_000)
  try {
    for (const client of clients) {
      await client.connect()
      await client.watch("device", probe.id)
    }
    const url = `mqtt://127.0.0.1:${all.mqttPort}`
    const mqtt = await connectAsync(url, { username: probe.id, password: probe.key, clientId: probe.id })
    const publish = (value: number) =>
      mqtt.publishAsync(`devices/${probe.id}/telemetry`, JSON.stringify({ value }), { qos: 1 })
    await publish(1)
    for (const client of clients) {
      await client.hears("telemetry:new", ({ metrics }) => metrics["value"] === 1)
      await client.hears("device:status", ({ status }) => status === "online")
      await client.hears("activity:created", ({ targetId }) => targetId === probe.id)
    }
    const online = await clients[0]!.hears("event:created", ({ type }) => type === "DEVICE_ONLINE")
    await all.api("POST", `/events/${online.eventId}/acknowledge`, {})
    for (const client of clients) await client.hears("event:updated", ({ acknowledgedAt }) => acknowledgedAt !== null)
    await redis.kill()
    await sleep(1_500)
    await publish(2)
    for (const client of clients) await client.hears("telemetry:new", ({ metrics }) => metrics["value"] === 2)
    await redis.start()
    await publish(3)
    await mqtt.endAsync()
    for (const client of clients) {
      await client.hears("telemetry:new", ({ metrics }) => metrics["value"] === 3)
      await client.hears("device:disconnected", ({ deviceId }) => deviceId === probe.id)
      assert.deepStrictEqual(client.wrong, [])
      assert.deepStrictEqual(client.disconnected, [])
      const ids = client.all("event:created").map(({ eventId }) => eventId)
      assert.strictEqual(new Set(ids).size, ids.length)
    }
    const metrics = await (await fetch(`${live.healthUrl}/metrics`)).text()
    assert.match(metrics, /^argusiq_realtime_connections\{[^}]*\} 1$/m)
  } finally {
    for (const client of clients) client.close()
  }
}

layer(emptyDatabase, { excludeTestServices: true, timeout: 120_000 })("live connections of two processes", (it) => {
  it.effect(
    "tell what happens in either, also while their Redis is killed",
    () =>
      Effect.gen(function* () {
        const database = databaseEnvironment(yield* TestDatabase)
        yield* Effect.promise(() => together(database, hearBoth))
      }),
    180_000
  )
})
