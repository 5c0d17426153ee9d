/**
 * One message of a page while it is reprocessed: under which version, and how far it has come.
 * @module
 */
import { type CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { type RawCopy } from "@argusiq/domain/replay.ts"
import { type Opened, openMessage, type SentMessage } from "@argusiq/domain/reprocess.ts"
import { type AliasBatch } from "@argusiq/layers/telemetry/AliasStore.ts"
import { Result } from "effect"

export interface Version {
  readonly number: number
  readonly compiled: CompiledDeviceType
}

/** Opened, unless it has ended already or waits for other chunks. */
export interface Underway {
  readonly raw: RawCopy
  readonly sent?: SentMessage
  readonly opened?: Opened
  readonly whole?: { readonly gatewayId: string; readonly receivedAt: Instant } | undefined
  readonly isKept?: boolean
  readonly failed?: number
}

export const headersOf = ({ deviceId, messageId, receivedAt, tenantId }: RawCopy) => ({
  "message-id": messageId,
  "tenant-id": tenantId,
  "device-id": deviceId,
  "received-at": String(receivedAt)
})

export const sentOf = (raw: RawCopy, deviceTypeId: string, { compiled, number }: Version): SentMessage => ({
  messageId: raw.messageId,
  tenantId: raw.tenantId,
  deviceId: raw.deviceId,
  receivedAt: raw.receivedAt,
  contentType: raw.contentType,
  payload: raw.payload,
  deviceTypeId,
  typeVersion: number,
  compiled
})

export const open = (sent: SentMessage, raw: RawCopy, aliases: AliasBatch): Underway => {
  const isStateful = sent.compiled.decoder.stateful
  const result = isStateful
    ? aliases.through({ headers: headersOf(raw) }, (left) => openMessage(sent, left))
    : openMessage(sent)
  if (Result.isSuccess(result)) return { raw, sent, opened: result.success.opened }
  return { raw, failed: 1, isKept: isStateful && result.failure.reason === "Undecodable" }
}
