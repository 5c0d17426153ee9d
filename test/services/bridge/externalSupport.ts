/**
 * The bridge without a listener, and a real mosquitto that it may read.
 */
import { readBroker } from "@argusiq/bridge/external/BrokerReader.ts"
import { ConfigProvider, Context, Effect, Layer } from "effect"
import { Mosquitto } from "../../support/components/mosquitto.ts"
import { b1, closedBridge, devicesA, Mqtt, orgA, quiet, until } from "./support.ts"

export class Broker extends Context.Service<Broker, Mosquitto>()("argusiq/test/bridge/Broker") {}

/** A client that may publish anything, as where a broker's access rules are wrong. */
export const anybody = { id: "anybody", key: "anybody-key", externalId: "anybody", org: orgA }

const mosquitto = Layer.effect(
  Broker,
  Effect.acquireRelease(
    Effect.promise(async () => {
      const devices = [...devicesA, b1].map((one) => ({
        ...one,
        topics: [`v1/telemetry/${one.org}/${one.externalId}`]
      }))
      const broker = await Mosquitto.prepare({ devices: [...devices, { ...anybody, topics: ["#"] }] })
      return broker.start()
    }),
    (broker) => Effect.promise(() => broker.dispose())
  )
)

/** Clients of the tests connect to mosquitto. */
export const besideBroker = (settings: Readonly<Record<string, string>> = {}) =>
  Layer.effect(
    Mqtt,
    Effect.map(Broker, ({ port }) => Mqtt.of({ port, tlsPort: undefined }))
  ).pipe(Layer.provideMerge(mosquitto), Layer.provideMerge(closedBridge(settings)))

/** Reads a broker until the scope closes, whether or not it is there. */
export const readerOf = (settings: Readonly<Record<string, string>>) =>
  readBroker.pipe(Effect.provide(Layer.merge(ConfigProvider.layer(ConfigProvider.fromUnknown(settings)), quiet)))

let sessions = 0
/** A client id that no other test uses. */
export const ownSession = () => `test-${++sessions}`

export type Reader = Effect.Success<typeof readBroker>
export const becomes = (reader: Reader, tag: ReturnType<Reader["state"]>["_tag"]) =>
  until(`the reader is ${tag}`, () => reader.state()._tag === tag)

/** Reads mosquitto; completes when it does. */
export const reading = Effect.fnUntraced(function* (settings: Readonly<Record<string, string>> = {}) {
  const { url } = yield* Broker
  const reader = yield* readerOf({ MQTT_URL: url, MQTT_CLIENT_ID: ownSession(), ...settings })
  yield* becomes(reader, "Reading")
  return reader
})
