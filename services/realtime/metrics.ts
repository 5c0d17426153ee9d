/**
 * What live connections come to. Counted in plain numbers and told once a second.
 * @module
 */
import { Effect, Metric } from "effect"

const service = { service: "realtime" }
const gauge = (name: string, description: string) => Metric.withAttributes(Metric.gauge(name, { description }), service)
const counter = (name: string, description: string) =>
  Metric.withAttributes(Metric.counter(name, { description, incremental: true }), service)

const connections = gauge("argusiq_realtime_connections", "Live connections of this process")
const rooms = gauge("argusiq_realtime_rooms", "Devices and assets that somebody watches in this process")
const buffered = gauge("argusiq_realtime_buffered_bytes", "What connections have not taken yet")
const sent = counter("argusiq_realtime_sent_total", "Messages handed to connections, one per connection")
const dropped = counter("argusiq_realtime_dropped_total", "Telemetry that slow connections were not told")
const closed = counter("argusiq_realtime_closed_total", "Connections closed by the platform, by reason")
const refused = counter("argusiq_realtime_refused_total", "Connections refused, by reason")
const lag = gauge("argusiq_realtime_lag_seconds", "How long ago the record was appended that was told last, by topic")

export class Counts {
  sent = 0
  dropped = 0
  readonly closed = new Map<string, number>()
  readonly refused = new Map<string, number>()
  /** Seconds, by topic; the highest since it was told. */
  readonly lag = new Map<string, number>()

  close(reason: string): void {
    this.closed.set(reason, (this.closed.get(reason) ?? 0) + 1)
  }

  refuse(reason: string): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1)
  }

  late(topic: string, seconds: number): void {
    this.lag.set(topic, Math.max(this.lag.get(topic) ?? 0, seconds))
  }

  /** Tells what came since the last time. */
  readonly tell = (present: { readonly connections: number; readonly rooms: number; readonly bufferedBytes: number }) =>
    Effect.gen({ self: this }, function* () {
      yield* Metric.update(connections, present.connections)
      yield* Metric.update(rooms, present.rooms)
      yield* Metric.update(buffered, present.bufferedBytes)
      yield* Metric.update(sent, this.sent)
      yield* Metric.update(dropped, this.dropped)
      this.sent = 0
      this.dropped = 0
      for (const [reason, count] of this.closed) yield* Metric.update(Metric.withAttributes(closed, { reason }), count)
      for (const [reason, count] of this.refused)
        yield* Metric.update(Metric.withAttributes(refused, { reason }), count)
      this.closed.clear()
      this.refused.clear()
      for (const [topic, seconds] of this.lag) {
        yield* Metric.update(Metric.withAttributes(lag, { topic }), seconds)
        this.lag.set(topic, 0)
      }
    })
}
