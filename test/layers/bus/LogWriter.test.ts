import { Log } from "@argusiq/layers/bus/local/Log.ts"
import type { LogStorage } from "@argusiq/layers/bus/local/LogStorage.ts"
import { LogWriter } from "@argusiq/layers/bus/local/LogWriter.ts"
import { topicTable } from "@argusiq/domain/topics.ts"
import { assert, describe, it } from "@effect/vitest"
import { setImmediate as turn } from "node:timers/promises"

const [topic] = topicTable.values()
const record = { topic: topic!.name, key: "a", value: Buffer.from("{}"), headers: {} }

/** A log on a disk that a test has finish its commits. */
const logOnHand = async () => {
  const order: Array<string> = []
  const finishes: Array<() => void> = []
  const storage: LogStorage = {
    commit: (write) => {
      write({ put: () => {}, remove: () => {}, note: () => {} })
      order.push("a commit begins")
      return new Promise((resolve) => finishes.push(resolve))
    },
    notes: () => new Map(),
    scan: () => {},
    close: () => Promise.resolve()
  }
  const opening = Log.open(storage, [topic!], () => "a log")
  finishes.shift()?.()
  const log = await opening
  order.length = 0
  const writer = new LogWriter(log, { now: () => 1, refusal: () => undefined })
  return { order, writer, finish: () => finishes.shift()?.() }
}

describe("the writer of the log", () => {
  it("has the disk begin with what has come meanwhile before it tells whom it has stored for", async () => {
    const { finish, order, writer } = await logOnHand()
    writer.publish([record], () => order.push("the first is told"))
    await turn()
    await turn()
    writer.publish([record], () => order.push("the second is told"))
    finish()
    await turn()
    assert.deepStrictEqual(order, ["a commit begins", "a commit begins", "the first is told"])
    finish()
    await turn()
    assert.deepStrictEqual(order.slice(3), ["the second is told"])
    await writer.close()
  })

  it("takes what is published within one turn into one commit", async () => {
    const { finish, order, writer } = await logOnHand()
    for (const name of ["one", "two"]) writer.publish([record], () => order.push(name))
    await turn()
    await turn()
    finish()
    await writer.close()
    assert.deepStrictEqual(order, ["a commit begins", "one", "two"])
  })
})
