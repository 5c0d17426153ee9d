import { Console, Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { connectToPlatform, inWords } from "../PlatformClient.ts"
import { untilStopped } from "../process.ts"
import { fullTopicName } from "../topicNames.ts"

const EVERY_MILLIS = 300

/** `argusiq tail <topic>`: records as they are appended, one line each, until Ctrl-C. */
export const tail = Command.make(
  "tail",
  {
    topic: Argument.String("topic").pipe(Argument.withDescription("For example telemetry.normalized.v1, or raw")),
    json: Flag.Boolean("json").pipe(
      Flag.withDefault(false),
      Flag.withDescription("One JSON object per line, headers included")
    ),
    last: Flag.Int("last").pipe(
      Flag.withDefault(0),
      Flag.withDescription("Begin with this many records per partition that are already there")
    )
  },
  Effect.fn("tail")(function* ({ topic: name, json, last }) {
    const topic = fullTopicName(name)
    const { api } = yield* connectToPlatform
    const failed = Effect.mapError(inWords(`${topic} cannot be read`))
    const state = (yield* api.operations.topics().pipe(failed)).items.find((item) => item.name === topic)
    if (state === undefined) return yield* Effect.fail(inWords("tail")(`there is no topic ${topic}`))
    const next = new Map(
      state.partitions.map(({ partition, start, end }) => {
        const from = BigInt(end) - BigInt(last)
        return [partition, from < BigInt(start) ? BigInt(start) : from]
      })
    )
    const poll = Effect.gen(function* () {
      const now = (yield* api.operations.topics().pipe(failed)).items.find((item) => item.name === topic)
      const found: Array<RecordView> = []
      for (const { partition, end } of now?.partitions ?? []) {
        for (let from = next.get(partition) ?? 0n; from < BigInt(end); from = next.get(partition) ?? 0n) {
          const page = yield* api.operations
            .records({ params: { topic }, query: { partition, offset: String(from), limit: 500 } })
            .pipe(failed)
          next.set(partition, BigInt(page.next) > from ? BigInt(page.next) : BigInt(end))
          found.push(...page.items)
        }
      }
      found.sort((one, other) => (one.appendedAt < other.appendedAt ? -1 : one.appendedAt > other.appendedAt ? 1 : 0))
      for (const record of found) yield* Console.log(json ? JSON.stringify(record) : line(record))
    })
    yield* untilStopped(Effect.forever(Effect.andThen(poll, Effect.sleep(EVERY_MILLIS))))
  })
).pipe(Command.withDescription("Show the records of a topic as they arrive"))

interface RecordView {
  readonly partition: number
  readonly offset: string
  readonly appendedAt: string
  readonly key: string
  readonly headers: Readonly<Record<string, string>>
  readonly payload: string
}

const line = (record: RecordView): string => {
  const reason = record.headers["dlq-reason"]
  const failure = reason === undefined ? "" : ` ${reason}: ${record.headers["dlq-message"] ?? ""} |`
  return `${record.appendedAt} ${record.partition}/${record.offset} ${record.key}${failure} ${record.payload}`
}
