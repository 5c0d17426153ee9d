/**
 * A process of its own that sends under steady load and keeps the ledger: a line `S <device> <sequence>` before a message
 * goes out (again), a line `A <device> <sequence>` after its acknowledgement. It outlives whatever is killed.
 *
 * Argument: a JSON file of {@link SenderPlan}. Ends when standard input closes, after all outstanding messages have been
 * acknowledged or `drainMillis` have passed; the last line of standard output says how many are outstanding.
 * @module
 */
import { openSync, readFileSync, writeSync } from "node:fs"
import { DeviceConnection } from "../support/DeviceConnection.ts"

export interface SenderPlan {
  readonly port: number
  readonly ledger: string
  readonly devices: ReadonlyArray<{ readonly id: string; readonly key: string }>
  readonly messagesPerSecond: number
  /** Per device, unacknowledged and waiting: beyond it the device measures nothing until it gets through again. */
  readonly maxOutstanding: number
  readonly drainMillis: number
}

const TICK_MILLIS = 10

const run = (plan: SenderPlan) => {
  const ledger = openSync(plan.ledger, "a")
  let lines: Array<string> = []
  const flush = () => {
    if (lines.length === 0) return
    writeSync(ledger, lines.join(""))
    lines = []
  }

  let acknowledged = 0
  const devices = plan.devices.map((device, index) => ({
    sequence: 0,
    connection: new DeviceConnection({
      port: plan.port,
      deviceId: device.id,
      key: device.key,
      window: 20,
      onSend: ({ sequence }) => {
        lines.push(`S ${index} ${sequence}\n`)
        flush()
      },
      onAcknowledged: ({ sequence }) => {
        acknowledged += 1
        lines.push(`A ${index} ${sequence}\n`)
      }
    })
  }))

  let stopping = false
  let owed = 0
  let turn = 0
  const ticker = setInterval(() => {
    flush()
    if (stopping) return
    owed = Math.min(owed + (plan.messagesPerSecond * TICK_MILLIS) / 1000, plan.messagesPerSecond)
    for (let tried = 0; owed >= 1 && tried < devices.length * 4; tried++) {
      const device = devices[turn++ % devices.length]
      if (device === undefined || device.connection.outstanding >= plan.maxOutstanding) continue
      owed -= 1
      const sequence = device.sequence++
      const payload = Buffer.from(JSON.stringify({ timestamp: Date.now(), metrics: { sequence, temperature: 20.5 } }))
      device.connection.publish({ sequence, payload })
    }
  }, TICK_MILLIS)

  process.stdin.resume()
  process.stdin.on("end", () => {
    stopping = true
    const deadline = Date.now() + plan.drainMillis
    const watch = setInterval(() => {
      const outstanding = devices.reduce((sum, device) => sum + device.connection.outstanding, 0)
      if (outstanding > 0 && Date.now() < deadline) return
      clearInterval(watch)
      clearInterval(ticker)
      flush()
      for (const device of devices) device.connection.close()
      process.stdout.write(`${JSON.stringify({ acknowledged, outstanding })}\n`, () => process.exit(0))
    }, 50)
  })
}

if (import.meta.main) run(JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as SenderPlan)
