/**
 * The platform, or the services of `ARGUSIQ_SERVICES`, with the safeguards off that `UNSAFE` names (keys of
 * `SafeguardSwitches`, separated by commas): a fault test that does not notice proves nothing.
 * @module
 */
import { allSafeguards, Safeguards, type SafeguardSwitches } from "@argusiq/layers/Safeguards.ts"
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import * as logging from "../../services/platform/logging.ts"
import { runPlatform } from "../../services/platform/Platform.ts"
import { runMain, untilStopped } from "../../services/platform/process.ts"
import { configuredServices } from "../../services/platform/services.ts"

const off = (process.env["UNSAFE"] ?? "").split(",")
const unknown = off.filter((name) => !Object.hasOwn(allSafeguards, name))
if (unknown.length > 0) throw new Error(`UNSAFE names no safeguard: ${unknown.join(", ")}`)

const switches: SafeguardSwitches = { ...allSafeguards, ...Object.fromEntries(off.map((name) => [name, false])) }

untilStopped(Effect.flatMap(configuredServices, runPlatform)).pipe(
  Effect.provideService(Safeguards, switches),
  Effect.provide(Layer.merge(logging.layer, NodeServices.layer)),
  runMain
)
