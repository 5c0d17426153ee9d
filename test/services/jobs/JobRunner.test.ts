import * as JobRunner from "@argusiq/jobs/JobRunner.ts"
import { type DeviceId, type DeviceTypeId, type TenantId } from "@argusiq/domain/ids.ts"
import { type ReplayParameters } from "@argusiq/domain/replay.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Jobs } from "@argusiq/layers/jobs/Jobs.ts"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Fiber } from "effect"
import { randomUUID } from "node:crypto"
import { insertDevice, insertEndpoint, publishVersion, type TestDevice } from "../../layers/profiles/registry.ts"
import { recordsOf } from "../dispatcher/topics.ts"
import { message, pipelineWorld, send, settle, stored, until } from "./pipelineWorld.ts"

const config = { processingMode: "endpoint", extractionRules: { t: { path: "$.t", type: "numeric" } } }
const actorOf = ({ tenantId }: TestDevice) => ({ tenantId: tenantId as TenantId, userId: undefined })

/** One message a second, the last one an hour ago. Their ids tell nothing of their order. */
const messagesOf = (device: TestDevice, count: number) => {
  const end = Date.now() * 1_000 - 3_600_000_000
  return Array.from({ length: count }, (_, index) =>
    message(device, randomUUID(), end - (count - index) * 1_000_000, { t: index })
  )
}
const span = { from: Date.now() * 1_000 - 5 * 3_600_000_000, to: Date.now() * 1_000 }
const all: ReplayParameters = { ...span, source: "raw", targetStream: Topics.raw, sideEffects: false }

const at = (perSecond: number) =>
  ConfigProvider.layer(ConfigProvider.fromUnknown({ JOBS_MESSAGES_PER_SECOND: String(perSecond) }))
const working = (perSecond = 10_000) =>
  Effect.forkChild(JobRunner.run("100 millis").pipe(Effect.provide(at(perSecond))))

const jobOf = Effect.fnUntraced(function* (device: TestDevice, jobId: string) {
  return yield* (yield* Jobs).get(actorOf(device), jobId)
})
const untilState = (device: TestDevice, jobId: string, state: string) =>
  until(
    `job ${state}`,
    Effect.map(jobOf(device, jobId), ({ status }) => status === state)
  )

const replayedOf = (jobId: string) =>
  Effect.map(recordsOf(Topics.raw), (records) => records.filter(({ headers }) => headers["replay-job"] === jobId))

const countOf = (table: string, { tenantId }: TestDevice) =>
  Effect.flatMap(OwnerSql, (sql) =>
    Effect.map(
      sql.unsafe<{ n: number }>(`select count(*)::int as n from ${table} where tenant_id = $1::uuid`, [tenantId]),
      ([row]) => row?.n
    )
  )

