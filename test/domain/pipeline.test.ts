import { feedsOf, Groups, pipeline } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopic, deadLetterTopics, Topics, topicTable } from "@argusiq/domain/topics.ts"
import { assert, it } from "@effect/vitest"

it("the first topic is fed by the clock alone", () => {
  assert.deepStrictEqual(feedsOf(Topics.raw, Groups.dispatcher), { clock: true, everywhere: false, groups: [] })
})

it("a topic is fed by the groups that write it, as far as they have read", () => {
  assert.deepStrictEqual(feedsOf(Topics.endpoint, Groups.normalizer), {
    clock: false,
    everywhere: false,
    groups: [{ group: Groups.dispatcher, topic: Topics.raw }]
  })
  assert.deepStrictEqual(feedsOf(Topics.normalized, Groups.telemetryWriter), {
    clock: false,
    everywhere: false,
    groups: [
      { group: Groups.normalizer, topic: Topics.endpoint },
      { group: Groups.normalizer, topic: Topics.logicalDevices }
    ]
  })
})

it("a dead-letter topic is fed by all that read its topic, and no group waits for itself", () => {
  assert.deepStrictEqual(feedsOf(deadLetterTopic(Topics.raw), Groups.rawCopy), {
    clock: true,
    everywhere: false,
    groups: [{ group: Groups.dispatcher, topic: Topics.raw }]
  })
})

it("where the key changes to the asset's, every partition is fed by all", () => {
  assert.deepStrictEqual(feedsOf(Topics.assetReadings, Groups.assetHealth), {
    clock: false,
    everywhere: true,
    groups: [{ group: Groups.assetMapping, topic: Topics.normalized }]
  })
  assert.isTrue(feedsOf(Topics.asset, Groups.assetRules).everywhere)
})

it("every topic that a stage reads is in the table of topics and is fed by something, but the dead letters of what nobody reads", () => {
  const written = new Set(pipeline.flatMap(({ reads }) => reads.map(deadLetterTopic)))
  for (const { group, reads } of pipeline) {
    for (const topic of reads) {
      assert.isTrue(topicTable.has(topic), topic)
      if (deadLetterTopics.includes(topic) && !written.has(topic)) continue
      const { clock, groups } = feedsOf(topic, group)
      assert.isTrue(clock || groups.length > 0, `${topic} for ${group}`)
    }
  }
})
