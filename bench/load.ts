/**
 * The load generator, a process of its own: many devices, `metrics` values a message, QoS 1 or webhook requests. It keeps
 * only what is not acknowledged and a bounded choice of latencies, so it may run for hours.
 *
 * Argument: a JSON file of {@link LoadPlan}. The last line of standard output is a JSON {@link LoadResult}.
 * @module
 */
import { readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { Breaches, LONGEST_BREACH_SECONDS } from "./breaches.ts"
import { type Credentials, type Lane, openLanes, type Target } from "./lanes.ts"
import { messageWriter, nowMicros } from "./messages.ts"
import { type Percentiles, percentiles, Reservoir } from "./percentiles.ts"

export interface Phase {
  readonly seconds: number
  /** Absent: as many as the platform takes, `window` unacknowledged messages a lane. */
  readonly messagesPerSecond?: number
}

export interface LoadPlan {
  readonly target: Target
  readonly devices: ReadonlyArray<Credentials>
  readonly metrics: number
  readonly children?: number // in each message; absent or 0: the devices are no gateways
  readonly window: number
  /** Beside a paced load; `first` as in {@link Breaches}. None in the last seconds, so that each comes to its end. */
  readonly breaches?: { readonly perSecond: number; readonly first: number }
  /** One after the other without a pause. */
  readonly phases: ReadonlyArray<Phase>
}

export interface LoadResult {
  readonly sent: number
  readonly acknowledged: number
  readonly phases: ReadonlyArray<{
    readonly startedAtMicros: number
    readonly endedAtMicros: number
    readonly sent: number
  }>
  readonly lastAcknowledgedAtMicros: number
  readonly acknowledgeMillis: Percentiles
  readonly cpuMicros: number
  readonly breaches: ReadonlyArray<number> // by kind
}

const SAMPLES = 200_000
/** Unacknowledged and waiting, over all lanes: beyond it the devices measure nothing until they get through again. */
const MAX_OUTSTANDING = 400_000
const PATIENCE_MILLIS = 300_000

const run = async (plan: LoadPlan): Promise<LoadResult> => {
  let sent = 0
  let acknowledged = 0
  let lastAcknowledgedAtMicros = 0
  let isFlatOut = false
  const waits = new Reservoir(SAMPLES)
  const sentAt = new Map<number, number>()
  const payload = messageWriter(plan.metrics, plan.children)
  const breaches = new Breaches(
    plan.devices.map(({ id }) => id),
    plan.breaches?.first ?? 0
  )
  const turns = new Map<Lane, number>()
  const publish = (lane: Lane) => {
    const turn = turns.get(lane) ?? 0
    turns.set(lane, turn + 1)
    const device = lane.devices[turn % lane.devices.length]
    if (device === undefined) return
    const sequence = sent++
    const now = nowMicros()
    sentAt.set(sequence, now)
    lane.publish({ sequence, payload: breaches.payload(device.id, now) ?? payload(sequence, now), deviceId: device.id })
  }
  const lanes = openLanes(plan.target, plan.devices, plan.window, (lane, sequence) => {
    acknowledged += 1
    lastAcknowledgedAtMicros = nowMicros()
    waits.add((lastAcknowledgedAtMicros - (sentAt.get(sequence) ?? 0)) / 1000)
    sentAt.delete(sequence)
    if (isFlatOut) publish(lane)
  })
  while (lanes.some((lane) => !lane.ready())) await sleep(20)

  const flatOut = async (seconds: number) => {
    isFlatOut = true
    for (const lane of lanes) while (lane.outstanding() < plan.window) publish(lane)
    await sleep(seconds * 1000)
    isFlatOut = false
  }
  const maxOutstanding = Math.max(plan.window, Math.ceil(MAX_OUTSTANDING / lanes.length))
  let nextLane = 0
  const paced = async (seconds: number, perSecond: number) => {
    let before = performance.now()
    const endsAt = before + seconds * 1000
    const noBreachesFrom = endsAt - (LONGEST_BREACH_SECONDS + (3 * plan.devices.length) / perSecond) * 1_000
    let owed = 0
    let owedBreaches = 0
    for (let now = before; now < endsAt; now = performance.now()) {
      owed = Math.min(owed + ((now - before) * perSecond) / 1000, perSecond)
      if (now < noBreachesFrom) owedBreaches += ((now - before) * (plan.breaches?.perSecond ?? 0)) / 1000
      for (; owedBreaches >= 1; owedBreaches -= 1) breaches.begin()
      before = now
      for (let refused = 0; owed >= 1 && refused < lanes.length;) {
        const lane = lanes[nextLane++ % lanes.length] as Lane
        if (lane.outstanding() >= maxOutstanding) {
          refused += 1
          continue
        }
        owed -= 1
        publish(lane)
      }
      await sleep(1)
    }
  }

  const cpuBefore = process.cpuUsage()
  const phases: Array<LoadResult["phases"][number]> = []
  for (const { messagesPerSecond, seconds } of plan.phases) {
    const startedAtMicros = nowMicros()
    const sentBefore = sent
    await (messagesPerSecond === undefined ? flatOut(seconds) : paced(seconds, messagesPerSecond))
    phases.push({ startedAtMicros, endedAtMicros: nowMicros(), sent: sent - sentBefore })
  }
  const patience = performance.now() + PATIENCE_MILLIS
  while (acknowledged < sent && performance.now() < patience) await sleep(5)
  for (const lane of lanes) lane.close()
  const cpu = process.cpuUsage(cpuBefore)
  const acknowledgeMillis = percentiles(waits.values)
  return {
    sent,
    acknowledged,
    phases,
    lastAcknowledgedAtMicros,
    acknowledgeMillis,
    cpuMicros: cpu.user + cpu.system,
    breaches: breaches.sent
  }
}

if (import.meta.main) {
  const plan = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as LoadPlan
  const result = await run(plan)
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0))
}
