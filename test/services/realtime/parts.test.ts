import { isOriginAllowed, tokenOf } from "@argusiq/realtime/door.ts"
import { Outbox, type Transporting } from "@argusiq/realtime/Outbox.ts"
import { expiryOf } from "@argusiq/realtime/sessions.ts"
import { Watched } from "@argusiq/realtime/Watched.ts"
import { assert, describe, it } from "@effect/vitest"
import { EventEmitter } from "node:events"

describe("a page's origin", () => {
  it("is the platform's own host or one that is allowed", () => {
    const allowed = ["https://ui.example"]
    assert.isTrue(isOriginAllowed(undefined, "argusiq.example", allowed))
    assert.isTrue(isOriginAllowed("https://argusiq.example", "argusiq.example", allowed))
    assert.isTrue(isOriginAllowed("http://localhost:3000", "localhost:3000", allowed))
    assert.isTrue(isOriginAllowed("https://ui.example", "argusiq.example", allowed))
    for (const wrong of [
      "http://ui.example",
      "https://ui.example:444",
      "https://evil.example",
      "null",
      "",
      "argusiq.example"
    ])
      assert.isFalse(isOriginAllowed(wrong, "argusiq.example", allowed), wrong)
    assert.isFalse(isOriginAllowed("http://localhost:3001", "localhost:3000", allowed))
    assert.isFalse(isOriginAllowed("https://argusiq.example", undefined, allowed))
  })
})

describe("the token of a handshake", () => {
  it("is a text of reasonable length, or none", () => {
    assert.strictEqual(tokenOf({ token: "x" }), "x")
    for (const wrong of [
      undefined,
      null,
      "x",
      {},
      { token: "" },
      { token: 7 },
      { token: ["x"] },
      { token: "x".repeat(8_193) }
    ])
      assert.isUndefined(tokenOf(wrong))
  })

  it("tells when it ends, where it is a JWT", () => {
    const payload = Buffer.from('{"exp":1767225600}').toString("base64url")
    assert.strictEqual(expiryOf(`x.${payload}.y`), 1_767_225_600_000)
    for (const other of ["", "x", "a.b.c", "a.bnVsbA.c"]) assert.isUndefined(expiryOf(other))
  })
})

describe("an outbox", () => {
  const opened = () => {
    const events: Array<string> = []
    const socket = Object.assign(new EventEmitter(), { transport: { writable: true } })
    const outbox = new Outbox(
      socket as unknown as Transporting,
      { queued: () => {}, slow: () => events.push("slow"), full: () => events.push("full") },
      { slow: 1_000, full: 5_000 }
    )
    /** As Engine.IO does: kept while the transport is not writable, else handed to it. */
    const send = (length: number) => {
      socket.emit("packetCreate", { type: "message", data: "x".repeat(length) })
      if (socket.transport.writable) {
        socket.emit("flush")
        socket.transport.writable = false
      }
    }
    return {
      events,
      outbox,
      send,
      drain: () => void (socket.transport.writable = true),
      flush: () => socket.emit("flush")
    }
  }

  it("is empty again whenever the transport has taken all", () => {
    const { drain, events, outbox, send } = opened()
    for (let i = 0; i < 100; i++) {
      send(800)
      assert.isAbove(outbox.bytes, 799)
      drain()
      assert.strictEqual(outbox.bytes, 0)
    }
    assert.deepStrictEqual(events, [])
  })

  it("is slow once, then full once, and recovers when a quarter is left", () => {
    const { drain, events, outbox, send } = opened()
    for (let i = 0; i < 3; i++) send(500)
    assert.deepStrictEqual(events, ["slow"])
    assert.isUndefined(outbox.recover(250))
    drain()
    assert.isUndefined(outbox.recover(250), "what waits has not been taken")
    for (let i = 0; i < 20; i++) send(500)
    assert.deepStrictEqual(events, ["slow", "full"])
  })

  it("tells whether telemetry was left out when it has recovered", () => {
    const { drain, flush, outbox, send } = opened()
    for (let i = 0; i < 3; i++) send(500)
    outbox.hasMissed = true
    drain()
    flush()
    drain()
    assert.deepStrictEqual(outbox.recover(250), { hasMissed: true })
    assert.isUndefined(outbox.recover(250))
    assert.isFalse(outbox.isSlow)
  })
})

describe("what is watched", () => {
  const device = (id: string) => ({ entityType: "device", id }) as const
  const sent = (...senders: ReadonlyArray<string>) => ({ senders, isGateway: false, score: undefined })

  it("is forgotten with the last who watches it, its gateway too", () => {
    const watched = new Watched()
    watched.add(device("child"), "t", sent("child", "gateway"))
    watched.add(device("child"), "t", sent("child", "gateway"))
    watched.add(device("sibling"), "t", sent("sibling", "gateway"))
    assert.strictEqual(watched.size, 2)
    watched.remove("device:child")
    assert.isDefined(watched.device("child"))
    watched.remove("device:child")
    assert.isUndefined(watched.device("child"))
    assert.isFalse(watched.mayHear("child"))
    assert.isTrue(watched.mayHear("gateway"))
    watched.remove("device:sibling")
    watched.remove("device:sibling")
    assert.isFalse(watched.mayHear("gateway"))
    assert.isFalse(watched.hasDevices)
  })

  it("follows a device to another gateway", () => {
    const watched = new Watched()
    watched.add(device("child"), "t", sent("child", "old"))
    watched.refresh(watched.device("child")!, sent("child", "new"))
    assert.deepStrictEqual(
      [watched.mayHear("old"), watched.mayHear("new"), watched.mayHear("child")],
      [false, true, true]
    )
    watched.remove("device:child")
    assert.isFalse(watched.mayHear("new"))
  })
})
