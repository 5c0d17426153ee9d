/**
 * The chunker's ledger test: a process with a real chunker is killed at chosen places, again and again, while gateways send.
 * Afterwards each message must have been completed once or failed once, and the children of all wholes be stored once.
 * @module
 */
import { chunker } from "@argusiq/chunker/Chunker.ts"
import { type Failpoint } from "@argusiq/chunker/Failpoints.ts"
import { demux } from "@argusiq/demux/Demux.ts"
import { wholeMessageId } from "@argusiq/domain/chunks.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { Bus, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { type Consumer, runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { normalizer } from "@argusiq/normalizer/Normalizer.ts"
import { writer } from "@argusiq/telemetry-writer/TelemetryWriter.ts"
import { Effect, Layer } from "effect"
import { fileURLToPath } from "node:url"
import { until } from "../layers/bus/ConsumerWorld.ts"
import { beaconsIn, insertGateways } from "../services/chunker/messages.ts"
import { recordsOf } from "../services/dispatcher/topics.ts"
import { beaconsOfMessage, ChunkLoad, gatewayIds, type SentMessage } from "./chunkLoad.ts"
import { endOf } from "./endOf.ts"
import { randomFrom } from "../support/random.ts"

export interface ChunkKillPlan {
  /** Where the process is killed, life after life. */
  readonly places: ReadonlyArray<Failpoint>
  readonly seed: number
  /** For the log; the database is that of `OwnerSql`, whose pipeline role `pipelineUrl` logs in as. */
  readonly directory: string
  readonly pipelineUrl: string
}

export interface ChunkKillReport {
  readonly hits: ReadonlyMap<Failpoint, number>
  readonly messages: number
  readonly completed: number
  readonly failed: number
  readonly chunks: number
  readonly children: number
  /** Wholes and dead letters that a kill made leave twice, under the same id. */
  readonly repeated: number
  /** What should not be, in words. */
  readonly faults: ReadonlyArray<string>
}

const GATEWAYS = 6
/** Of the log. */
const PARTITIONS = 12
/** Sent before the first kill, so that there are messages to give up from the first life on. */
const ROUNDS_AHEAD = 5

const program = fileURLToPath(new URL("chunkerToKill.ts", import.meta.url))

const fork = <E, R>(consumer: Effect.Effect<Consumer, E, R>) =>
  Effect.flatMap(consumer, (one) => Effect.forkScoped(runConsumer(one)))

const groups = [Groups.chunker, Groups.demux, Groups.normalizer, Groups.telemetryWriter]

/** Until nothing is on its way any more. */
const settled = until(
  "nothing is open or unread",
  Effect.gen(function* () {
    const bus = yield* Bus
    const sql = yield* OwnerSql
    const isRead = Effect.map(
      Effect.forEach(groups, (group) => bus.lag(group)),
      (lags) => lags.every((lag) => lag.length > 0 && lag.every(({ records }) => records === 0n))
    )
    if (!(yield* isRead)) return false
    const [unfinished] = yield* sql<{ count: number }>`
      select count(*)::int as count from telemetry_transactions where emitted_at is null`
    return unfinished!.count === 0 && (yield* isRead)
  }),
  60_000
)

interface Rows {
  readonly wholes: ReadonlyArray<StoredRecord>
  readonly letters: ReadonlyArray<StoredRecord>
  readonly transactions: ReadonlyArray<{
    id: string
    status: string
    missing: ReadonlyArray<number> | null
    events: number
  }>
  readonly frames: ReadonlyArray<{ identifier: string; frames: number }>
}

const collectRows = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const rows: Rows = {
    wholes: yield* recordsOf(Topics.gateway),
    letters: yield* recordsOf(deadLetterTopic(Topics.gatewayChunked)),
    transactions: yield* sql<Rows["transactions"][number]>`
      select transaction.id, status, missing, count(event.id)::int as events
      from telemetry_transactions transaction left join system_events event
        on event.event_type = 'CHUNK_TIMEOUT' and event.payload ->> 'transactionId' = transaction.id::text
      group by transaction.id`,
    frames: yield* sql<Rows["frames"][number]>`
      select logical_identifier as identifier, count(frame.reading_id)::int as frames
      from devices left join telemetry_frames frame on frame.entity_id = devices.id
      where parent_device_id is not null group by devices.id`
  }
  return rows
})

const seqOf = ({ value }: StoredRecord): number => JSON.parse(new TextDecoder().decode(value)).seq

