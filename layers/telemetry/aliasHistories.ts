/**
 * Which tables of aliases count for which messages of a batch, and which are left to be stored.
 * @module
 */
import { hash } from "node:crypto"
import { type Instant } from "@argusiq/domain/ids.ts"
import { type AliasTable } from "@argusiq/domain/protocol/decoder.ts"

/** A message as the bus has it; its headers say whose it is, when it was received, and whether it is a retry or a replay. */
export interface AliasedRecord {
  readonly headers: Readonly<Record<string, string>>
}

/** A stored table. */
export interface FoundRow {
  readonly device_id: string
  readonly received_at: Instant
  readonly digest: string
}
/** A table to be stored. */
export interface NewRow {
  readonly deviceId: string
  readonly tenantId: string
  readonly receivedAt: Instant
  readonly digest: string
  readonly json: string
}

/** From the first to the last message of a device in a batch. */
export interface Span {
  readonly deviceId: string
  first: Instant
  last: Instant
  hasRetries: boolean
}

const deviceOf = ({ headers }: AliasedRecord): string => headers["device-id"]!
const receivedAtOf = ({ headers }: AliasedRecord): Instant => Number(headers["received-at"])
const isRetry = ({ headers }: AliasedRecord): boolean => headers["retry-group"] !== undefined
/** Messages of the past among those that come in. */
const isRepeated = ({ headers }: AliasedRecord): boolean =>
  headers["retry-group"] !== undefined || headers["replay-job"] !== undefined

export const spansOf = (records: ReadonlyArray<AliasedRecord>): ReadonlyArray<Span> => {
  const spans = new Map<string, Span>()
  for (const record of records) {
    const deviceId = deviceOf(record)
    const at = receivedAtOf(record)
    const span = spans.get(deviceId)
    if (span === undefined) spans.set(deviceId, { deviceId, first: at, last: at, hasRetries: isRetry(record) })
    else {
      span.first = Math.min(span.first, at)
      span.last = Math.max(span.last, at)
      span.hasRetries ||= isRetry(record)
    }
  }
  return [...spans.values()]
}

interface Known {
  readonly at: Instant
  readonly aliases: AliasTable
  readonly digest: string | undefined // of a stored one
  readonly isRepeated: boolean
  readonly tenantId: string
}

const nothing: AliasTable = {}

/** The tables of each device by received-at: the stored ones, and those that the batch has left so far. */
export class AliasHistories {
  readonly #byDevice = new Map<string, Array<Known>>()

  stored(row: FoundRow & { readonly aliases: AliasTable }): void {
    const { aliases, digest, received_at: at } = row
    this.#put(row.device_id, { at, aliases, digest, isRepeated: false, tenantId: "" })
  }

  learned(record: AliasedRecord, aliases: AliasTable): void {
    const tenantId = record.headers["tenant-id"]!
    const at = receivedAtOf(record)
    this.#put(deviceOf(record), { at, aliases, digest: undefined, isRepeated: isRepeated(record), tenantId })
  }

  #put(deviceId: string, known: Known): void {
    const history = this.#byDevice.get(deviceId)
    if (history === undefined) {
      this.#byDevice.set(deviceId, [known])
      return
    }
    let place = history.length
    while (place > 0 && history[place - 1]!.at >= known.at) place--
    history.splice(place, history[place]?.at === known.at ? 1 : 0, known)
  }

  /** A retry may also name what a birth after it has told: what it failed for may have been a birth that never came. */
  before(record: AliasedRecord): AliasTable {
    const history = this.#byDevice.get(deviceOf(record)) ?? []
    const at = receivedAtOf(record)
    const known = history.findLast((one) => one.at < at)?.aliases
    const later = isRetry(record) ? history.find((one) => one.at > at)?.aliases : undefined
    return later === undefined ? (known ?? nothing) : { ...later, ...known }
  }

  /** Of one batch only the last table of a device is stored, since no batch begins within another; of repeated ones too. */
  changes(): ReadonlyArray<NewRow> {
    const rows: Array<NewRow> = []
    for (const [deviceId, history] of this.#byDevice) {
      const learned = history.filter((one) => one.digest === undefined)
      for (const last of [learned.findLast((one) => !one.isRepeated), learned.findLast((one) => one.isRepeated)]) {
        if (last === undefined) continue
        const json = JSON.stringify(last.aliases)
        const digest = hash("sha256", json, "hex")
        if (history.findLast((one) => one.at < last.at && one.digest !== undefined)?.digest === digest) continue
        rows.push({ deviceId, tenantId: last.tenantId, receivedAt: last.at, digest, json })
      }
    }
    return rows
  }
}