layer(pipelineWorld, { excludeTestServices: true, timeout: 60_000 })("the worker of jobs", (it) => {
  it.effect("replays an organisation's messages in order under their own ids, and what is stored stays", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const jobs = yield* Jobs
      const device = yield* insertEndpoint(config)
      const stranger = yield* insertEndpoint(config)
      const sent = messagesOf(device, 40)
      yield* send([...sent, ...messagesOf(stranger, 5)])
      const before = yield* stored
      yield* sql`delete from telemetry_frames where entity_id = ${device.deviceId}::uuid and (metrics ->> 't')::int % 4 = 0`
      assert.strictEqual(yield* countOf("telemetry_frames", device), 30)
      const { jobId, messages } = yield* jobs.replay(actorOf(device), { ...all, sideEffects: true }, undefined)
      assert.strictEqual(messages, 40)
      const worker = yield* working()
      yield* untilState(device, jobId, "completed")
      yield* settle
      yield* Fiber.interrupt(worker)
      const replayed = yield* replayedOf(jobId)
      assert.deepStrictEqual(
        replayed.map(({ headers, key, value }) => ({ headers, key, value: Buffer.from(value).toString() })),
        sent.map(({ headers, key, value }) => ({
          headers: { ...headers, "replay-job": jobId, "side-effects": "on" },
          key,
          value: Buffer.from(value).toString()
        }))
      )
      const after = yield* stored
      assert.deepStrictEqual(after.history, before.history, "the gaps are filled, nothing else has changed")
      assert.deepStrictEqual(after.latest, before.latest)
      assert.strictEqual(yield* countOf("telemetry_raw", device), 40)
      const { completedAt, progress, startedAt, total } = yield* jobOf(device, jobId)
      assert.deepStrictEqual([progress, total], [40, 40])
      assert.isTrue(startedAt !== null && completedAt !== null && startedAt <= completedAt)
    })
  )

  it.effect(
    "replays from the topic only what was received in the span, of the type, and not what was replayed before",
    () =>
      Effect.gen(function* () {
        const jobs = yield* Jobs
        const device = yield* insertEndpoint(config)
        const { deviceTypeId, tenantId } = device
        const sibling = { ...device, deviceId: yield* insertDevice({ tenantId, deviceTypeId }) }
        const sent = messagesOf(device, 30)
        yield* send([...sent, ...messagesOf(sibling, 30)])
        const worker = yield* working()
        const parameters: ReplayParameters = {
          ...all,
          source: "topic",
          deviceId: device.deviceId as DeviceId,
          from: Number(sent[10]!.headers["received-at"]),
          to: Number(sent[20]!.headers["received-at"])
        }
        for (let times = 0; times < 2; times++) {
          const { jobId } = yield* jobs.replay(actorOf(device), parameters, 60)
          yield* untilState(device, jobId, "completed")
          const replayed = yield* replayedOf(jobId)
          assert.deepStrictEqual(
            replayed.map(({ headers }) => headers["message-id"]),
            sent.slice(10, 20).map(({ headers }) => headers["message-id"])
          )
        }
        const { deviceId: _, ...byType } = { ...parameters, deviceTypeId: device.deviceTypeId as DeviceTypeId }
        const { jobId } = yield* jobs.replay(actorOf(device), { ...byType, to: span.to, from: span.from }, 60)
        yield* untilState(device, jobId, "completed")
        assert.lengthOf(yield* replayedOf(jobId), 60)
        yield* Fiber.interrupt(worker)
      })
  )

  it.effect("stops within two seconds when a job is cancelled, and goes on where a worker that died had come to", () =>
    Effect.gen(function* () {
      const jobs = yield* Jobs
      const device = yield* insertEndpoint(config)
      yield* send(messagesOf(device, 400))
      let worker = yield* working(60)
      const { jobId } = yield* jobs.replay(actorOf(device), all, undefined)
      const progressed = (beyond: number) =>
        until(
          "progress",
          Effect.map(jobOf(device, jobId), ({ progress }) => progress > beyond)
        )
      yield* progressed(0)
      yield* Fiber.interrupt(worker)
      const { progress, status } = yield* jobOf(device, jobId)
      assert.strictEqual(status, "running")
      worker = yield* working(60)
      yield* progressed(progress)
      const cancelled = yield* jobs.cancel(actorOf(device), jobId)
      assert.strictEqual(cancelled.status, "cancelled")
      yield* Effect.sleep("2 seconds")
      const replayed = (yield* replayedOf(jobId)).length
      assert.isBelow(replayed, 400)
      yield* Effect.sleep("1500 millis")
      assert.lengthOf(yield* replayedOf(jobId), replayed)
      assert.match((yield* jobOf(device, jobId)).error ?? "", /Cancelled/)
      const { jobId: next } = yield* jobs.replay(actorOf(device), { ...all, to: span.from + 1 }, undefined)
      yield* untilState(device, next, "completed")
      yield* Fiber.interrupt(worker)
    })
  )

  it.effect("goes on with those behind a job that waits, but for the same kind in its organisation", () =>
    Effect.gen(function* () {
      const jobs = yield* Jobs
      const [device, stranger] = [yield* insertEndpoint(config), yield* insertEndpoint(config)]
      yield* send([...messagesOf(device, 5), ...messagesOf(stranger, 5)])
      const reprocess = (of: TestDevice, to: number) =>
        jobs.reprocess(actorOf(of), {
          ...span,
          to,
          asOf: span.to,
          deviceTypeId: of.deviceTypeId as DeviceTypeId,
          version: 1
        })
      const ended = span.from + 3_600_000_000
      const { jobId: waiting } = yield* reprocess(device, Date.now() * 1_000 + 3_600_000_000)
      const { jobId: next } = yield* reprocess(device, ended)
      const { jobId: ofOther } = yield* reprocess(stranger, ended)
      const { jobId: replayed } = yield* jobs.replay(actorOf(device), all, undefined)
      const worker = yield* working()
      yield* untilState(stranger, ofOther, "completed")
      yield* untilState(device, replayed, "completed")
      assert.deepStrictEqual(
        [(yield* jobOf(device, waiting)).status, (yield* jobOf(device, next)).status],
        ["running", "queued"]
      )
      yield* jobs.cancel(actorOf(device), waiting)
      yield* untilState(device, next, "completed")
      yield* Fiber.interrupt(worker)
    })
  )

  it.effect("fails a job that can never succeed, with a reason, and goes on with the next", () =>
    Effect.gen(function* () {
      const jobs = yield* Jobs
      const sql = yield* OwnerSql
      const device = yield* insertEndpoint(config)
      const { deviceTypeId, tenantId } = device
      const unusable = { processingMode: "of another release" }
      yield* publishVersion({ tenantId, deviceTypeId, number: 2, effectiveAt: Date.now(), config: unusable })
      yield* sql`update device_types set published_version = 2 where id = ${deviceTypeId}::uuid`
      const reprocessed = { ...span, asOf: span.to, deviceTypeId: deviceTypeId as DeviceTypeId }
      const { jobId } = yield* jobs.reprocess(actorOf(device), reprocessed)
      const { jobId: next } = yield* jobs.reprocess(actorOf(device), { ...reprocessed, version: 1 })
      const worker = yield* working()
      yield* untilState(device, next, "completed")
      yield* Fiber.interrupt(worker)
      const { error, status } = yield* jobOf(device, jobId)
      assert.strictEqual(status, "failed")
      assert.match(error ?? "", /cannot use version 2/)
    })
  )
})