/** What is wrong with one message's end. */
const judge = (message: SentMessage, id: string, rows: Rows): ReadonlyArray<string> => {
  const { correlationId, gateway, total, without } = message
  const ofMessage = ({ key, value }: StoredRecord) =>
    key === gateway.deviceId && JSON.parse(new TextDecoder().decode(value)).correlationId === correlationId
  const wholes = rows.wholes.filter(ofMessage)
  const letters = rows.letters.filter(ofMessage)
  const transaction = rows.transactions.find((one) => one.id === id)
  const wrong = (what: string) => [`${correlationId}: ${what}`]
  if (transaction === undefined) return wrong("has no transaction")
  if (without.length === 0) {
    if (transaction.status !== "completed" || transaction.missing !== null) return wrong(`is ${transaction.status}`)
    if (letters.length > 0) return wrong("was completed, and has dead letters")
    if (wholes.length === 0) return wrong("has no whole")
    const expected = beaconsOfMessage(message).join()
    const others = wholes.filter((one) => one.headers["message-id"] !== id || beaconsIn(one.value).join() !== expected)
    return others.length > 0 ? wrong("has another whole than its own") : []
  }
  if (transaction.status !== "failed" || transaction.missing?.join() !== without.join()) {
    return wrong(
      `is ${transaction.status} without ${transaction.missing?.join()}, not failed without ${without.join()}`
    )
  }
  if (wholes.length > 0) return wrong("has failed, and a whole")
  if (transaction.events !== 1) return wrong(`has ${transaction.events} events`)
  const byId = new Map(letters.map((letter) => [letter.headers["dlq-id"], letter]))
  const numbers = [...byId.values()].map(seqOf).toSorted((one, other) => one - other)
  const expected = Array.from({ length: total }, (_, index) => index + 1).filter((seq) => !without.includes(seq))
  if (numbers.join() !== expected.join()) return wrong(`has dead letters ${numbers.join()}, not ${expected.join()}`)
  const reasons = new Set(letters.map(({ headers }) => headers["dlq-reason"]))
  return reasons.size === 1 && reasons.has("ChunkTimeout") ? [] : wrong(`failed by ${[...reasons].join()}`)
}

/** A child for each beacon of the wholes, each with its one frame. */
const judgeChildren = (sent: ReadonlyArray<SentMessage>, { frames }: Rows): ReadonlyArray<string> => {
  const expected = sent.filter(({ without }) => without.length === 0).flatMap(beaconsOfMessage)
  const counts = Map.groupBy(frames, ({ identifier }) => identifier)
  // "the last" of each gateway names the same beacons: a child of each gateway
  const wanted = Map.groupBy(expected, (identifier) => identifier)
  const faults: Array<string> = []
  for (const [identifier, times] of wanted) {
    const found = counts.get(identifier) ?? []
    if (found.length !== times.length) faults.push(`${found.length} children ${identifier} of ${times.length}`)
    for (const { frames: stored } of found) if (stored !== 1) faults.push(`${identifier} is stored ${stored} times`)
  }
  for (const identifier of counts.keys()) if (!wanted.has(identifier)) faults.push(`${identifier} was in no whole`)
  return faults
}

/** Everything is stored once whatever leaves twice. Needs a fresh database with its schema. */
export const runChunkKills = Effect.fnUntraced(function* (plan: ChunkKillPlan) {
  const gateways = yield* insertGateways(gatewayIds(GATEWAYS, PARTITIONS, plan.seed))
  yield* Effect.flatMap(OwnerSql, (sql) => sql`update ingest_heartbeat set accepted_until = now()`)
  const random = randomFrom(plan.seed)
  const load = new ChunkLoad(gateways, random)
  const bus = Layer.orDie(LocalBus.layer({ directory: plan.directory, partitions: PARTITIONS, minFreeBytes: 0 }))
  const send = (records: ReturnType<ChunkLoad["next"]>) =>
    Effect.flatMap(Bus, ({ publish }) => publish(records)).pipe(Effect.provide(Layer.fresh(bus)))
  const hits = new Map<Failpoint, number>()
  const faults: Array<string> = []
  for (let round = 0; round < ROUNDS_AHEAD; round++) yield* send(load.next())
  for (const place of plan.places) {
    yield* send(load.next())
    const times = 1 + Math.floor(random() * 2)
    const ended = yield* endOf(program, [plan.directory, plan.pipelineUrl, place, String(times)])
    if (ended === "SIGKILL") hits.set(place, (hits.get(place) ?? 0) + 1)
    else faults.push(`${place} was not reached: ${ended}`)
  }
  yield* send(load.last())
  const rows = yield* Effect.gen(function* () {
    yield* Effect.all([fork(chunker), fork(demux), fork(normalizer), fork(writer)])
    yield* settled
    return yield* collectRows
  }).pipe(
    Effect.scoped,
    Effect.provide(
      Layer.mergeAll(
        ProfileCache.layer({ size: 20_000 }),
        Chunks.layer,
        Transactions.layer,
        GatewayChildren.layer,
        AliasStore.layer,
        Sandbox.layer,
        TelemetryStore.layer,
        Layer.fresh(bus)
      )
    )
  )
  const idOf = ({ correlationId, gateway }: SentMessage) => wholeMessageId(gateway.deviceId, correlationId, 1)
  for (const message of load.sent) faults.push(...judge(message, idOf(message), rows))
  if (rows.transactions.length !== load.sent.length) {
    faults.push(`${rows.transactions.length} transactions of ${load.sent.length} messages`)
  }
  faults.push(...judgeChildren(load.sent, rows))
  const distinct = (records: ReadonlyArray<StoredRecord>, header: string) =>
    new Set(records.map(({ headers }) => headers[header])).size
  const report: ChunkKillReport = {
    hits,
    messages: load.sent.length,
    completed: rows.transactions.filter(({ status }) => status === "completed").length,
    failed: rows.transactions.filter(({ status }) => status === "failed").length,
    chunks: load.chunks,
    children: rows.frames.length,
    repeated:
      rows.wholes.length - distinct(rows.wholes, "message-id") + rows.letters.length - distinct(rows.letters, "dlq-id"),
    faults
  }
  return report
})
