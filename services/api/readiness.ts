/**
 * Whether everything that the platform needs is up. The answer is public, so it names what is down and not why: that is in
 * the log, and `argusiq doctor` tells it.
 * @module
 */
import { type Readiness } from "@argusiq/domain/http/health.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { ConsumerStatus, type StatusRegistry } from "@argusiq/layers/bus/consumer/ConsumerStatus.ts"
import { AppSql } from "@argusiq/layers/database/Sql.ts"
import { Context, Effect } from "effect"

/** One thing that should be up. A failure is its being down; the failure itself goes to the log only. */
export interface Dependency {
  readonly name: string
  /** Everything goes on without it, and whoever notices its absence logs it. */
  readonly dispensable?: boolean
  readonly check: Effect.Effect<void, unknown>
  /** What to tell everybody while it is down; asked then. */
  readonly whenDown: string | (() => string)
}

/** What else this process needs besides database, bus and consumers: a listener, for example. */
export const FurtherDependencies = Context.Reference<ReadonlyArray<Dependency>>(
  "argusiq/services/api/FurtherDependencies",
  { defaultValue: () => [] }
)

const patience = "2 seconds"

const stoppedConsumers = (registry: StatusRegistry): Dependency => {
  const groups = () =>
    [
      ...new Set(
        registry
          .all()
          .filter(({ status }) => status._tag === "Stopped")
          .map(({ group }) => group)
      )
    ].toSorted()
  return {
    name: "consumers",
    check: Effect.suspend(() => (groups().length === 0 ? Effect.void : Effect.fail("stopped"))),
    whenDown: () => `${groups().join(", ")} stopped on some partitions: run npx argusiq doctor`
  }
}

/** An Effect that looks at every dependency, each for 2 s at most. */
export const readiness = Effect.gen(function* () {
  const sql = yield* AppSql
  const bus = yield* Bus
  const consumers = yield* ConsumerStatus
  const dependencies: ReadonlyArray<Dependency> = [
    { name: "database", check: Effect.asVoid(sql`select 1`), whenDown: "does not answer" },
    { name: "bus", check: Effect.asVoid(bus.range({ topic: Topics.raw, partition: 0 })), whenDown: "does not answer" },
    stoppedConsumers(consumers),
    ...(yield* FurtherDependencies)
  ]
  const look = ({ check, dispensable = false, name, whenDown }: Dependency) =>
    check.pipe(
      Effect.timeout(patience),
      Effect.as({ name, state: "up", detail: null } as const),
      Effect.catchCause((cause) =>
        Effect.as(dispensable ? Effect.void : Effect.logWarning(`${name} is down`, cause), {
          name,
          state: dispensable ? "degraded" : "down",
          detail: typeof whenDown === "string" ? whenDown : whenDown()
        } as const)
      )
    )
  return Effect.map(Effect.forEach(dependencies, look, { concurrency: "unbounded" }), (states): Readiness => ({
    status: states.some(({ state }) => state === "down") ? "not ready" : "ready",
    dependencies: states
  }))
})
