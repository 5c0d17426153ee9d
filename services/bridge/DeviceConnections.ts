/**
 * Connects and disconnects of devices, as the embedded broker sees them or an external one tells, on their way to
 * `device.connections.v1`.
 * @module
 */
import { envelopeHeaders } from "@argusiq/domain/bridge.ts"
import { type DeviceConnection } from "@argusiq/domain/device-connection.ts"
import { jsonBytes } from "@argusiq/domain/record-json.ts"
import { storableText } from "@argusiq/domain/storable.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { makeOutage } from "@argusiq/layers/outage.ts"
import { Cause, Context, Effect, Exit, Fiber, Layer, Queue } from "effect"
import { nextStamp } from "./Arrivals.ts"

/** While the log is away; beyond it the oldest are forgotten. */
const MAX_WAITING = 100_000
const MAX_BATCH = 2_000
const RETRY_AFTER = "500 millis"
/** At the end, for what is still waiting. */
const LAST_FLUSH = "2 seconds"
const MAX_TEXT_UNITS = 500

/** `at` may be left out: now. Client id and reason are cut and made storable. */
export interface SeenConnection extends Omit<DeviceConnection, "at" | "deviceId" | "tenantId"> {
  readonly deviceId: string
  readonly tenantId: string
  readonly at?: number
}

export class DeviceConnections extends Context.Service<
  DeviceConnections,
  {
    /** Never waits: published as soon as the log takes it, in the order of the calls. */
    note(seen: SeenConnection): void
    /** Completes when all are durable; `false` when the log does not take them. */
    deliver(seen: ReadonlyArray<SeenConnection>): Effect.Effect<boolean>
  }
>()("argusiq/bridge/DeviceConnections") {}

const text = (value: string) => storableText(value.slice(0, MAX_TEXT_UNITS))

const recordOf = ({ at, ...seen }: SeenConnection, source: "mqtt" | "webhook"): BusRecord => {
  const { messageId, receivedAt } = nextStamp()
  const { deviceId, tenantId } = seen
  const clientId = text(seen.clientId)
  const connection = {
    ...seen,
    at: at ?? receivedAt,
    clientId,
    connectionId: text(seen.connectionId),
    ...(seen.reason !== undefined && { reason: text(seen.reason) })
  }
  return {
    topic: Topics.connections,
    key: deviceId,
    value: jsonBytes(connection),
    headers: envelopeHeaders({ messageId, receivedAt, tenantId, deviceId, source })
  }
}

const make = Effect.gen(function* () {
  const bus = yield* Bus
  const waiting = yield* Queue.sliding<BusRecord, Cause.Done>(MAX_WAITING)
  const outage = makeOutage("The log takes no connects and disconnects of devices; they wait")

  const publish = (records: ReadonlyArray<BusRecord>): Effect.Effect<void> =>
    bus.publish(records).pipe(
      Effect.andThen(outage.ended),
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.interrupt
          : outage
              .began(cause)
              .pipe(Effect.andThen(Effect.sleep(RETRY_AFTER)), Effect.andThen(Effect.suspend(() => publish(records))))
      )
    )
  const publishing = yield* Queue.takeBetween(waiting, 1, MAX_BATCH).pipe(
    Effect.flatMap(publish),
    Effect.forever({ disableYield: true }),
    Effect.catch(() => Effect.void), // the end of the queue
    Effect.forkScoped
  )
  yield* Effect.addFinalizer(() =>
    Queue.end(waiting).pipe(Effect.andThen(Fiber.await(publishing)), Effect.timeoutOption(LAST_FLUSH))
  )

  return DeviceConnections.of({
    note: (seen) => void Queue.offerUnsafe(waiting, recordOf(seen, "mqtt")),
    deliver: (seen) =>
      seen.length === 0
        ? Effect.succeed(true)
        : Effect.map(Effect.exit(bus.publish(seen.map((one) => recordOf(one, "webhook")))), Exit.isSuccess)
  })
})

export const layer: Layer.Layer<DeviceConnections, never, Bus> = Layer.effect(DeviceConnections, make)
