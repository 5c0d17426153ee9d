/**
 * How long it takes, by the clock and with the settings that nobody changes, until an incomplete message is reported: on a
 * real platform, for messages that begin at various places of the chunker's interval.
 * @module
 */
import { connectAsync } from "mqtt"
import { setTimeout as sleep } from "node:timers/promises"
import { eventually, PlatformProcess } from "../../support/PlatformProcess.ts"
import { connectSuperuser } from "../../support/superuser.ts"
import { atLeast, atMost, type Outcome } from "./outcome.ts"

const MESSAGES = 7
/** Together as long as the chunker's interval of looking. */
const APART_MILLIS = 3_000
const LONGEST_SECONDS = 95
const gatewayId = "d0000000-0000-4000-8000-000000000305" // BLE Gateway 001

export const chunkTimeout = async (): Promise<Outcome> => {
  const platform = await (await PlatformProcess.prepare({ env: { ARGUSIQ_DEMO: "1" } })).start()
  try {
    const sql = await connectSuperuser(platform.dataDirectory)
    const { key } = await platform.api<{ readonly key: string }>("POST", `/devices/${gatewayId}/api-keys`, {})
    const client = await connectAsync(`mqtt://127.0.0.1:${platform.mqttPort}`, { username: gatewayId, password: key })
    const sentAt: Array<number> = []
    for (let message = 0; message < MESSAGES; message++) {
      const chunk = { correlationId: `cut ${message}`, seq: 1, total: 2, data: { devices: [] } }
      sentAt.push(Date.now())
      await client.publishAsync(`devices/${gatewayId}/telemetry`, JSON.stringify(chunk), { qos: 1 })
      await sleep(APART_MILLIS)
    }
    await client.endAsync()
    const waits = await Promise.all(
      sentAt.map(async (at, message) => {
        await eventually(
          `the event of cut ${message}`,
          180,
          async () => {
            const found = await sql.query(
              `select from system_events where event_type = 'CHUNK_TIMEOUT' and payload ->> 'correlationId' = 'cut ${message}'
               and published_at is not null`
            )
            return found.length === 1 ? true : undefined
          },
          250
        )
        return (Date.now() - at) / 1_000
      })
    )
    await sql.close()
    return {
      faults: [
        ...atLeast("seconds until the first report", Math.min(...waits), 60),
        ...atMost("seconds until the last report", Math.max(...waits), LONGEST_SECONDS)
      ],
      facts: `${MESSAGES} messages reported after ${waits.map((wait) => wait.toFixed(1)).join(", ")} s`
    }
  } finally {
    await platform.dispose()
  }
}
