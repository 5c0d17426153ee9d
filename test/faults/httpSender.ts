/**
 * Devices that send by HTTP and keep the ledger: each one message after the other, to one bridge after the other; what is
 * not accepted is sent again, to the next.
 * @module
 */
import { appendFileSync, writeFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { type Device, eventually, type PlatformProcess } from "../support/PlatformProcess.ts"

export interface HttpSenderPlan {
  readonly devices: ReadonlyArray<Device>
  readonly bridges: ReadonlyArray<PlatformProcess>
  readonly ledger: string
  readonly pauseMillis: number
}

/** A device does not wait for ever: the bridge may stand still. */
const ANSWER_WITHIN_MILLIS = 5_000
const ACCEPTED_WITHIN_SECONDS = 180

const isAccepted = async (bridge: PlatformProcess, { key }: Device, body: unknown): Promise<boolean> => {
  const answer = await fetch(`${bridge.url}/api/v1/telemetry`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(ANSWER_WITHIN_MILLIS)
  })
  await answer.arrayBuffer()
  return answer.status === 202
}

/** `finish` lets each device get its last message accepted. */
export const startHttpSender = ({ bridges, devices, ledger, pauseMillis }: HttpSenderPlan) => {
  writeFileSync(ledger, "")
  let isOver = false
  const send = async (device: Device, index: number) => {
    let turn = index
    for (let sequence = 0; !isOver; sequence++) {
      const body = { timestamp: Date.now(), metrics: { sequence, temperature: 20.5 } }
      await eventually(`the acceptance of message ${sequence}`, ACCEPTED_WITHIN_SECONDS, async () => {
        appendFileSync(ledger, `S ${index} ${sequence}\n`)
        const bridge = bridges[turn++ % bridges.length]
        return bridge !== undefined && (await isAccepted(bridge, device, body)) ? true : undefined
      })
      appendFileSync(ledger, `A ${index} ${sequence}\n`)
      await sleep(pauseMillis)
    }
  }
  const sending = Promise.all(devices.map(send))
  // Who waits for it hears of a failure; nobody does while the faults go on.
  sending.catch(() => undefined)
  return {
    stop: () => {
      isOver = true
    },
    finish: async () => {
      isOver = true
      await sending
    }
  }
}
