import { microsFromIso } from "@argusiq/domain/http/scalars.ts"
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { Refusal } from "../errors.ts"
import { connectToPlatform, inWords } from "../PlatformClient.ts"
import { table } from "../table.ts"
import { fullTopicName } from "../topicNames.ts"

const wrong = (message: string) => Effect.fail(new Refusal({ message }))

/** `argusiq replay`: one consumer group goes back in the log and takes its records once more. */
export const replay = Command.make(
  "replay",
  {
    group: Flag.String("group").pipe(
      Flag.withDescription("The consumer group, for example argusiq.normalizer; argusiq topics and doctor name more")
    ),
    offset: Flag.String("from-offset").pipe(
      Flag.withDescription("Begin with this offset in each partition, or with the oldest record where that is gone"),
      Flag.optional
    ),
    time: Flag.String("from-time").pipe(
      Flag.withDescription("Begin with what was appended then or later, for example 2026-01-31T08:00:00Z"),
      Flag.optional
    ),
    topic: Flag.String("topic").pipe(Flag.withDescription("Only this topic of the group's"), Flag.optional),
    partition: Flag.Int("partition").pipe(Flag.withDescription("Only this partition"), Flag.optional)
  },
  Effect.fn("replay")(function* ({ group, offset, partition, time, topic }) {
    if (Option.isSome(offset) === Option.isSome(time)) return yield* wrong("Say --from-offset or --from-time.")
    if (Option.isSome(offset) && !/^\d{1,19}$/.test(offset.value)) {
      return yield* wrong(`--from-offset ${offset.value} is no offset: a whole number, 0 for the oldest record.`)
    }
    const micros = Option.map(time, microsFromIso)
    if (Option.isSome(micros) && micros.value === undefined) {
      return yield* wrong("--from-time must be an ISO 8601 instant such as 2026-01-31T08:00:00Z.")
    }
    const { api } = yield* connectToPlatform
    const payload = {
      group,
      ...(Option.isSome(topic) && { topic: fullTopicName(topic.value) }),
      ...(Option.isSome(partition) && { partition: partition.value }),
      ...(Option.isSome(offset) && { offset: offset.value }),
      ...(Option.isSome(micros) && micros.value !== undefined && { time: micros.value })
    }
    const { items } = yield* api.operations
      .rewind({ payload })
      .pipe(Effect.mapError(inWords(`${group} cannot be rewound`)))
    yield* Console.log(
      table(
        ["topic", "partition", "goes on with"],
        items.map(({ next, partition, topic }) => [topic, partition, BigInt(next)])
      )
    )
  })
).pipe(Command.withDescription("Let one consumer group take records of the log once more"))
