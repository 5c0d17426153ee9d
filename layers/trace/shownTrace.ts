/**
 * A trace as REST shows it.
 * @module
 */
import { type DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { type DeadLetterItem } from "@argusiq/domain/http/dead-letters.ts"
import { type MessageTrace } from "@argusiq/domain/http/messages.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { conclude, type StageState } from "@argusiq/domain/message-trace.ts"
import { traceIdOf } from "@argusiq/domain/traceparent.ts"
import { toTransaction, type TransactionRow } from "../telemetry/TransactionList.ts"
import { type Located } from "./positions.ts"
import type * as Queries from "./traceQueries.ts"

/** Everything that is stored of a message. */
export interface StoredFacts {
  readonly raw: Queries.RawRow | undefined
  readonly route: Queries.RouteRow | undefined
  readonly transaction: TransactionRow | undefined
  readonly chunks: MessageTrace["chunks"]
  readonly deadLetters: ReadonlyArray<DeadLetterItem>
  readonly receivedAt: Instant
  readonly frames: ReadonlyArray<Queries.FrameRow & { readonly total: number }>
  readonly duplicateOf: string | undefined
  readonly jobs: ReadonlyArray<Queries.JobRow>
  readonly assets: ReadonlyArray<Queries.AssetRow>
  readonly alarms: ReadonlyArray<Queries.AlarmRow>
  readonly events: ReadonlyArray<Queries.EventRow>
  readonly activities: ReadonlyArray<Queries.ActivityRow>
}

export interface Passed {
  readonly step: Located
  readonly state: StageState
  /** Its readings are stored by these; others read them beside. */
  readonly isOfWay: boolean
}

export const modeOf = (config: object | undefined) => (config as DeviceTypeConfig | undefined)?.processingMode

const iso = (at: Instant) => isoFromMicros(Math.round(at))

const shownReading = (row: Omit<Queries.FrameRow, "entity_id">) => ({
  readingId: row.reading_id,
  timestamp: iso(row.at),
  metrics: row.metrics,
  quality: row.quality,
  configVersion: row.config_version,
  late: row.late
})

const shownStage = ({ state, step }: Passed): MessageTrace["stages"][number] => ({
  group: step.group,
  topic: step.topic,
  partition: step.partition,
  offset: step.offset === undefined ? null : String(step.offset),
  next: step.next === undefined ? null : String(step.next),
  processedUntil: step.time === undefined || step.time === 0 ? null : iso(step.time),
  state
})

const shownAsset = ({ asset_id, name, reading_id, ...row }: Queries.AssetRow): MessageTrace["assets"][number] => ({
  assetId: asset_id,
  name,
  timestamp: iso(row.at),
  reading: reading_id === null ? null : shownReading({ ...row, reading_id })
})

const shownAlarm = (row: Queries.AlarmRow): MessageTrace["alarms"][number] => ({
  id: row.id,
  ruleId: row.rule_id,
  entityType: row.entity_type,
  entityId: row.entity_id,
  state: row.state,
  severity: row.severity,
  startedAt: iso(row.started),
  message: row.message
})

const shownEvent = (row: Queries.EventRow): MessageTrace["events"][number] => ({
  id: row.id,
  eventType: row.event_type,
  entityId: row.entity_id,
  alarmId: row.alarm_id,
  severity: row.severity,
  occurredAt: iso(row.occurred)
})

export const shownTrace = (messageId: string, facts: StoredFacts, passed: ReadonlyArray<Passed>): MessageTrace => {
  const { deadLetters, duplicateOf, frames, raw, route, transaction } = facts
  const way = passed.filter(({ isOfWay }) => isOfWay)
  const readingCount = frames[0]?.total ?? 0
  const mode = modeOf(route?.config)
  const headers = passed.find(({ step }) => step.headers !== undefined)?.step.headers
  return {
    messageId,
    ...conclude({
      readings: readingCount,
      deadLetters,
      states: way.map(({ state }) => state),
      steps: way.map(({ step }) => step),
      transaction: transaction?.status,
      duplicateOf
    }),
    receivedAt: iso(facts.receivedAt),
    source: raw?.ingestion_source ?? null,
    deviceId: raw?.device_id ?? transaction?.gateway_device_id ?? deadLetters[0]?.deviceId ?? null,
    mqttTopic: raw?.mqtt_topic ?? null,
    clientId: raw?.client_id ?? null,
    contentType: raw?.content_type ?? null,
    size: raw?.size ?? null,
    traceId: traceIdOf(headers?.["traceparent"]) ?? null,
    raw: raw === undefined ? null : { topic: raw.topic, partition: raw.partition, offset: String(raw.offset) },
    route:
      route === undefined || mode === undefined
        ? null
        : { processingMode: mode, deviceTypeId: route.device_type_id, typeVersion: route.number },
    stages: passed.map(shownStage),
    transaction: transaction === undefined ? null : toTransaction(transaction),
    chunks: facts.chunks,
    duplicateOf: duplicateOf ?? null,
    readingCount,
    readings: frames.map((row) => ({ deviceId: row.entity_id, ...shownReading(row) })),
    assets: facts.assets.map(shownAsset),
    alarms: facts.alarms.map(shownAlarm),
    events: facts.events.map(shownEvent),
    activities: facts.activities.map(({ created, id, name, state }) => ({ id, name, state, createdAt: iso(created) })),
    deadLetters,
    jobs: facts.jobs
  }
}
