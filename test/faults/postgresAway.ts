/**
 * PostgreSQL goes away under load and comes back: devices that are known stay acknowledged meanwhile, memory is bounded, and
 * afterwards everything is stored, once.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import { eventually, PlatformProcess } from "../support/PlatformProcess.ts"
import { ExternalPostgres } from "./ExternalPostgres.ts"
import { prepareDevices, startSender, storedCount, takeHoldings } from "./kills.ts"
import { judge, readLedger, total, type Verdict } from "./ledger.ts"
import { watchMemory } from "./memory.ts"

export interface AwayPlan {
  /** Stopped: connections are refused. Frozen: they stay open and nothing answers. */
  readonly how: "stopped" | "frozen"
  readonly seconds: number
  readonly devices: number
  readonly messagesPerSecond: number
}

export interface AwayReport {
  readonly sent: number
  readonly acknowledged: number
  readonly acknowledgedMeanwhile: number
  /** From the return to the last stored row. */
  readonly caughtUpSeconds: number
  readonly peakRssAnonBytes: number
  readonly verdict: Verdict
}

const WARM_SECONDS = 2

export const runPostgresAway = async (plan: AwayPlan): Promise<AwayReport> => {
  const prepared = await PlatformProcess.prepare()
  const postgres = new ExternalPostgres(prepared.dataDirectory)
  await postgres.start()
  const platform = await PlatformProcess.prepare({
    dataDirectory: prepared.dataDirectory,
    env: postgres.environment
  })
  const ledger = `${platform.dataDirectory}.ledger`
  let sender: ReturnType<typeof startSender> | undefined
  try {
    await platform.start()
    const devices = await prepareDevices(platform, plan.devices)
    const book = () => readLedger(ledger, plan.devices)
    sender = startSender({
      port: platform.mqttPort,
      ledger,
      devices,
      messagesPerSecond: plan.messagesPerSecond,
      maxOutstanding: 200,
      drainMillis: 120_000
    })
    await eventually("a message of every device being acknowledged", 30, () =>
      book().acknowledged.every((set) => set.size > 0) ? true : undefined
    )
    await sleep(WARM_SECONDS * 1000)
    const memory = watchMemory(platform.pid)
    if (plan.how === "stopped") await postgres.stop()
    else postgres.freeze()
    const before = total(book().acknowledged)
    await sleep(plan.seconds * 1000)
    const acknowledgedMeanwhile = total(book().acknowledged) - before
    if (plan.how === "stopped") await postgres.start()
    else postgres.thaw()
    const { outstanding } = await sender.finish()
    if (outstanding > 0) throw new Error(`${outstanding} messages were never acknowledged`)
    const returnedAt = performance.now()
    const { acknowledged, sent } = book()
    await eventually("storing everything", 300, async () =>
      (await storedCount(platform.dataDirectory)) >= total(sent) ? true : undefined
    )
    const caughtUpSeconds = (performance.now() - returnedAt) / 1000
    const peakRssAnonBytes = memory.stop()
    await platform.stop()
    await postgres.stop()
    return {
      sent: total(sent),
      acknowledged: total(acknowledged),
      acknowledgedMeanwhile,
      caughtUpSeconds,
      peakRssAnonBytes,
      verdict: judge(book(), await takeHoldings(platform.dataDirectory, devices))
    }
  } finally {
    sender?.kill()
    await postgres.stop()
    await platform.dispose()
  }
}
