import { BRIDGE_GROUP, deadLetterRecord, type Failure, isHigh, readDeadLetter } from "@argusiq/domain/dead-letter.ts"
import { DeadLetterHeaders, Poison } from "@argusiq/domain/errors.ts"
import { deadLetterTopic, Topics, topicTable } from "@argusiq/domain/topics.ts"
import { assert, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"

const failure = (more: Partial<Failure> = {}, headers: Record<string, string> = {}): Failure => ({
  record: {
    topic: Topics.raw,
    partition: 3,
    offset: 12_345_678_901n,
    key: "device",
    value: new Uint8Array([0, 255, 1]),
    headers: { "message-id": "0190a0a0-0000-7000-8000-000000000001", source: "mqtt", ...headers }
  },
  error: new Poison({ reason: "ExtractionFailed", message: "no temperature", path: "$.t" }),
  group: "argusiq.normalizer",
  stage: "normalizer",
  failedAt: 1_763_700_000_000_001,
  ...more
})

const tenant = "01890a5d-ac96-774b-bcce-b302099a8057"
const idOf = (given: Failure) => deadLetterRecord(given).headers["dlq-id"]
const limit = (topic: string) => topicTable.get(topic)!.maxRecordBytes

it.effect("a dead letter keeps key, bytes and headers and says what was wrong, where and for whom", () =>
  Effect.gen(function* () {
    const letter = deadLetterRecord(failure({ entry: 4 }))
    assert.strictEqual(letter.topic, deadLetterTopic(Topics.raw))
    assert.strictEqual(letter.key, "device")
    assert.deepStrictEqual(letter.value, new Uint8Array([0, 255, 1]))
    assert.strictEqual(letter.headers["source" as keyof typeof letter.headers], "mqtt")
    const headers = yield* Schema.decodeUnknownEffect(DeadLetterHeaders)(letter.headers)
    assert.deepInclude(headers, {
      "dlq-group": "argusiq.normalizer",
      "dlq-stage": "normalizer",
      "dlq-reason": "ExtractionFailed",
      "dlq-message": "no temperature",
      "dlq-path": "$.t",
      "dlq-topic": Topics.raw,
      "dlq-partition": 3,
      "dlq-offset": "12345678901",
      "dlq-entry": 4,
      "dlq-attempts": 1,
      "dlq-failed-at": 1_763_700_000_000_001
    })
  })
)

it("the same failure has the same id; another group, entry or message has another", () => {
  const ids = [
    failure(),
    failure({ group: "argusiq.dispatcher" }),
    failure({ entry: 0 }),
    failure({ entry: 1 }),
    failure({}, { "message-id": "0190a0a0-0000-7000-8000-000000000002" })
  ].map(idOf)
  assert.strictEqual(new Set(ids).size, ids.length)
  assert.strictEqual(idOf(failure({ failedAt: 1 })), ids[0])
})

/** As a retry is read again by the group that is to take it. */
const retryOf = (headers: Readonly<Record<string, string>>, more: Record<string, string> = {}) => ({
  "retry-of": headers["dlq-id"]!,
  "retry-group": headers["dlq-group"]!,
  "dlq-attempts": headers["dlq-attempts"]!,
  ...more
})

it("a retry that fails again keeps the id of the first failure and counts on, and is addressed to nobody any more", () => {
  const first = deadLetterRecord(failure()).headers
  const again = deadLetterRecord(failure({}, { ...retryOf(first), "message-id": "another" })).headers
  assert.strictEqual(again["dlq-id"], first["dlq-id"])
  assert.strictEqual(again["dlq-attempts"], "2")
  assert.notProperty(again, "retry-group")
  const third = deadLetterRecord(failure({}, retryOf(again))).headers
  assert.deepInclude(third, { "dlq-id": first["dlq-id"], "dlq-attempts": "3" })
})

it("what fails in another group after a retry is a failure of its own", () => {
  const first = deadLetterRecord(failure()).headers
  const { "retry-group": _, ...passedOn } = retryOf(first)
  const later = deadLetterRecord(failure({ group: "argusiq.telemetry-writer" }, passedOn)).headers
  assert.notStrictEqual(later["dlq-id"], first["dlq-id"])
  assert.strictEqual(later["dlq-attempts"], "1")
  assert.strictEqual(later["dlq-id"], idOf(failure({ group: "argusiq.telemetry-writer" })))
})

it("of a whole message that is retried, each entry that fails is a failure of its own", () => {
  const whole = deadLetterRecord(failure()).headers
  const entries = [3, 7].map((entry) => deadLetterRecord(failure({ entry }, retryOf(whole))).headers)
  assert.deepStrictEqual(
    entries.map((headers) => headers["dlq-id"]),
    [idOf(failure({ entry: 3 })), idOf(failure({ entry: 7 }))]
  )
  assert.deepStrictEqual(
    entries.map((headers) => headers["dlq-attempts"]),
    ["1", "1"]
  )
})

it("an entry that is retried stays that entry, also where the message can no longer be opened", () => {
  const first = deadLetterRecord(failure({ entry: 3 })).headers
  const retry = retryOf(first, { "retry-entry": "3" })
  for (const again of [deadLetterRecord(failure({ entry: 3 }, retry)), deadLetterRecord(failure({}, retry))]) {
    assert.deepInclude(again.headers, { "dlq-id": first["dlq-id"], "dlq-entry": "3", "dlq-attempts": "2" })
    assert.notProperty(again.headers, "retry-entry")
  }
})

it("what the bridge refuses once more keeps its id", () => {
  const first = deadLetterRecord(failure({ group: BRIDGE_GROUP })).headers
  const { "retry-group": _, ...retry } = retryOf(first)
  const again = deadLetterRecord(failure({ group: BRIDGE_GROUP }, retry)).headers
  assert.deepInclude(again, { "dlq-id": first["dlq-id"], "dlq-attempts": "2" })
})

it("a dead letter is read back as it was written", () => {
  const letter = deadLetterRecord(failure({ entry: 2 }, { "tenant-id": tenant, "received-at": "1763700000000000" }))
  assert.deepStrictEqual(Result.getOrThrow(readDeadLetter(letter.topic, letter.headers)), {
    id: letter.headers["dlq-id"],
    group: "argusiq.normalizer",
    stage: "normalizer",
    reason: "ExtractionFailed",
    message: "no temperature",
    path: "$.t",
    entry: 2,
    tenantId: tenant,
    deviceId: null,
    messageId: "0190a0a0-0000-7000-8000-000000000001",
    attempts: 1,
    failedAt: 1_763_700_000_000_001,
    receivedAt: 1_763_700_000_000_000
  })
})

it("what lacks a header of a dead letter, or has one of no such form, is none, and the header is named", () => {
  const { headers, topic } = deadLetterRecord(failure())
  const faults: ReadonlyArray<readonly [string, string | undefined]> = [
    ["dlq-id", undefined],
    ["dlq-id", "7"],
    ["dlq-group", ""],
    ["dlq-stage", undefined],
    ["dlq-reason", undefined],
    ["dlq-topic", Topics.endpoint],
    ["dlq-attempts", "0"],
    ["dlq-attempts", "1e99"],
    ["dlq-failed-at", "yesterday"]
  ]
  for (const [name, value] of faults) {
    const { [name]: _, ...rest } = headers as Readonly<Record<string, string>>
    const read = readDeadLetter(topic, value === undefined ? rest : { ...rest, [name]: value })
    assert.isTrue(Result.isFailure(read), name)
    if (Result.isFailure(read)) assert.include(read.failure.message, name)
  }
})

it("dead letters are many above 100, and few again from 80 down", () => {
  const counts = [0, 100, 101, 100, 81, 80, 100, 101]
  let high = false
  const levels = counts.map((count) => (high = isHigh(high, count)))
  assert.deepStrictEqual(levels, [false, false, true, true, true, false, false, true])
})

it("a refused message of the bridge, which was never on the bus, has no position", () => {
  const { partition: _, offset: __, ...record } = failure().record
  const headers = deadLetterRecord(failure({ record })).headers
  assert.notProperty(headers, "dlq-partition")
  assert.notProperty(headers, "dlq-offset")
})

it("a record at its topic's limit fits the dead-letter topic, however long the message", () => {
  const error = new Poison({ reason: "SchemaMismatch", message: "é😀".repeat(50_000), path: "$.x".repeat(50_000) })
  const letter = deadLetterRecord(failure({ error }))
  assert.isAtMost(letter.headers["dlq-message"].length, 2_000)
  assert.isTrue(letter.headers["dlq-message"].isWellFormed())
  const added = JSON.stringify(letter.headers).length * 3
  assert.isBelow(limit(Topics.raw) + added, limit(deadLetterTopic(Topics.raw)))
})
