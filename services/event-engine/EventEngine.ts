/**
 * The event engine: tells when devices come online and go offline. It folds what is heard of them — messages, connects,
 * disconnects — and, as time passes, what is not; and stores a change with its event in one transaction.
 *
 * A device's messages and its connections have the same key, so the same partition number holds all that is heard of it.
 * @module
 */
import { DeviceConnection } from "@argusiq/domain/device-connection.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { Batch, Bus, StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { saveConnections } from "@argusiq/layers/connectivity/ConnectionStates.ts"
import { readAcceptance } from "@argusiq/layers/connectivity/IngestGaps.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect, Metric, Result, Schema } from "effect"
import type { Addressed, Fleet } from "./Fleet.ts"
import { makeFleets } from "./Fleets.ts"
import { eachSighting, isOfNow, type Sighting } from "./sightings.ts"
import { makeTypes } from "./Types.ts"

const SERVICE = "event-engine"

const changes = Metric.withAttributes(Metric.counter("argusiq_device_status_changes_total", { incremental: true }), {
  service: SERVICE
})

const nothing: Outcome = { publish: [], deadLetters: [] }

const decodeConnection = Schema.decodeUnknownResult(Schema.fromJsonString(DeviceConnection))
const decoder = new TextDecoder()

/** A broker's clock may be ahead: nothing happened after the bridge was told of it. */
const readConnection = ({ headers, value }: StoredRecord): Result.Result<DeviceConnection, Poison> =>
  Result.mapBoth(decodeConnection(decoder.decode(value)), {
    onSuccess: (connection) => {
      const toldAt = Number(headers["received-at"])
      return connection.at > toldAt ? { ...connection, at: toldAt } : connection
    },
    onFailure: (error) =>
      new Poison({ reason: "Undecodable", message: `Not a connect or disconnect: ${error.message}` })
  })

export const eventEngine: Effect.Effect<Consumer, never, Bus | PipelineSql | Profiles> = Effect.gen(function* () {
  const sql = yield* PipelineSql
  const profiles = yield* Profiles
  const types = yield* makeTypes
  const fleets = yield* makeFleets(types)

  const outcomeOf = Effect.fnUntraced(function* (fleet: Fleet, deadLetters: Outcome["deadLetters"]) {
    const unsaved = fleet.unsaved()
    if (unsaved === undefined) return deadLetters.length === 0 ? nothing : { publish: [], deadLetters }
    const { events, rows } = unsaved
    const context = yield* Effect.context<never>()
    return {
      publish: [],
      deadLetters,
      store: saveConnections(sql, rows, events),
      stored: () => {
        fleet.saved(unsaved)
        fleets.stored(fleet)
        for (const { type } of events) {
          const status = type === "DEVICE_ONLINE" ? "online" : "offline"
          Metric.withAttributes(changes, { status }).updateUnsafe(1, context)
        }
      }
    } satisfies Outcome
  })

  const processMessages = Effect.fnUntraced(function* (fleet: Fleet, { records }: Batch, partitionTime: Instant) {
    yield* types.know(new Set(records.map(({ headers }) => headers["device-type-id"] ?? "")), partitionTime)
    const deadLetters: Array<Outcome["deadLetters"][number]> = []
    let ofUnknownTypes: Array<Sighting> | undefined
    const see = (deviceId: string, tenantId: string, deviceTypeId: string, at: Instant) => {
      const device = { deviceId, tenantId, deviceTypeId }
      if (types.knows(deviceTypeId)) fleet.seen(device, at)
      else (ofUnknownTypes ??= []).push({ device, at })
    }
    for (const record of records) {
      const read = eachSighting(record, see)
      if (read !== undefined) deadLetters.push({ record, error: read })
    }
    if (ofUnknownTypes !== undefined) {
      yield* types.know(new Set(ofUnknownTypes.map(({ device }) => device.deviceTypeId)), partitionTime)
      for (const { at, device } of ofUnknownTypes) fleet.seen(device, at)
    }
    fleet.telemetryTime = Math.max(fleet.telemetryTime, partitionTime)
    return yield* outcomeOf(fleet, deadLetters)
  })

  const processConnections = Effect.fnUntraced(function* (fleet: Fleet, { records }: Batch, partitionTime: Instant) {
    const deadLetters: Array<Outcome["deadLetters"][number]> = []
    const signals: Array<DeviceConnection> = []
    for (const record of records) {
      if (!isOfNow(record)) continue
      const read = readConnection(record)
      if (Result.isSuccess(read)) signals.push(read.success)
      else deadLetters.push({ record, error: read.failure })
    }
    const devices = yield* profiles.devices(new Set(signals.map(({ deviceId }) => deviceId)))
    yield* types.know(new Set(devices.values().map(({ deviceTypeId }) => deviceTypeId)), partitionTime)
    for (const signal of signals) {
      const device: Addressed | undefined = devices.get(signal.deviceId)
      // Deleted since, or another organisation's by now.
      if (device !== undefined && device.tenantId === signal.tenantId) fleet.connection(device, signal)
    }
    fleet.connectionsTime = Math.max(fleet.connectionsTime, partitionTime)
    return yield* outcomeOf(fleet, deadLetters)
  })

  const process: Consumer["process"] = Effect.fnUntraced(function* (batch, partitionTime, epoch) {
    const fleet = yield* fleets.of(batch, epoch)
    return yield* batch.topic === Topics.connections
      ? processConnections(fleet, batch, partitionTime)
      : processMessages(fleet, batch, partitionTime)
  })

  const tick: NonNullable<Consumer["tick"]> = Effect.fnUntraced(function* (at, partitionTime, epoch) {
    const fleet = yield* fleets.of(at, epoch)
    if (at.topic === Topics.connections) {
      fleet.connectionsTime = Math.max(fleet.connectionsTime, partitionTime)
      return yield* outcomeOf(fleet, [])
    }
    fleet.telemetryTime = Math.max(fleet.telemetryTime, partitionTime)
    if (yield* types.refresh(fleet.types(), partitionTime)) fleets.learnTypes()
    fleet.learnOutages(yield* readAcceptance(sql))
    fleet.judgeSilence()
    return yield* outcomeOf(fleet, [])
  })

  return {
    service: SERVICE,
    group: Groups.eventEngine,
    topics: [Topics.normalized, Topics.connections],
    together: true,
    offsets: "postgres",
    maxWaitMillis: 250,
    process,
    tick
  }
})
