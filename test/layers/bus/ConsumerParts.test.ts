import { BusUnavailable, DatabaseUnavailable, Fenced, Poison, UnknownTopic } from "@argusiq/domain/errors.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { meaningOf } from "@argusiq/layers/bus/consumer/failure.ts"
import { pauseMillis } from "@argusiq/layers/bus/consumer/Outages.ts"
import * as PartitionTime from "@argusiq/layers/bus/consumer/PartitionTime.ts"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Schema } from "effect"
import { ConnectionError, ConstraintError, SqlError, UnknownError } from "effect/sql/SqlError"

const at = (receivedAt: number, headers: Record<string, string> = {}): StoredRecord => ({
  topic: "t",
  key: "k",
  value: new Uint8Array(),
  headers: { "received-at": String(receivedAt), ...headers },
  partition: 0,
  offset: 0n,
  appendedAt: 0
})

describe("partition time", () => {
  it("is the same however the records are cut into batches", () => {
    const records = [5, 3, 9, 9, 2, 7].map((time) => at(time))
    for (let cut = 0; cut <= records.length; cut++) {
      const first = PartitionTime.after(0, records.slice(0, cut))
      assert.strictEqual(PartitionTime.after(first, records.slice(cut)), 9)
    }
  })
  it("does not listen to replays, retries or records without a time", () => {
    const records = [at(50, { "replay-job": "x" }), at(60, { "retry-of": "x" }), at(Number.NaN), at(Infinity)]
    assert.strictEqual(PartitionTime.after(7, records), 7)
  })
  it("is the feeders' only where everything they wrote by then is processed, and never goes back", () => {
    const feed = { time: 100, end: 10n }
    assert.strictEqual(PartitionTime.withoutLag(50, 9n, feed), 50)
    assert.strictEqual(PartitionTime.withoutLag(50, 10n, feed), 100)
    assert.strictEqual(PartitionTime.withoutLag(150, 10n, feed), 150)
    assert.strictEqual(PartitionTime.withoutLag(50, 10n, undefined), 50)
  })
})

describe("the pause before a repetition", () => {
  it.effect.prop(
    "lies between 50 ms and 5 s and grows to between 2.5 and 5 s",
    {
      attempt: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 })),
      random: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.999 }))
    },
    ({ attempt, random }) =>
      Effect.sync(() => {
        const pause = pauseMillis(attempt, random)
        assert.isAtLeast(pause, attempt < 6 ? 50 : 2_500)
        assert.isAtMost(pause, 5_000)
      })
  )
})

const withCode = (code: string) => Object.assign(new Error("refused"), { code })
const sqlError = (reason: SqlError["reason"]) => new SqlError({ reason })
const tag = (cause: Cause.Cause<unknown>) => {
  const meaning = meaningOf(cause)
  return meaning._tag === "Wait" && meaning.fault ? "WaitForPeople" : meaning._tag
}

describe("a failure", () => {
  const lost = sqlError(new ConnectionError({ cause: new Error("gone") }))
  const refused = sqlError(new ConstraintError({ cause: withCode("23514") }))
  const noTable = sqlError(new UnknownError({ cause: withCode("42P01") }))
  const cases: ReadonlyArray<readonly [string, Cause.Cause<unknown>, string]> = [
    ["the bus away", Cause.fail(new BusUnavailable({ cause: new Error("x") })), "Wait"],
    ["a lost connection", Cause.fail(lost), "Wait"],
    ["a lost connection as a defect", Cause.die(lost), "Wait"],
    ["a lost connection in an error of ours", Cause.fail(new DatabaseUnavailable({ cause: lost })), "Wait"],
    ["a disk that is full", Cause.fail(sqlError(new UnknownError({ cause: withCode("53100") }))), "Wait"],
    ["a refused row", Cause.fail(refused), "Refused"],
    ["a refused row in an error of ours", Cause.fail(new DatabaseUnavailable({ cause: refused })), "Refused"],
    [
      "a row beyond PostgreSQL's limits",
      Cause.fail(sqlError(new UnknownError({ cause: withCode("54000") }))),
      "Refused"
    ],
    ["poison", Cause.fail(new Poison({ reason: "Unstorable", message: "x" })), "Refused"],
    ["a missing table", Cause.fail(noTable), "WaitForPeople"],
    ["an unknown topic", Cause.fail(new UnknownTopic({ topic: "x" })), "WaitForPeople"],
    ["another owner", Cause.fail(new Fenced({ group: "g", topic: "t", partition: 0 })), "Fenced"],
    ["a throw of ours", Cause.die(new TypeError("x")), "Broken"],
    ["an interruption from elsewhere", Cause.interrupt(), "Wait"],
    ["a refused row on a lost connection", Cause.combine(Cause.fail(refused), Cause.die(lost)), "Wait"]
  ]
  for (const [what, cause, meaning] of cases) {
    it(`that is ${what} means ${meaning}`, () => assert.strictEqual(tag(cause), meaning))
  }
})
