/**
 * The worker of jobs over the database of a test, for rebuilds.
 * @module
 */
import * as JobRunner from "@argusiq/jobs/JobRunner.ts"
import { Jobs } from "@argusiq/layers/jobs/Jobs.ts"
import * as AssetCache from "@argusiq/layers/profiles/AssetCache.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import * as RuleCache from "@argusiq/layers/profiles/RuleCache.ts"
import type { Actor } from "@argusiq/layers/registry/Devices.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Effect, Fiber, Layer } from "effect"

export const rebuildWorld = Layer.mergeAll(
  RuleCache.layer({ size: 1_000 }).pipe(
    Layer.provideMerge(Layer.merge(ProfileCache.layer({ size: 1_000 }), AssetCache.layer({ size: 1_000 })))
  ),
  GatewayChildren.layer,
  TelemetryStore.layer,
  AliasStore.layer,
  Sandbox.layer,
  Jobs.layer
)

/** Works off these jobs; fails with what one of them failed with. */
export const runJobs = Effect.fnUntraced(function* (asked: ReadonlyArray<{ readonly jobId: string }>, actor: Actor) {
  const jobs = yield* Jobs
  const worker = yield* Effect.forkChild(JobRunner.run("100 millis"))
  for (const { jobId } of asked) {
    for (;;) {
      const { error, status } = yield* jobs.get(actor, jobId)
      if (status === "completed") break
      if (status === "failed") return yield* Effect.die(new Error(`job ${jobId}: ${error}`))
      yield* Effect.sleep(50)
    }
  }
  yield* Fiber.interrupt(worker)
})
