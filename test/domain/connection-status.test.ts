import {
  afterSilence,
  type ConnectionSignal,
  decideStatus,
  endsConnection,
  type Gap,
  observe,
  silentAt,
  unknownDevice
} from "@argusiq/domain/connection-status.ts"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"

const SECOND = 1_000_000
const after = (signals: ReadonlyArray<ConnectionSignal>) => signals.reduce(observe, unknownDevice)
const at = (seconds: number) => seconds * SECOND
const status = (signals: ReadonlyArray<ConnectionSignal>, seconds: number, gaps: ReadonlyArray<Gap> = []) =>
  decideStatus(after(signals), 300, at(seconds), gaps)

const Seconds = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 }))
const Signal = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("Seen"), at: Seconds }),
  Schema.Struct({ _tag: Schema.Literal("Connected"), at: Seconds }),
  Schema.Struct({ _tag: Schema.Literal("Disconnected"), at: Seconds })
])

describe("a device's status", () => {
  it("changes by a message, a disconnect and silence, and is announced on change only", () => {
    let state = unknownDevice
    const changes: Array<unknown> = []
    const step = (signal: ConnectionSignal | undefined, seconds: number) => {
      if (signal !== undefined) state = observe(state, signal)
      const decided = decideStatus(state, 300, at(seconds))
      state = decided.state
      if (decided.change !== undefined)
        changes.push([decided.change.to, decided.change.reason, decided.change.at / SECOND])
    }
    step(undefined, 1)
    step({ _tag: "Connected", at: at(10) }, 10)
    step({ _tag: "Seen", at: at(11) }, 11)
    step({ _tag: "Disconnected", at: at(20), reason: "keepalive timeout" }, 20)
    step(undefined, 400)
    step({ _tag: "Seen", at: at(500) }, 500)
    step(undefined, 799)
    step(undefined, 900)
    assert.deepStrictEqual(changes, [
      ["online", "connected", 10],
      ["offline", "disconnected", 20],
      ["online", "message", 500],
      ["offline", "silence", 800]
    ])
  })

  it.prop(
    "depends on the set of signals, not on their order or repetition",
    { signals: Schema.Array(Signal).check(Schema.isMaxLength(8)), now: Seconds },
    ({ now, signals }) => {
      const straight = decideStatus(after(signals), 20, now * 10 * SECOND)
      const other = decideStatus(after([...signals.toReversed(), ...signals]), 20, now * 10 * SECOND)
      assert.deepStrictEqual(other, straight)
    },
    { arbitrary: { runs: 500 } }
  )

  it("survives a takeover, a restart of the broker and a disconnect older than the connection", () => {
    const connected: ConnectionSignal = { _tag: "Connected", at: at(10) }
    for (const reason of ["takenover", "Session taken over", "server shutting down"]) {
      assert.isFalse(endsConnection(reason))
      assert.strictEqual(status([connected, { _tag: "Disconnected", at: at(11), reason }], 12).state.status, "online")
    }
    assert.strictEqual(status([connected, { _tag: "Disconnected", at: at(9) }], 12).state.status, "online")
  })

  it("does not count an outage of the platform as silence", () => {
    const seen: ConnectionSignal = { _tag: "Seen", at: at(100) }
    const outage = { from: at(200), to: at(2_000) }
    assert.strictEqual(status([seen], 2_010).state.status, "offline")
    assert.strictEqual(status([seen], 2_010, [outage]).state.status, "online")
    assert.strictEqual(status([seen], 2_199, [outage]).state.status, "online")
    assert.deepStrictEqual(status([seen], 2_200, [outage]).change?.at, at(2_200))
    assert.strictEqual(silentAt(after([seen]), 300, [outage]), at(2_200))
  })

  it("counts gaps that overlap once, and only what lies after the last sign of life", () => {
    const gaps = [
      { from: at(20), to: at(40) },
      { from: at(0), to: at(15) },
      { from: at(30), to: at(50) },
      { from: at(900), to: at(950) }
    ]
    assert.strictEqual(afterSilence(at(10), at(100), gaps), at(145))
  })

  it("says nothing of a device of which nothing is known", () => {
    assert.isUndefined(status([], 1_000).change)
    assert.isUndefined(silentAt(unknownDevice, 300, []))
  })
})
