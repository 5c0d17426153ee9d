/**
 * The bridge: devices' way in. MQTT is served here, HTTP by the layer in routes.ts.
 * @module
 */
import { Effect } from "effect"
import { listen } from "./mqtt/MqttListener.ts"

/** Serves MQTT until interrupted; then what devices were promised is kept before their connections close. */
export const run = Effect.scoped(
  Effect.gen(function* () {
    const { host, port } = yield* listen
    yield* Effect.log(`Listening for MQTT on ${host}:${port}`)
    return yield* Effect.never
  })
)
