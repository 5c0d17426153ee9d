import { deadLetterRecord, type Failure } from "@argusiq/domain/dead-letter.ts"
import { DeadLetterHeaders, Poison } from "@argusiq/domain/errors.ts"
import { deadLetterTopic, Topics, topicTable } from "@argusiq/domain/topics.ts"
import { assert, it } from "@effect/vitest"
import { Effect, Schema } from "effect"

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

it("a retry that fails again keeps the id of the first failure and counts on", () => {
  const first = deadLetterRecord(failure()).headers
  const again = deadLetterRecord(failure({ group: "argusiq.other" }, { "retry-of": first["dlq-id"] })).headers
  assert.strictEqual(again["dlq-id"], first["dlq-id"])
  assert.strictEqual(again["dlq-attempts"], "2")
  const third = deadLetterRecord(failure({}, { "retry-of": first["dlq-id"], "dlq-attempts": "2" })).headers
  assert.strictEqual(third["dlq-attempts"], "3")
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
