/**
 * The services that a platform can run.
 * @module
 */
import { Config, Result } from "effect"

export const ServiceNames = [
  "bridge",
  "dispatcher",
  "chunker",
  "demux",
  "normalizer",
  "telemetry-writer",
  "asset-health",
  "event-engine",
  "activity-creator",
  "jobs",
  "api",
  "realtime"
] as const
export type ServiceName = (typeof ServiceNames)[number]

const isServiceName = (name: string): name is ServiceName => ServiceNames.some((known) => known === name)

/** A list of names separated by commas, blanks allowed; fails with what it does not know. */
export const parseServices = (list: string): Result.Result<ReadonlySet<ServiceName>, string> => {
  const names = list
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "")
  const unknown = names.filter((name) => !isServiceName(name))
  if (unknown.length > 0) {
    return Result.fail(`unknown service ${unknown.join(", ")}; known are ${ServiceNames.join(", ")}`)
  }
  if (names.length === 0) return Result.fail(`no service named; known are ${ServiceNames.join(", ")}`)
  return Result.succeed(new Set(names.filter(isServiceName)))
}

/** All services, or those that `ARGUSIQ_SERVICES` names. A wrong value counts as all here: the check of the settings names it. */
export const configuredServices: Config.Config<ReadonlySet<ServiceName>> = Config.String("ARGUSIQ_SERVICES").pipe(
  Config.withDefault(ServiceNames.join(",")),
  Config.map((list) => Result.getOrElse(parseServices(list), () => new Set(ServiceNames)))
)
