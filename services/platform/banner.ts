/**
 * What a started platform tells the person in front of it: where everything is, and the first message ready to paste.
 * @module
 */
import type { FirstStart } from "@argusiq/layers/identity/FirstStart.ts"
import { Console, Effect, Redacted } from "effect"
import type { PlatformRecord } from "./DataDirectory.ts"
import { format } from "./logging.ts"
import { tokenPath } from "./PlatformClient.ts"

const administratorLine = ({ email, generatedPassword }: FirstStart["administrator"]) =>
  `Administrator   ${email}` +
  (generatedPassword === undefined ? "" : `   password: ${Redacted.value(generatedPassword)}   (shown this once)`)

const httpLine = (http: string, services: ReadonlyArray<string>) =>
  services.includes("api")
    ? `API             ${http}   documentation: ${http}/docs`
    : `HTTP            ${http}   ingest: ${http}/api/v1/telemetry`

const places = (record: PlatformRecord, firstStart: FirstStart | undefined): ReadonlyArray<string> => [
  `Services        ${record.services.join(", ")}`,
  ...(record.http === undefined ? [] : [httpLine(record.http, record.services)]),
  ...(record.mqtt === undefined ? [] : [`MQTT            ${record.mqtt}   user name: device id, password: API key`]),
  ...(record.mqtts === undefined
    ? []
    : [`MQTT with TLS   ${record.mqtts}   certificate of a device: npx argusiq cert device <device>`]),
  ...(record.metrics === undefined
    ? []
    : [`Metrics         ${record.metrics}/metrics   readiness: ${record.metrics}/ready`]),
  `Data            ${record.dataDirectory}`,
  ...(firstStart === undefined ? [] : [administratorLine(firstStart.administrator)])
]

const firstMessage = (
  record: PlatformRecord,
  device: NonNullable<FirstStart["firstDevice"]>
): ReadonlyArray<string> => {
  const lines: Array<string> = [`Send a first message as "${device.name}", over MQTT or HTTP:`]
  if (record.mqtt !== undefined) {
    const { hostname, port } = new URL(record.mqtt)
    lines.push(
      `  mosquitto_pub -h ${hostname} -p ${port} -u ${device.deviceId} -P ${device.key} -q 1` +
        ` -t devices/${device.deviceId}/telemetry -m '{"temperature": 21.5}'`
    )
  }
  if (record.http !== undefined) {
    lines.push(
      `  curl -X POST ${record.http}/api/v1/telemetry -H 'Authorization: Bearer ${device.key}'` +
        ` -H 'Content-Type: application/json' -d '{"metrics": {"temperature": 21.5}}'`,
      "",
      "Read it back:",
      `  curl -H "Authorization: Bearer $(cat '${tokenPath(record.secretsDirectory)}')"` +
        ` -H 'X-Organization-Id: ${device.organizationId}' '${record.http}/api/v1/telemetry/device/${device.deviceId}/latest'`
    )
  }
  return lines
}

/** Text for a terminal; one log line where logs are JSON. `firstStart`: of the processes that serve the API. */
export const announce = Effect.fnUntraced(function* (
  record: PlatformRecord,
  firstStart: FirstStart | undefined,
  millis: number
) {
  const generatedPassword = firstStart?.administrator.generatedPassword
  if ((yield* format) === "json") {
    yield* Effect.logInfo("Running").pipe(
      Effect.annotateLogs({ ...record, startedInMillis: millis, administrator: firstStart?.administrator.email })
    )
    if (generatedPassword !== undefined) {
      yield* Effect.logWarning(`The administrator's password, shown this once: ${Redacted.value(generatedPassword)}`)
    }
    return
  }
  yield* Console.log(
    [
      "",
      `ArgusIQ is running (process ${record.pid}, started in ${(millis / 1000).toFixed(1)} s). Ctrl-C stops it.`,
      "",
      ...places(record, firstStart).map((line) => `  ${line}`),
      "",
      ...(firstStart?.firstDevice === undefined ? [] : firstMessage(record, firstStart.firstDevice)),
      ""
    ].join("\n")
  )
})
