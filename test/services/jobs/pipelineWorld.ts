/**
 * The pipeline from the raw topic to stored readings, over a database and a log of its own, with the worker of jobs beside it.
 * @module
 */
import { chunker } from "@argusiq/chunker/Chunker.ts"
import { demux } from "@argusiq/demux/Demux.ts"
import { dispatcher } from "@argusiq/dispatcher/Dispatcher.ts"
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as AssetCache from "@argusiq/layers/profiles/AssetCache.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import * as RuleCache from "@argusiq/layers/profiles/RuleCache.ts"
import { backlog } from "@argusiq/layers/jobs/LiveTraffic.ts"
import { Jobs } from "@argusiq/layers/jobs/Jobs.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import * as Rollups from "@argusiq/layers/telemetry/Rollups.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { normalizer } from "@argusiq/normalizer/Normalizer.ts"
import { rawWriter, writer } from "@argusiq/telemetry-writer/TelemetryWriter.ts"
import { assert } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { createHash } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { testBus } from "../dispatcher/topics.ts"

const services = [dispatcher, chunker, demux, normalizer, writer, rawWriter] as const

const running = Layer.effectDiscard(
  Effect.gen(function* () {
    for (const service of services) yield* Effect.forkScoped(Effect.flatMap(service as typeof dispatcher, runConsumer))
  })
)

const profiles = RuleCache.layer({ size: 1_000 }).pipe(
  Layer.provideMerge(Layer.merge(ProfileCache.layer({ size: 1_000 }), AssetCache.layer({ size: 1_000 })))
)

const stores = Layer.mergeAll(
  profiles,
  GatewayChildren.layer,
  Chunks.layer,
  Transactions.layer,
  TelemetryStore.layer,
  AliasStore.layer,
  Sandbox.layer,
  Jobs.layer
)

/** Without a worker of jobs: tests run that as they need it. */
export const pipelineWorld = running.pipe(
  Layer.provideMerge(stores),
  Layer.provideMerge(testBus),
  Layer.provideMerge(testDatabase),
  Layer.fresh
)

/** Waits for a condition; fails with `what` after 60 s. */
export const until = Effect.fnUntraced(function* <E, R>(what: string, holds: Effect.Effect<boolean, E, R>) {
  const deadline = Date.now() + 60_000
  while (!(yield* holds)) {
    if (Date.now() > deadline) assert.fail(`${what} did not happen within 60 s`)
    yield* Effect.sleep(50)
  }
})

/** Completes when the pipeline has taken all that there is. */
export const settle = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* OwnerSql
  let calm = 0
  yield* until(
    "the pipeline's end",
    Effect.map(
      backlog(bus, sql),
      (waiting) => (calm = waiting.values().every((records) => records === 0) ? calm + 1 : 0) > 3
    )
  )
})

/** Publishes and waits until it is stored. */
export const send = Effect.fnUntraced(function* (records: ReadonlyArray<BusRecord>) {
  const bus = yield* Bus
  yield* bus.publish(records)
  yield* settle
})

/** A message as the bridge publishes it, under an id that tells which one it is. `receivedAt` in epoch microseconds. */
export const message = (
  device: { readonly tenantId: string; readonly deviceId: string },
  messageId: string,
  receivedAt: number,
  payload: unknown
): BusRecord => ({
  topic: "telemetry.raw.v1",
  key: device.deviceId,
  value: Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload)),
  headers: {
    "message-id": messageId,
    "tenant-id": device.tenantId,
    "device-id": device.deviceId,
    "received-at": String(receivedAt),
    source: "mqtt",
    "content-type": "application/json"
  }
})

const queries = {
  history: `select h::text as line from telemetry_history h`,
  latest: `
    select jsonb_build_array(entity_id, key, value,
      coalesce((older ->> key)::bigint, (extract(epoch from newest_ts) * 1000000)::bigint), quality -> key)::text as line
    from entity_latest cross join lateral jsonb_each(metrics)`,
  rollups: `select r::text as line from telemetry_rollups r`,
  status: `
    select jsonb_build_array(device_id, messages_total, last_seen_at)::text as line
    from device_status where messages_total > 0`
} as const

export type Stored = Readonly<Record<keyof typeof queries, ReadonlyArray<string>>>

/** Everything stored of what was measured, line by line in an order of its own; rollups brought up to date before. */
export const stored = Effect.gen(function* () {
  const sql = yield* OwnerSql
  yield* Rollups.advance(sql, Date.now())
  yield* Rollups.refresh(sql)
  const lines: Record<string, ReadonlyArray<string>> = {}
  for (const [name, query] of Object.entries(queries)) {
    const rows = yield* sql.unsafe<{ line: string }>(query)
    lines[name] = rows.map(({ line }) => line).toSorted()
  }
  return lines as Stored
})

export const hashOf = (lines: ReadonlyArray<string>) => createHash("sha256").update(lines.join("\n")).digest("hex")

/** Equal as a whole; where it is not, what differs is shown. */
export const assertSameStored = (actual: Stored, expected: Stored) => {
  for (const name of Object.keys(queries) as ReadonlyArray<keyof typeof queries>) {
    assert.isNotEmpty(expected[name], name)
    if (hashOf(actual[name]) === hashOf(expected[name])) continue
    const [here, there] = [new Set(actual[name]), new Set(expected[name])]
    const only = (lines: ReadonlyArray<string>, other: ReadonlySet<string>) =>
      lines.filter((line) => !other.has(line)).slice(0, 8)
    assert.deepStrictEqual(only(actual[name], there), only(expected[name], here), name)
    assert.fail(`${name} differs in how often a line is there`)
  }
}
