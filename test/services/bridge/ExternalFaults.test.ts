import { Ingest } from "@argusiq/bridge/Ingest.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { DeviceConnection } from "../../support/DeviceConnection.ts"
import { besideBroker, becomes, Broker, reading } from "./externalSupport.ts"
import { devicesA, Faults, holding, marker, raw, text, until } from "./support.ts"

const SENDERS = 8
const WINDOW = 10

/** Devices that publish as fast as the broker acknowledges, and what each was acknowledged. */
const load = (port: number, mark: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const acknowledged = new Set<string>()
      const state = { sending: true, sent: 0 }
      const publish = (connection: DeviceConnection) => {
        if (!state.sending) return
        const sequence = state.sent++
        connection.publish({ sequence, payload: Buffer.from(`${mark}${sequence}.`) })
      }
      const connections = devicesA.slice(0, SENDERS).map(({ id, key }) => {
        const connection: DeviceConnection = new DeviceConnection({
          port,
          deviceId: id,
          key,
          window: WINDOW,
          onAcknowledged: ({ payload }) => {
            acknowledged.add(Buffer.from(payload).toString())
            setTimeout(() => publish(connection), 1)
          }
        })
        for (let slot = 0; slot < WINDOW; slot++) publish(connection)
        return connection
      })
      const outstanding = () => connections.reduce((sum, one) => sum + one.outstanding, 0)
      return { acknowledged, connections, outstanding, state }
    }),
    ({ connections }) => Effect.sync(() => connections.forEach((connection) => connection.close()))
  )

layer(besideBroker(), { excludeTestServices: true, timeout: 60_000 })("a mosquitto that is killed under load", (it) => {
  it.effect("loses nothing that it had saved before, or acknowledged after", () =>
    Effect.gen(function* () {
      const broker = yield* Broker
      const faults = yield* Faults
      const { budget } = yield* Ingest
      const mark = marker("killed")
      const reader = yield* reading()
      const { acknowledged, outstanding, state } = yield* load(broker.port, mark)
      const promised = new Set<string>()
      for (const bus of ["none", "unavailable"] as const) {
        yield* Effect.sleep(300)
        faults.bus = bus
        yield* Effect.sleep(300)
        const before = [...acknowledged]
        yield* Effect.promise(() => broker.save())
        for (const payload of before) promised.add(payload)
        yield* Effect.sleep(100)
        yield* Effect.promise(() => broker.kill())
        const survivors = new Set(acknowledged)
        yield* becomes(reader, "Away")
        yield* Effect.promise(() => broker.start())
        faults.bus = "none"
        yield* becomes(reader, "Reading")
        yield* Effect.sleep(300)
        for (const payload of acknowledged) if (!survivors.has(payload)) promised.add(payload)
      }
      state.sending = false
      yield* until("all is acknowledged", () => outstanding() === 0)
      yield* until("all is stored", () => budget.inFlight === 0)
      yield* Effect.sleep(300)
      const stored = new Set(holding(yield* raw, mark).map(text))
      assert.isAbove(promised.size, 500)
      assert.deepStrictEqual(
        [...promised].filter((payload) => !stored.has(payload)),
        []
      )
    })
  )
})
