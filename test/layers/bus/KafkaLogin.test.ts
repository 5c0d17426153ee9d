/**
 * Kafka where brokers ask who one is: the settings of the environment against a real broker with SASL.
 * @module
 */
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { layerConfig } from "@argusiq/layers/bus/kafka/KafkaBus.ts"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Deferred, Effect, Layer, Logger } from "effect"
import { afterAll, beforeAll } from "vitest"
import { KafkaCluster } from "../../support/components/kafka.ts"

const module = "org.apache.kafka.common.security.plain.PlainLoginModule required"

let kafka: KafkaCluster
beforeAll(async () => {
  kafka = await KafkaCluster.start({
    properties: {
      "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
      "sasl.enabled.mechanisms": "PLAIN",
      "sasl.mechanism.inter.broker.protocol": "PLAIN",
      "listener.name.plaintext.plain.sasl.jaas.config":
        `${module} username="broker" password="between brokers" ` +
        `user_broker="between brokers" user_argusiq="the right one";`
    }
  })
}, 120_000)
afterAll(() => kafka.remove())

const bus = (login: Readonly<Record<string, string>>) =>
  Layer.suspend(() =>
    layerConfig.pipe(
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ KAFKA_BROKERS: kafka.addresses, ...login }))),
      Layer.provide(Logger.layer([])),
      Layer.fresh
    )
  )
const login = { KAFKA_USERNAME: "argusiq", KAFKA_PASSWORD: "the right one", KAFKA_SASL_MECHANISM: "plain" }

describe("a Kafka that asks who one is", () => {
  it.live("takes records and gives them to a group, with the login of the settings", () =>
    Effect.gen(function* () {
      const { publish, subscribe } = yield* Bus
      yield* publish([{ topic: Topics.raw, key: "device", headers: {}, value: new TextEncoder().encode("payload") }])
      const handled = yield* Deferred.make<string>()
      const subscription = { group: "g", topics: [Topics.raw], maxRecords: 10, maxBytes: 1_000_000, maxWaitMillis: 5 }
      yield* Effect.forkScoped(
        subscribe(subscription, ({ records }) =>
          Deferred.succeed(handled, new TextDecoder().decode(records[0]!.value)).pipe(Effect.asVoid)
        )
      )
      assert.strictEqual(yield* Deferred.await(handled), "payload")
    }).pipe(Effect.provide(bus(login)), Effect.scoped)
  )

  it.live("refuses a wrong password at once, and the start says so without giving the password away", () =>
    Effect.gen(function* () {
      const began = performance.now()
      const refusal = yield* Effect.flip(Effect.scoped(Layer.build(bus({ ...login, KAFKA_PASSWORD: "the wrong one" }))))
      assert.include(String(refusal.message), "uthenticat")
      assert.notInclude(String(refusal.message), "the wrong one")
      assert.isBelow(performance.now() - began, 20_000)
    })
  )
})
