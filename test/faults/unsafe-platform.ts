/**
 * The platform, or the services of `ARGUSIQ_SERVICES`, with one safeguard off, named by `UNSAFE` (a key of
 * `SafeguardSwitches`): a fault test that does not notice proves nothing.
 * @module
 */
import { Safeguards, type SafeguardSwitches } from "@argusiq/layers/Safeguards.ts"
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import * as logging from "../../services/platform/logging.ts"
import { runPlatform } from "../../services/platform/Platform.ts"
import { runMain, untilStopped } from "../../services/platform/process.ts"
import { configuredServices } from "../../services/platform/services.ts"

const switches: SafeguardSwitches = {
  deduplicateReadings: process.env.UNSAFE !== "deduplicateReadings",
  offsetWithRows: process.env.UNSAFE !== "offsetWithRows",
  acknowledgeAfterFlush: process.env.UNSAFE !== "acknowledgeAfterFlush"
}

untilStopped(Effect.flatMap(configuredServices, runPlatform)).pipe(
  Effect.provideService(Safeguards, switches),
  Effect.provide(Layer.merge(logging.layer, NodeServices.layer)),
  runMain
)
