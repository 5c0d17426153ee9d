/**
 * What a connected MQTT client may do. A client is one device; it publishes its own telemetry (wills and retained messages
 * included) and subscribes to its own commands: `devices/{deviceId}/commands/…` and `v1/commands/{organizationId}/{deviceId}/…`.
 * @module
 */
import { type TelemetryTopic } from "./bridge.ts"

/** The device that a client has proved to be. */
export interface MqttClient {
  readonly deviceId: string
  readonly tenantId: string
}

export type Permission = { readonly _tag: "Allowed" } | { readonly _tag: "Refused"; readonly message: string }

const allowed: Permission = { _tag: "Allowed" }
const refused = (message: string): Permission => ({ _tag: "Refused", message })

/**
 * Whether the client may publish to a topic.
 * @param addressedDeviceId the device that the topic addresses: what its external id was resolved to, undefined when to none
 */
export const publishPermission = (
  client: MqttClient,
  topic: TelemetryTopic,
  addressedDeviceId: string | undefined = topic._tag === "ByDeviceId" ? topic.deviceId : undefined
): Permission => {
  if (topic._tag === "Invalid") return refused(topic.error.message)
  if (topic.organizationId !== undefined && topic.organizationId !== client.tenantId) {
    return refused(`Device ${client.deviceId} may not publish to organization ${topic.organizationId}.`)
  }
  if (addressedDeviceId !== client.deviceId) {
    return refused(`Device ${client.deviceId} may publish only to its own telemetry topics.`)
  }
  return allowed
}

const isFilter = (levels: ReadonlyArray<string>): boolean =>
  levels.every((level, index) =>
    level.includes("#") ? level === "#" && index === levels.length - 1 : !level.includes("+") || level === "+"
  )

/** Whether the client may subscribe to a topic filter: wildcards only below its own command topics. */
export const subscribePermission = (client: MqttClient, filter: string): Permission => {
  const short = `devices/${client.deviceId}/commands`
  const long = `v1/commands/${client.tenantId}/${client.deviceId}`
  const own = [short, long].some((topic) => filter === topic || filter.startsWith(`${topic}/`))
  if (own && isFilter(filter.split("/")) && !filter.includes("\0")) return allowed
  return refused(`Device ${client.deviceId} may subscribe only to its own commands: ${short}/# or ${long}/#.`)
}
