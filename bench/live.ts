/**
 * What live connections cost a message that nobody watches, and one that somebody does. Prints tables.
 *
 * First the decision alone, then with all that hands records out: the same log, written at a steady rate, with a follower and
 * without.
 * @module
 */
import { normalizedHeaders } from "@argusiq/domain/envelope.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { type Batch, Bus, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import type { Audience } from "@argusiq/realtime/Audience.ts"
import { Telemetry } from "@argusiq/realtime/Telemetry.ts"
import { Watched } from "@argusiq/realtime/Watched.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const DEVICES = 1_000
const BATCH = 200
const ROUNDS = 7
const MESSAGES = 200_000
const CHILDREN = 50
/** A second, and for how many. */
const RATE = 13_000
const SECONDS = 10

const [tenantId, deviceTypeId] = [randomUUID(), randomUUID()]
const names = ["temperature", "humidity", "pressure", "voltage", "current", "power", "rpm", "flow", "co2", "battery"]
const metrics = Object.fromEntries(names.map((name, index) => [name, 1_013.25 + index]))

const recordOf = (deviceId: string, children: ReadonlyArray<string>): StoredRecord => {
  const receivedAt = Date.now() * 1_000
  const readings = children.map((child) => ({
    readingId: randomUUID(),
    deviceId: child,
    ts: receivedAt,
    deviceTypeId,
    typeVersion: 1,
    metrics
  }))
  const message = { messageId: randomUUID(), tenantId, deviceId, receivedAt, readings }
  const headers = {
    "message-id": message.messageId,
    "tenant-id": tenantId,
    "device-id": deviceId,
    "received-at": String(receivedAt),
    "device-type-id": deviceTypeId,
    source: "mqtt"
  }
  return {
    topic: Topics.normalized,
    key: deviceId,
    partition: 0,
    offset: 0n,
    appendedAt: receivedAt,
    value: Buffer.from(JSON.stringify(message)),
    headers: normalizedHeaders(headers, message)
  }
}

const devices = Array.from({ length: DEVICES }, () => randomUUID())
const plain = devices.map((id) => recordOf(id, [id]))
const gateways = devices.slice(0, 100).map((id) =>
  recordOf(
    id,
    Array.from({ length: CHILDREN }, () => randomUUID())
  )
)

const audience = { tell: () => {}, tellTelemetry: () => {} } as unknown as Audience
const watching = (ids: ReadonlyArray<string>) => {
  const watched = new Watched()
  for (const id of ids)
    watched.add({ entityType: "device", id }, tenantId, { senders: [id], isGateway: false, score: undefined })
  return new Telemetry(watched, audience)
}
const batchesOf = (records: ReadonlyArray<StoredRecord>): ReadonlyArray<Batch> =>
  Array.from({ length: Math.ceil(records.length / BATCH) }, (_, at) => ({
    topic: Topics.normalized,
    partition: 0,
    records: records.slice(at * BATCH, (at + 1) * BATCH),
    next: 0n,
    end: 0n
  }))

const cpuMicros = (began: NodeJS.CpuUsage) => {
  const { system, user } = process.cpuUsage(began)
  return system + user
}
const median = (values: ReadonlyArray<number>) =>
  values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0

const measure = (what: string, telemetry: Telemetry, records: ReadonlyArray<StoredRecord>, messages = MESSAGES) => {
  const batches = batchesOf(records)
  const runs: Array<number> = []
  for (let round = 0; round <= ROUNDS; round++) {
    const began = process.cpuUsage()
    let count = 0
    // Each time over the devices is a second later, so that all is due.
    for (let now = round * 1e9; count < messages; now += 1_000) {
      for (const batch of batches) {
        telemetry.take(batch, now)
        count += batch.records.length
      }
    }
    if (round > 0) runs.push(cpuMicros(began) / count)
  }
  return { what, "µs a message": Number(median(runs).toFixed(3)) }
}

const others = Array.from({ length: 5_000 }, () => randomUUID())
console.table([
  measure("nobody watches anything", watching([]), plain),
  measure("5,000 devices are watched, none of those that send", watching(others), plain),
  measure(`messages of gateways with ${CHILDREN} children, none of them watched`, watching(others), gateways),
  measure("one device in 100 is watched", watching(devices.filter((_, at) => at % 100 === 0)), plain),
  measure("every device is watched (opened, merged, made ready to tell)", watching(devices), plain, 20_000)
])

const written = (follows: boolean, telemetry: Telemetry) =>
  Effect.gen(function* () {
    const bus = yield* Bus
    let seen = 0
    if (follows) {
      yield* Effect.forkScoped(
        bus.follow(
          {
            name: "bench",
            topics: [Topics.normalized, Topics.asset],
            maxRecords: 2_000,
            maxBytes: 16_777_216,
            maxWaitMillis: 100,
            skipAfterMillis: 10_000,
            skipped: () => {}
          },
          (batch) =>
            Effect.sync(() => {
              seen += batch.records.length
              telemetry.take(batch, performance.now())
            })
        )
      )
    }
    yield* Effect.sleep(500)
    const began = process.cpuUsage()
    const startedAt = performance.now()
    let sent = 0
    while (performance.now() - startedAt < SECONDS * 1_000) {
      const due = Math.floor(((performance.now() - startedAt) / 1_000) * RATE)
      const some = Array.from({ length: Math.min(500, due - sent) }, (_, at) => plain[(sent + at) % DEVICES]!)
      sent += some.length
      if (some.length > 0) yield* bus.publish(some)
      yield* Effect.sleep(5)
    }
    yield* Effect.sleep(300)
    return { sent, seen, micros: cpuMicros(began) / sent }
  })

const onLog = (follows: boolean, ids: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const directory = mkdtempSync(join(tmpdir(), "argusiq-bench-live-"))
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true, force: true })))
    return yield* Effect.scoped(written(follows, watching(ids))).pipe(
      Effect.provide(LocalBus.layer({ directory, minFreeBytes: 0 }))
    )
  }).pipe(Effect.scoped, Effect.runPromise)

const runs: Array<{ readonly what: string; readonly "msg/s": number; readonly "µs a message": number }> = []
for (const [what, follows, ids] of [
  ["writing the log", false, []],
  ["and a follower that nobody watches with", true, []],
  ["and a follower with 5,000 devices watched, none of those that send", true, others],
  ["writing the log, again", false, []]
] as const) {
  const { micros, seen, sent } = await onLog(follows, ids)
  if (follows && seen < sent) throw new Error(`the follower saw ${seen} of ${sent}`)
  runs.push({ what, "msg/s": Math.round(sent / SECONDS), "µs a message": Number(micros.toFixed(2)) })
}
console.table(runs)
