import { type DeadLetterFilter } from "@argusiq/domain/http/dead-letters.ts"
import { microsFromIso } from "@argusiq/domain/http/scalars.ts"
import { DeviceId } from "@argusiq/domain/ids.ts"
import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { findDevice } from "../devices.ts"
import { Refusal } from "../errors.ts"
import { organization } from "../organization.ts"
import { connectToPlatform, inWords } from "../PlatformClient.ts"
import { table } from "../table.ts"
import { fullTopicName } from "../topicNames.ts"

const optionally = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withDescription(description), Flag.optional)

const selection = {
  topic: optionally("topic", "Of this topic, for example raw or telemetry.endpoint.v1"),
  group: optionally("group", "Of this consumer group, for example argusiq.normalizer"),
  reason: optionally("reason", "Of this reason, for example ExtractionFailed"),
  device: optionally("device", "Of this device: id, external id, serial number or name"),
  from: optionally("from", "Received at or after this ISO 8601 instant"),
  to: optionally("to", "Received before this ISO 8601 instant"),
  organization
}
type Selection = { readonly [Name in keyof typeof selection]: Option.Option<string> }

const instant = Effect.fnUntraced(function* (flag: string, given: string) {
  const micros = microsFromIso(given)
  if (micros !== undefined) return micros
  return yield* new Refusal({ message: `--${flag}: ${given} is no ISO 8601 instant such as 2026-01-31T08:00:00Z` })
})

const instantOf = (flag: string, given: Option.Option<string>) =>
  Option.isNone(given) ? Effect.succeed(undefined) : instant(flag, given.value)

const asDeviceId = Schema.decodeUnknownSync(DeviceId)

/** A client of the organisation that is meant, and what to look for in it. */
const chosen = Effect.fnUntraced(function* (given: Selection) {
  const platform = yield* connectToPlatform
  const of = Option.getOrUndefined(given.organization)
  const found = Option.isNone(given.device) ? undefined : yield* findDevice(platform, given.device.value, of)
  const startTime = yield* instantOf("from", given.from)
  const endTime = yield* instantOf("to", given.to)
  const filter: DeadLetterFilter = {
    ...(Option.isSome(given.topic) && { topic: fullTopicName(given.topic.value) }),
    ...(Option.isSome(given.group) && { group: given.group.value }),
    ...(Option.isSome(given.reason) && { reason: given.reason.value }),
    ...(found !== undefined && { deviceId: asDeviceId(found.device.id) }),
    ...(startTime !== undefined && { startTime }),
    ...(endTime !== undefined && { endTime })
  }
  return { api: found?.api ?? (yield* platform.apiOf(of)), filter }
})

/** `argusiq dlq list`: what could not be processed and waits, newest first. */
const list = Command.make(
  "list",
  {
    ...selection,
    state: Flag.Literals("state", ["open", "retrying", "resolved", "all"]).pipe(
      Flag.withDescription("Those that are not resolved unless told"),
      Flag.optional
    ),
    limit: Flag.Int("limit").pipe(Flag.withDefault(50), Flag.withDescription("How many lines at most, up to 500"))
  },
  Effect.fn("dlq.list")(function* ({ state, limit, ...given }) {
    const { api, filter } = yield* chosen(given)
    const { items, nextCursor } = yield* api.deadLetters
      .list({ query: { ...filter, ...(Option.isSome(state) && { state: state.value }), limit } })
      .pipe(Effect.mapError(inWords("Dead letters cannot be listed")))
    if (items.length === 0) return yield* Console.log("No dead letters.")
    const rows = items.map((item) => [
      item.id,
      item.receivedAt,
      item.topic,
      item.stage,
      item.reason,
      item.deviceId ?? "-",
      item.state,
      item.retries,
      item.message.replaceAll(/\s+/g, " ").slice(0, 80)
    ])
    const heading = ["id", "received at", "topic", "stage", "reason", "device", "state", "retries", "message"]
    yield* Console.log(table(heading, rows))
    if (nextCursor !== null) yield* Console.log(`There are more: narrow the search, or raise --limit above ${limit}.`)
  })
).pipe(Command.withDescription("List dead letters, newest first"))

/** `argusiq dlq show <id>`: everything that is known of one, as JSON. */
const show = Command.make(
  "show",
  { id: Argument.String("id"), organization },
  Effect.fn("dlq.show")(function* ({ id, organization }) {
    const { apiOf } = yield* connectToPlatform
    const api = yield* apiOf(Option.getOrUndefined(organization))
    const letter = yield* api.deadLetters
      .get({ params: { id: id.toLowerCase() } })
      .pipe(Effect.mapError(inWords(`Dead letter ${id} cannot be shown`)))
    yield* Console.log(JSON.stringify(letter, null, 2))
  })
).pipe(Command.withDescription("Show one dead letter with its headers and its payload"))

const configAtOf = (given: Option.Option<string>) =>
  Effect.gen(function* () {
    if (Option.isNone(given)) return undefined
    return given.value === "now" ? ("now" as const) : yield* instant("config-at", given.value)
  })

/** `argusiq dlq retry [ids]`: some by their ids, those of a filter, or all. */
const retry = Command.make(
  "retry",
  {
    ids: Argument.String("id").pipe(Argument.variadic()),
    all: Flag.Boolean("all").pipe(Flag.withDefault(false), Flag.withDescription("All that wait")),
    ...selection,
    configAt: Flag.String("config-at").pipe(
      Flag.withDescription(
        "Apply the configuration in force at this ISO 8601 instant, or now, instead of the one at the time of the message"
      ),
      Flag.optional
    ),
    entry: Flag.Int("entry").pipe(Flag.withDescription("Only this entry of the one message named"), Flag.optional)
  },
  Effect.fn("dlq.retry")(function* ({ ids, all, configAt, entry, ...given }) {
    const { api, filter } = yield* chosen(given)
    const filtered = Object.keys(filter).length > 0
    const [first, ...others] = ids.map((id) => id.toLowerCase())
    if ([first !== undefined, filtered, all].filter(Boolean).length !== 1) {
      return yield* new Refusal({ message: "Name what to retry: ids, or a filter such as --reason, or --all." })
    }
    const applied = yield* configAtOf(configAt)
    const answer = yield* api.deadLetters
      .retry({
        payload: {
          ...(first !== undefined && { ids: [first, ...others] as const }),
          ...(filtered && { filter }),
          ...(all && { all }),
          ...(applied !== undefined && { configAt: applied }),
          ...(Option.isSome(entry) && { entry: entry.value })
        }
      })
      .pipe(Effect.mapError(inWords("Dead letters cannot be retried")))
    yield* Console.log(answer.message)
    if (answer.alreadyRetrying > 0) yield* Console.log(`${answer.alreadyRetrying} were on the way already.`)
    if (answer.alreadyResolved > 0) yield* Console.log(`${answer.alreadyResolved} were resolved already.`)
  })
).pipe(Command.withDescription("Process dead letters again, once their cause is removed"))

/** `argusiq dlq`: messages that could not be processed. */
export const dlq = Command.make("dlq").pipe(
  Command.withDescription("Find, show and retry messages that could not be processed"),
  Command.withSubcommands([list, show, retry])
)
