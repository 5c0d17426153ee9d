/**
 * What the bridge counts. Updated once per batch, or per refused connection.
 * @module
 */
import { Metric } from "effect"

const service = { service: "bridge" }

/** Messages stored, dead letters included, with the attribute `source`. */
export const messages = Metric.withAttributes(
  Metric.counter("argusiq_bridge_messages_total", { incremental: true }),
  service
)
/** What was refused, with the attribute `reason`: of messages a poison reason or HTTP status, of MQTT what was attempted. */
export const refused = Metric.withAttributes(
  Metric.counter("argusiq_bridge_refused_total", { incremental: true }),
  service
)
export const connections = Metric.withAttributes(Metric.gauge("argusiq_bridge_connections"), service)
/** 1 while this process reads an external broker, 0 while it stands by or cannot. */
export const brokerConnections = Metric.withAttributes(Metric.gauge("argusiq_bridge_broker_connections"), service)
export const bytesInFlight = Metric.withAttributes(Metric.gauge("argusiq_bridge_in_flight_bytes"), service)
/** From the first attempt to publish a batch until it is durable. */
export const publishSeconds = Metric.withAttributes(
  Metric.histogram("argusiq_bridge_publish_seconds", {
    boundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
  }),
  service
)
