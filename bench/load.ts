/**
 * The load generator, a process of its own: many devices over real MQTT connections, QoS 1, `metrics` values a message.
 * The payload's timestamp is the moment of publishing in epoch microseconds, so that the stored row tells its own age.
 *
 * Argument: a JSON file of {@link LoadPlan}. The last line of standard output is a JSON {@link LoadResult}.
 * @module
 */
import { readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { DeviceConnection } from "../test/support/DeviceConnection.ts"

export interface LoadPlan {
  readonly port: number
  readonly devices: ReadonlyArray<{ readonly id: string; readonly key: string }>
  readonly metrics: number
  readonly seconds: number
  /** Absent: as many as the platform takes, `window` unacknowledged messages a device. */
  readonly messagesPerSecond?: number
  readonly window: number
}

export interface LoadResult {
  readonly sent: number
  readonly acknowledged: number
  readonly startedAtMicros: number
  readonly lastAcknowledgedAtMicros: number
  readonly acknowledgeMillis: { readonly p50: number; readonly p95: number; readonly p99: number }
  readonly cpuMicros: number
}

export const nowMicros = () => Math.round((performance.timeOrigin + performance.now()) * 1000)

export const percentiles = (values: Array<number>) => {
  const sorted = Float64Array.from(values).toSorted()
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

const SAMPLES = 200_000

const run = async (plan: LoadPlan): Promise<LoadResult> => {
  let sent = 0
  let acknowledged = 0
  let lastAcknowledgedAtMicros = 0
  let sending = false
  const waits: Array<number> = []
  const prefixes = Array.from({ length: plan.metrics }, (_, metric) => `"metric_${metric}":${20 + metric}.`)
  const sentAt = new Map<number, number>()
  const payload = (sequence: number): Uint8Array => {
    const now = nowMicros()
    sentAt.set(sequence, now)
    let text = `{"timestamp":${now},"metrics":{`
    for (let metric = 0; metric < prefixes.length; metric++) {
      text += `${metric === 0 ? "" : ","}${prefixes[metric]}${(sequence * 7 + metric * 13) % 1000}`
    }
    return Buffer.from(`${text}}}`)
  }
  const publish = (connection: DeviceConnection) => {
    const sequence = sent++
    connection.publish({ sequence, payload: payload(sequence) })
  }
  const connections = plan.devices.map((device) => {
    const connection: DeviceConnection = new DeviceConnection({
      port: plan.port,
      deviceId: device.id,
      key: device.key,
      window: plan.window,
      onAcknowledged: ({ sequence }) => {
        acknowledged += 1
        lastAcknowledgedAtMicros = nowMicros()
        if (waits.length < SAMPLES) waits.push((lastAcknowledgedAtMicros - (sentAt.get(sequence) ?? 0)) / 1000)
        sentAt.delete(sequence)
        if (sending && plan.messagesPerSecond === undefined) publish(connection)
      }
    })
    return connection
  })
  while (connections.some((connection) => !connection.isConnected)) await sleep(20)

  const cpuBefore = process.cpuUsage()
  const startedAtMicros = nowMicros()
  const endsAt = performance.now() + plan.seconds * 1000
  sending = true
  if (plan.messagesPerSecond === undefined) {
    for (const connection of connections) for (let slot = 0; slot < plan.window; slot++) publish(connection)
    await sleep(plan.seconds * 1000)
  } else {
    const beganAt = performance.now()
    while (performance.now() < endsAt) {
      const due = Math.floor(((performance.now() - beganAt) * plan.messagesPerSecond) / 1000)
      while (sent < due) {
        const connection = connections[sent % connections.length]
        if (connection !== undefined) publish(connection)
      }
      await sleep(1)
    }
  }
  sending = false
  const patience = performance.now() + 60_000
  while (acknowledged < sent && performance.now() < patience) await sleep(5)
  for (const connection of connections) connection.close()
  const cpu = process.cpuUsage(cpuBefore)
  return {
    sent,
    acknowledged,
    startedAtMicros,
    lastAcknowledgedAtMicros,
    acknowledgeMillis: percentiles(waits),
    cpuMicros: cpu.user + cpu.system
  }
}

if (import.meta.main) {
  const plan = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as LoadPlan
  const result = await run(plan)
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0))
}
