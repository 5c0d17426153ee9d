/**
 * The platform as one process, and the order in which everything starts and stops: PostgreSQL, migrations, the log, the
 * services, and the ports last; stopping goes the other way round. Of several processes each runs some of the services.
 * @module
 */
import { ensureFirstAdministrator } from "@argusiq/layers/identity/FirstStart.ts"
import { Config, Effect, Layer } from "effect"
import { announce } from "./banner.ts"
import {
  dataDirectory,
  type PlatformRecord,
  publishRecord,
  secretsDirectory,
  takeDataDirectory
} from "./DataDirectory.ts"
import { loadDemo } from "./demo.ts"
import { openDoors } from "./doors.ts"
import * as infrastructure from "./infrastructure.ts"
import { checkPorts, listeningPorts } from "./ports.ts"
import { checkSharing, refuseSecondLog } from "./sharing.ts"
import type { ServiceName } from "./services.ts"
import { describeSettings } from "./settings.ts"
import { startWorkers } from "./workers.ts"
import { workersOf } from "./work.ts"

const loadsDemo = Config.Boolean("ARGUSIQ_DEMO").pipe(Config.withDefault(false))

const runServices = Effect.fn("runServices")(function* (
  services: ReadonlySet<ServiceName>,
  directory: string,
  startedAt: number
) {
  yield* refuseSecondLog
  const firstStart = services.has("api") ? yield* ensureFirstAdministrator : undefined
  if (yield* loadsDemo) yield* loadDemo
  const oneEnded = yield* startWorkers(workersOf(services))
  const record: PlatformRecord = {
    pid: process.pid,
    startedAt: new Date().toISOString(),
    services: [...services],
    ...(yield* openDoors(services)),
    dataDirectory: directory,
    secretsDirectory: yield* secretsDirectory
  }
  yield* publishRecord(record)
  yield* announce(record, firstStart, Math.round(performance.now() - startedAt))
  return yield* oneEnded
})

/** Runs until interrupted; fails when a part of it does. Everything it has started is stopped when it returns. */
export const runPlatform = Effect.fn("runPlatform")(function* (services: ReadonlySet<ServiceName>) {
  const startedAt = performance.now()
  const directory = yield* dataDirectory
  yield* checkSharing(services)
  yield* takeDataDirectory(directory)
  yield* checkPorts(yield* listeningPorts(services))
  const settings = yield* describeSettings
  yield* Effect.logInfo(settings.length === 0 ? "All settings at their defaults" : `Settings: ${settings.join(" ")}`)
  const context = yield* Layer.build(infrastructure.layer)
  return yield* Effect.provideContext(runServices(services, directory, startedAt), context)
}, Effect.scoped)
