/**
 * Sending as a device does: over MQTT or HTTP, with the device's own API key, done when the platform has acknowledged.
 * @module
 */
import { Effect } from "effect"
import type { MqttClient } from "mqtt"
import { Refusal } from "./errors.ts"
import type { PlatformRecord } from "./DataDirectory.ts"

export interface Sender {
  readonly deviceId: string
  readonly key: string
}

const refused = (message: string) => Effect.fail(new Refusal({ message }))

/** POSTs one message; the id that the platform gave it. */
export const sendByHttp = Effect.fn("sendByHttp")(function* (url: string, sender: Sender, payload: unknown) {
  const response = yield* Effect.tryPromise({
    try: () =>
      fetch(`${url}/api/v1/telemetry`, {
        method: "POST",
        headers: { authorization: `Bearer ${sender.key}`, "content-type": "application/json" },
        body: JSON.stringify({ deviceId: sender.deviceId, payload })
      }),
    catch: (cause) => new Refusal({ message: `${url} does not answer: ${String(cause)}` })
  })
  const body = yield* Effect.promise(() => response.text())
  if (response.status !== 202) return yield* refused(`The message was not accepted: ${response.status} ${body}`)
  return (JSON.parse(body) as { readonly messageId: string }).messageId
})

/** An MQTT connection of the device; closed with the scope. */
export const connectMqtt = Effect.fn("connectMqtt")(function* (record: PlatformRecord, sender: Sender) {
  const { mqtt } = record
  if (mqtt === undefined) {
    return yield* refused("This platform has no MQTT listener (service bridge is not running). Send by HTTP.")
  }
  const { connectAsync } = yield* Effect.promise(() => import("mqtt"))
  return yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () =>
        connectAsync(mqtt, {
          username: sender.deviceId,
          password: sender.key,
          clientId: `${sender.deviceId}-argusiq-send`,
          reconnectPeriod: 0,
          connectTimeout: 5_000
        }),
      catch: (cause) => new Refusal({ message: `${mqtt} refused the connection: ${String(cause)}` })
    }),
    (client) => Effect.promise(() => client.endAsync())
  )
})

/** Publishes one message with QoS 1 and waits for its acknowledgement. */
export const sendByMqtt = (client: MqttClient, sender: Sender, payload: unknown) =>
  Effect.tryPromise({
    try: () => client.publishAsync(`devices/${sender.deviceId}/telemetry`, JSON.stringify(payload), { qos: 1 }),
    catch: (cause) => new Refusal({ message: `The message was not acknowledged: ${String(cause)}` })
  })
