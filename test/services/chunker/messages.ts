/**
 * Gateways that send in chunks, and what they send.
 * @module
 */
import { Topics } from "@argusiq/domain/topics.ts"
import { type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import {
  insertDevice,
  insertDeviceType,
  insertOrganization,
  publishVersion,
  type TestDevice
} from "../../layers/profiles/registry.ts"

/** 2025-11-21T04:40:00Z, at the beginning of an interval of expiry. */
export const start = 1_763_700_000_000_000
export const seconds = (count: number) => count * 1_000_000

/** A type whose chunks carry `data.devices`, and its gateways, one for each of `deviceIds`. */
export const insertGateways = Effect.fnUntraced(function* (deviceIds: ReadonlyArray<string>) {
  const tenantId = yield* insertOrganization()
  const publish = Effect.fnUntraced(function* (config: object) {
    const deviceTypeId = yield* insertDeviceType(tenantId)
    yield* publishVersion({ tenantId, deviceTypeId, number: 1, effectiveAt: Date.now() - 3_600_000, config })
    return deviceTypeId
  })
  const childDeviceTypeId = yield* publish({ processingMode: "endpoint" })
  const deviceTypeId = yield* publish({
    processingMode: "gateway_chunked",
    demuxStrategy: {
      childDevicesPath: "$.data.devices",
      childDeviceIdPath: "$.beaconId",
      autoCreateChildren: true,
      childDeviceTypeId
    }
  })
  for (const deviceId of deviceIds) yield* insertDevice({ tenantId, deviceTypeId, deviceId })
  return deviceIds.map((deviceId): TestDevice => ({ tenantId, deviceTypeId, deviceId }))
})

export interface SentChunk {
  readonly gateway: TestDevice
  readonly correlationId: string
  readonly seq: number
  readonly total: number
  readonly devices?: ReadonlyArray<object>
  /** Epoch microseconds. */
  readonly receivedAt?: number
  readonly headers?: Readonly<Record<string, string>>
}

/** Two beacons of a chunk, told from those of all others. */
export const beaconsOf = ({ correlationId, seq }: Pick<SentChunk, "correlationId" | "seq">) =>
  [1, 2].map((place) => ({ beaconId: `${correlationId}/${seq}/${place}`, rssi: -60 - place }))

/** As the dispatcher publishes it. */
export const chunkRecord = (sent: SentChunk): BusRecord => {
  const { correlationId, gateway, headers, seq, total } = sent
  const receivedAt = sent.receivedAt ?? start
  const data = { devices: sent.devices ?? beaconsOf(sent) }
  return {
    topic: Topics.gatewayChunked,
    key: gateway.deviceId,
    value: Buffer.from(JSON.stringify({ correlationId, seq, total, timestamp: "2025-11-21T04:40:00Z", data })),
    headers: {
      "message-id": randomUUID(),
      "tenant-id": gateway.tenantId,
      "device-id": gateway.deviceId,
      "received-at": String(receivedAt),
      source: "mqtt",
      "content-type": "application/json",
      "device-type-id": gateway.deviceTypeId,
      "type-version": "1",
      ...headers
    }
  }
}

/** All chunks of a message, but those left out. */
export const chunksOf = (
  gateway: TestDevice,
  correlationId: string,
  total: number,
  more: Pick<SentChunk, "receivedAt" | "headers"> & { readonly without?: ReadonlyArray<number> } = {}
): ReadonlyArray<BusRecord> => {
  const { without = [], ...rest } = more
  return Array.from({ length: total }, (_, index) => index + 1)
    .filter((seq) => !without.includes(seq))
    .map((seq) => chunkRecord({ gateway, correlationId, seq, total, ...rest }))
}

/** The beacons that a whole lists, in order. */
export const beaconsIn = (value: Uint8Array): ReadonlyArray<string> => {
  const { data } = JSON.parse(new TextDecoder().decode(value)) as {
    data: { devices: ReadonlyArray<{ beaconId: string }> }
  }
  return data.devices.map(({ beaconId }) => beaconId)
}

/** Of a whole message. */
export const beaconsOfAll = (correlationId: string, total: number): ReadonlyArray<string> =>
  Array.from({ length: total }, (_, index) => beaconsOf({ correlationId, seq: index + 1 })).flatMap((beacons) =>
    beacons.map(({ beaconId }) => beaconId)
  )
