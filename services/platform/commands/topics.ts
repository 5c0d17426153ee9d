import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { connectToPlatform, inWords } from "../PlatformClient.ts"
import { table } from "../table.ts"

/** `argusiq topics`: what the log holds of each topic. */
export const topics = Command.make(
  "topics",
  {},
  Effect.fn("topics")(function* () {
    const { api } = yield* connectToPlatform
    const { items } = yield* api.operations.topics().pipe(Effect.mapError(inWords("Topics cannot be listed")))
    const rows = items.map((topic) => {
      const stored = topic.partitions.reduce((sum, { start, end }) => sum + (BigInt(end) - BigInt(start)), 0n)
      const written = topic.partitions.reduce((sum, { end }) => sum + BigInt(end), 0n)
      const days = topic.retentionMillis / 86_400_000
      const gibibytes = topic.retentionBytes / 1_073_741_824
      return [topic.name, topic.partitions.length, stored, written, `${days} d or ${gibibytes} GiB`]
    })
    yield* Console.log(table(["topic", "partitions", "records", "ever written", "kept for"], rows))
  })
).pipe(Command.withDescription("List the topics and how many records each holds"))
