/**
 * What the services stand on, embedded unless a setting says otherwise.
 * @module
 */
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import * as Database from "@argusiq/layers/database/Database.ts"
import { Passwords } from "@argusiq/layers/identity/Passwords.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import * as MemoryRateLimit from "@argusiq/layers/rate-limit/MemoryRateLimit.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Layer } from "effect"

/** PostgreSQL with its schema, the log, caches and stores; closed in the opposite order. */
export const layer = Layer.mergeAll(
  ProfileCache.layerConfig,
  TelemetryStore.layer,
  Passwords.layer,
  MemoryRateLimit.layer()
).pipe(Layer.provideMerge(LocalBus.layerConfig), Layer.provideMerge(Database.layer))
