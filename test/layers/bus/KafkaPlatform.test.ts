/**
 * The whole platform with Kafka as its bus: only a setting differs.
 * @module
 */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import { KafkaCluster } from "../../support/components/kafka.ts"
import { eventually, PlatformProcess } from "../../support/PlatformProcess.ts"

describe("the platform on Kafka", () => {
  let kafka: KafkaCluster
  let platform: PlatformProcess

  beforeAll(async () => {
    kafka = await KafkaCluster.start()
    platform = await (await PlatformProcess.prepare({ env: { KAFKA_BROKERS: kafka.addresses } })).start()
  }, 120_000)
  afterAll(async () => {
    await platform.dispose()
    await kafka.remove()
  })

  it("turns a message sent over HTTP into a latest value, without a log of its own", async () => {
    const device = JSON.parse(readFileSync(join(platform.dataDirectory, "first-device.json"), "utf8")) as {
      readonly deviceId: string
      readonly key: string
    }
    const { body, status } = await platform.request(
      "POST",
      "/api/v1/telemetry",
      { metrics: { temperature: 20.25 } },
      { authorization: `Bearer ${device.key}` }
    )
    assert.strictEqual(status, 202, JSON.stringify(body))
    await eventually("the latest value", 45, async () => {
      const latest = await platform.api<{ readonly metrics: Readonly<Record<string, { readonly value: unknown }>> }>(
        "GET",
        `/telemetry/device/${device.deviceId}/latest`
      )
      return latest.metrics["temperature"]?.value === 20.25 ? true : undefined
    })
    assert.isFalse(existsSync(join(platform.dataDirectory, "bus")))
  })

  it("stops within seconds, with exit code 0", async () => {
    const began = performance.now()
    assert.strictEqual(await platform.stop(), 0)
    assert.isBelow(performance.now() - began, 10_000)
  })
})
