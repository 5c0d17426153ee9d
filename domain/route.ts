/**
 * Where the dispatcher sends a message, by the processing mode of its device's type.
 * @module
 */
import { Result } from "effect"
import { type ProcessingMode } from "./envelope.ts"
import { Poison } from "./errors.ts"
import { Topics } from "./topics.ts"

const topicOfMode: ReadonlyMap<string, string> = new Map<ProcessingMode, string>([
  ["endpoint", Topics.endpoint],
  ["gateway", Topics.gateway],
  ["gateway_chunked", Topics.gatewayChunked],
  ["rtu_multiport", Topics.rtu]
])

/** The modes that a service of this release processes; messages of other modes are kept as dead letters. */
export const servedModes: ReadonlySet<string> = new Set<ProcessingMode>([
  "endpoint",
  "gateway",
  "gateway_chunked",
  "rtu_multiport"
])

/** The topic of a processing mode, as stored: configuration of another release may name modes unknown here. */
export const route = (mode: string): Result.Result<string, Poison> => {
  const topic = topicOfMode.get(mode)
  if (topic !== undefined && servedModes.has(mode)) return Result.succeed(topic)
  const served = [...servedModes].join(", ")
  return Result.fail(
    new Poison({
      reason: "UnknownProcessingMode",
      message:
        topic === undefined
          ? `Processing mode "${mode}" is unknown. Served: ${served}. Correct the device type and retry.`
          : `Processing mode "${mode}" has no service in this release. Served: ${served}. Retry after an upgrade.`,
      path: "$.processingMode"
    })
  )
}
