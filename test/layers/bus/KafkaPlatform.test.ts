/**
 * Services with Kafka as their bus: the whole platform, where only a setting differs, and two that share their work.
 * @module
 */
import { KAFKA_PARTITIONS, topicTable } from "@argusiq/domain/topics.ts"
import * as KafkaBus from "@argusiq/layers/bus/kafka/KafkaBus.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import { demoDevices } from "../../end-to-end/demoDevices.ts"
import { engineTopics, twoEngines } from "../../services/event-engine/twoEngines.ts"
import { KafkaCluster } from "../../support/components/kafka.ts"
import { PlatformProcess } from "../../support/PlatformProcess.ts"

let kafka: KafkaCluster
beforeAll(async () => {
  kafka = await KafkaCluster.start()
}, 120_000)
afterAll(() => kafka.remove())

describe("the platform on Kafka", () => {
  let platform: PlatformProcess

  beforeAll(async () => {
    platform = await (
      await PlatformProcess.prepare({ env: { ARGUSIQ_DEMO: "1", KAFKA_BROKERS: kafka.addresses } })
    ).start()
  }, 120_000)
  afterAll(() => platform.dispose())

  describe("with the demo organisation", () => {
    demoDevices(() => platform, KAFKA_PARTITIONS)
  })

  it("has no log of its own", () => {
    assert.isFalse(existsSync(join(platform.dataDirectory, "bus")))
  })

  it("stops within seconds, with exit code 0", async () => {
    const began = performance.now()
    assert.strictEqual(await platform.stop(), 0)
    assert.isBelow(performance.now() - began, 10_000)
  })
})

const engineBus = Layer.unwrap(
  Effect.sync(() =>
    KafkaBus.layer({
      brokers: kafka.addresses.split(","),
      prefix: "engines.",
      topics: engineTopics.map((name) => topicTable.get(name)!)
    })
  )
).pipe(Layer.orDie, Layer.provide(Logger.layer([])), Layer.fresh)

twoEngines("two event engines on Kafka", engineBus)
