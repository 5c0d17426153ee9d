/**
 * Consumers that stand still because their offsets do not fit the log: what happened, what a person can do, and doing it.
 * @module
 */
import type { ConsumerState } from "@argusiq/domain/http/operations.ts"
import { Console, Effect } from "effect"
import { join } from "node:path"
import { Refusal } from "../errors.ts"
import { connectToPlatform, inWords } from "../PlatformClient.ts"
import { fault, type Finding } from "./Finding.ts"

type Stopped = typeof ConsumerState.Type

const consequence =
  "records that the log has lost never come to this consumer; what it has stored already is not stored twice"

/** The ways out, each of which can be carried out as it stands. */
const remedy = (name: string, directory: string): string =>
  [
    `Restore: stop the platform, put a matching copy of ${join(directory, "bus")} or of the database back, and start it again.`,
    `Or accept: npx argusiq doctor --accept ${name}`,
    `goes on at the oldest record of the log. This cannot be taken back: ${consequence}.`,
    "Messages that got as far as the audit copy are in the table telemetry_raw either way. docs/troubleshooting.md says more."
  ].join("\n")

/** One finding for each topic that a group has stopped in. */
export const stoppedFindings = (
  group: string,
  stopped: ReadonlyArray<Stopped>,
  directory: string
): ReadonlyArray<Finding> =>
  [...Map.groupBy(stopped, ({ topic }) => topic)].map(([topic, partitions]) => {
    const numbers = partitions.map(({ partition }) => partition).join(", ")
    const reasons = partitions.map(
      ({ detail, partition }) => `${partition}: ${detail ?? "the platform's log says why"}`
    )
    const name = partitions.length === 1 ? `${group}/${topic}/${numbers}` : `${group}/${topic}`
    return fault(
      group,
      `has stopped on ${topic}, partition ${numbers}`,
      `${reasons.join("\n")}\n${remedy(name, directory)}`
    )
  })

const nameOf = ({ group, partition, topic }: Stopped) => `${group}/${topic}/${partition}`

/**
 * Goes on with every stopped partition that `name` names: `group`, `group/topic` or `group/topic/partition`. The running
 * platform does it.
 */
export const acceptLog = Effect.fn("doctor.acceptLog")(function* (name: string) {
  const { api } = yield* connectToPlatform
  const { items } = yield* api.operations.consumers().pipe(Effect.mapError(inWords("Consumers cannot be listed")))
  const stopped = items.filter(({ state }) => state === "stopped")
  const named = stopped.filter((one) => `${nameOf(one)}/`.startsWith(`${name}/`))
  if (named.length === 0) {
    const known = stopped.map(nameOf)
    return yield* new Refusal({
      message: `No stopped partition is named ${name}. ${known.length === 0 ? "None has stopped." : `Stopped are: ${known.join(", ")}`}`
    })
  }
  yield* Console.log(`Accepting the log as it is: ${consequence}.`)
  for (const one of named) {
    const { group, partition, topic } = one
    const { next } = yield* api.operations
      .accept({ payload: { group, partition, topic } })
      .pipe(Effect.mapError(inWords(`${nameOf(one)} could not go on`)))
    yield* Console.log(`${nameOf(one)} was at ${one.next} and goes on at ${next}.`)
  }
})
