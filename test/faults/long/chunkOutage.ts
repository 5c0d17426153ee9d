/**
 * Chunks of a real platform that is killed and stays away for five minutes, by the clock: messages that were whole in the log,
 * and messages whose last chunk comes when it is back. None may fail because of the outage; one whose chunk never comes does.
 * @module
 */
import { connectAsync } from "mqtt"
import { setTimeout as sleep } from "node:timers/promises"
import { eventually, PlatformProcess } from "../../support/PlatformProcess.ts"
import { connectSuperuser, type Superuser } from "../../support/superuser.ts"
import { atLeast, type Outcome } from "./outcome.ts"

const AWAY_SECONDS = 300
const MESSAGES = 40
const CHUNKS = 3
const gatewayId = "d0000000-0000-4000-8000-000000000305" // BLE Gateway 001
/** Longer than a message may stay incomplete. */
const FAILED_BY_SECONDS = 150

interface Transaction {
  readonly correlation_id: string
  readonly status: string
}

const transactions = (sql: Superuser) =>
  sql.query<Transaction>(
    `select correlation_id, status from telemetry_transactions where gateway_device_id = '${gatewayId}'`
  )

export const chunkOutage = async (): Promise<Outcome> => {
  const platform = await (await PlatformProcess.prepare({ env: { ARGUSIQ_DEMO: "1" } })).start()
  try {
    const { key } = await platform.api<{ readonly key: string }>("POST", `/devices/${gatewayId}/api-keys`, {})
    const sending = async (chunks: ReadonlyArray<readonly [correlationId: string, seq: number]>) => {
      const client = await connectAsync(`mqtt://127.0.0.1:${platform.mqttPort}`, { username: gatewayId, password: key })
      const payloads = chunks.map(([correlationId, seq]) =>
        JSON.stringify({ correlationId, seq, total: CHUNKS, data: { devices: [] } })
      )
      const topic = `devices/${gatewayId}/telemetry`
      await Promise.all(payloads.map((payload) => client.publishAsync(topic, payload, { qos: 1 })))
      return client
    }
    const named = (what: string) => Array.from({ length: MESSAGES }, (_, message) => `${what} ${message}`)
    const [whole, cut] = [named("whole"), named("cut")]
    const begun = cut.flatMap((id) => [[id, 1] as const, [id, 2] as const])
    const inLog = whole.flatMap((id) => [[id, 1] as const, [id, 2] as const, [id, 3] as const])
    const before = await connectSuperuser(platform.dataDirectory)
    const client = await sending([...begun, ["never", 1], ...inLog])
    const claimed = (await transactions(before)).filter(({ status }) => status !== "pending").length
    await platform.kill()
    client.end(true)
    await before.close()
    await sleep(AWAY_SECONDS * 1_000)

    await platform.start()
    const back = Date.now()
    const after = await sending(cut.map((id) => [id, 3] as const))
    await after.endAsync()
    const sql = await connectSuperuser(platform.dataDirectory)
    const failed = await eventually(
      "the failure of the message whose chunks never came",
      FAILED_BY_SECONDS,
      async () => {
        const all = await transactions(sql)
        const never = all.find(({ correlation_id, status }) => correlation_id === "never" && status === "failed")
        const open = all.filter(
          ({ correlation_id, status }) => correlation_id !== "never" && status !== "completed" && status !== "failed"
        )
        return never !== undefined && open.length === 0 ? all.filter(({ status }) => status === "failed") : undefined
      },
      500
    )
    const completed = (await transactions(sql)).filter(({ status }) => status === "completed").length
    await sql.close()
    return {
      faults: [
        ...failed
          .filter(({ correlation_id }) => correlation_id !== "never")
          .map(({ correlation_id }) => `${correlation_id} has failed, though its chunks are in the log`),
        ...atLeast("messages completed", completed, 2 * MESSAGES),
        ...atLeast("whole messages not yet claimed at the kill", MESSAGES - claimed, 1)
      ],
      facts:
        `away for ${AWAY_SECONDS} s; ${MESSAGES - claimed} of ${MESSAGES} whole messages not yet claimed at the kill; ${completed} completed, ` +
        `${failed.length} failed (the one without its chunks, ${((Date.now() - back) / 1_000).toFixed(0)} s after the return)`
    }
  } finally {
    await platform.dispose()
  }
}
