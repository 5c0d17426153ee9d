/**
 * One message of a page while it is reprocessed: under which version, and how far it has come.
 * @module
 */
import { type CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { type Evaluate } from "@argusiq/domain/expression/expression.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { type AliasTable } from "@argusiq/domain/protocol/decoder.ts"
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

/**
 * What a message comes to with the expressions that are known, to be called again when more are. Its aliases are taken by the first
 * call, since they have their place in the order of the page.
 */
export const opening = (sent: SentMessage, raw: RawCopy, aliases: AliasBatch) => {
  const isStateful = sent.compiled.decoder.stateful
  let known: AliasTable | undefined
  const openedWith = (evaluated: SentMessage) => {
    if (!isStateful || known !== undefined) return openMessage(evaluated, known)
    return aliases.through({ headers: headersOf(raw) }, (left) => {
      known = left
      return openMessage(evaluated, left)
    })
  }
  return (evaluate: Evaluate): Underway => {
    const result = openedWith({ ...sent, evaluate })
    if (Result.isSuccess(result)) return { raw, sent, opened: result.success.opened }
    return { raw, failed: 1, isKept: isStateful && result.failure.reason === "Undecodable" }
  }
}
