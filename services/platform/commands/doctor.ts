import { Console, Effect, Option, Runtime, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { dataDirectory, isHeld, readRecord } from "../DataDirectory.ts"
import * as machine from "../doctor/machine.ts"
import { type Finding, note, render } from "../doctor/Finding.ts"
import * as running from "../doctor/running.ts"
import { acceptLog } from "../doctor/stopped.ts"
import { listeningPorts } from "../ports.ts"
import { configuredServices } from "../services.ts"

/** Ends the command with exit code 1; everything has been said. */
class Unhealthy extends Schema.TaggedError<Unhealthy>()("Unhealthy", {}) {
  override readonly [Runtime.errorReported] = false
}

const examine = Effect.gen(function* () {
  const directory = yield* dataDirectory
  const always: ReadonlyArray<Finding> = [
    machine.node,
    ...(yield* machine.settings),
    ...(yield* machine.disk(directory))
  ]
  const record = readRecord(directory)
  if (record !== undefined && (yield* isHeld(directory))) {
    const platform: Finding = {
      _tag: "Fine",
      what: "Platform",
      detail: `running as process ${record.pid} since ${record.startedAt}`
    }
    return [...always, platform, ...(yield* running.ports(record)), ...(yield* running.services(record))]
  }
  const platform =
    record === undefined
      ? note("Platform", "not running. Start it with: npm start")
      : note("Platform", `process ${record.pid} was killed; what it acknowledged is in the log. Go on with: npm start`)
  return [
    ...always,
    platform,
    yield* machine.stoppedPostgres(directory),
    ...(yield* machine.freePorts(yield* listeningPorts(yield* configuredServices))),
    note("Consumers", "offsets are compared with the log when the platform runs")
  ]
})

/**
 * `argusiq doctor`: what is wrong and what to do. Exit code 1 when something is. With `--accept`, what it does with
 * partitions that stand still.
 */
export const doctor = Command.make(
  "doctor",
  {
    accept: Flag.String("accept").pipe(
      Flag.withDescription(
        "Go on with stopped partitions (a group, group/topic or group/topic/partition) although the log has lost records"
      ),
      Flag.optional
    )
  },
  Effect.fn("doctor")(function* ({ accept }) {
    if (Option.isSome(accept)) return yield* acceptLog(accept.value)
    const findings = yield* examine
    yield* Console.log(findings.map(render).join("\n"))
    const faults = findings.filter(({ _tag }) => _tag === "Fault").length
    yield* Console.log(faults === 0 ? "\nNothing is wrong." : `\n${faults === 1 ? "1 fault" : `${faults} faults`}.`)
    if (faults > 0) return yield* new Unhealthy()
  })
).pipe(Command.withDescription("Say what is wrong with this installation, and what to do"))
