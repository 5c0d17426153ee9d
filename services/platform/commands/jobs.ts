import { Console, Effect, Option } from "effect"
import { Argument, Command } from "effect/cli"
import { organization } from "../organization.ts"
import { connectToPlatform, inWords } from "../PlatformClient.ts"
import { table } from "../table.ts"

const job = Argument.String("job").pipe(Argument.withDescription("Id of the job"))

const api = (organizationId: Option.Option<string>) =>
  Effect.flatMap(connectToPlatform, ({ apiOf }) => apiOf(Option.getOrUndefined(organizationId)))

const list = Command.make(
  "list",
  { organization },
  Effect.fn("jobs list")(function* ({ organization }) {
    const { items } = yield* (yield* api(organization)).jobs
      .list({ query: {} })
      .pipe(Effect.mapError(inWords("Jobs cannot be listed")))
    const rows = items.map(({ createdAt, jobId, kind, progress, status, total }) => [
      jobId,
      kind,
      status,
      progress,
      total ?? "",
      createdAt
    ])
    yield* Console.log(table(["job", "kind", "status", "done", "of", "asked for"], rows))
  })
).pipe(Command.withDescription("The newest jobs"))

const show = Command.make(
  "show",
  { job, organization },
  Effect.fn("jobs show")(function* ({ job, organization }) {
    const found = yield* (yield* api(organization)).jobs
      .get({ params: { jobId: job } })
      .pipe(Effect.mapError(inWords(`Job ${job} cannot be shown`)))
    yield* Console.log(JSON.stringify(found, null, 2))
  })
).pipe(Command.withDescription("Everything about one job"))

const cancel = Command.make(
  "cancel",
  { job, organization },
  Effect.fn("jobs cancel")(function* ({ job, organization }) {
    const found = yield* (yield* api(organization)).jobs
      .cancel({ params: { jobId: job } })
      .pipe(Effect.mapError(inWords(`Job ${job} cannot be cancelled`)))
    yield* Console.log(
      found.status === "cancelled" ? `Job ${job} is cancelled.` : `Job ${job} had ended already: ${found.status}.`
    )
  })
).pipe(Command.withDescription("Stop a job; what it has done stays"))

/** `argusiq jobs`: replays, reprocessing and rebuilds, asked for by the API. */
export const jobs = Command.make("jobs").pipe(
  Command.withDescription("Replays and reprocessing: list, show, cancel"),
  Command.withSubcommands([list, show, cancel])
)
