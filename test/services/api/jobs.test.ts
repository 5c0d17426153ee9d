import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { addOrganization, Api, apiServer, DataDirectory, withoutRequestId } from "./apiServer.ts"

const hour = 3_600_000
const ago = (hours: number) => new Date(Date.now() - hours * hour).toISOString()
const nobody = "01890a5d-ac96-774b-bcce-b302099a8057"

const replayOf = (further: object = {}) => ({
  startTime: ago(2),
  endTime: ago(1),
  source: "raw",
  targetStream: "telemetry.raw.v1",
  ...further
})

layer(apiServer, { excludeTestServices: true })("jobs", (it) => {
  it.effect("a replay is accepted, shown, listed and cancelled, by its own organisation only", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const stranger = yield* api.login((yield* addOrganization("curious")).email)
      const { body, status } = yield* api.call("POST", "/api/v1/telemetry/replay", {
        token,
        body: replayOf({ deviceId: api.firstDevice.deviceId })
      })
      assert.strictEqual(status, 202)
      const { jobId } = body
      assert.deepStrictEqual(body, { jobId, status: "queued", estimatedMessages: 0, estimatedDuration: 0 })
      const path = `/api/v1/telemetry/replay/${jobId}`
      const queued = { jobId, status: "queued", progress: 0, total: 0, startedAt: null, completedAt: null, error: null }
      assert.deepStrictEqual((yield* api.call("GET", path, { token })).body, queued)
      for (const foreign of [path, `/api/v1/jobs/${jobId}`]) {
        for (const method of ["GET", "DELETE"]) {
          const theirs = yield* api.call(method, foreign, { token: stranger })
          const missing = yield* api.call(method, foreign.replace(jobId, nobody), { token: stranger })
          assert.strictEqual(theirs.status, 404)
          assert.deepStrictEqual(withoutRequestId(theirs.body), withoutRequestId(missing.body))
        }
      }
      assert.deepStrictEqual((yield* api.call("GET", "/api/v1/jobs", { token: stranger })).body.items, [])
      const { body: list } = yield* api.call("GET", "/api/v1/jobs", { token })
      assert.deepInclude(list.items[0], { jobId, kind: "replay", status: "queued" })
      assert.strictEqual(list.items[0].parameters.deviceId, api.firstDevice.deviceId)
      const cancelled = yield* api.call("DELETE", path, { token })
      assert.strictEqual(cancelled.body.status, "cancelled")
      assert.isString(cancelled.body.completedAt)
      assert.strictEqual((yield* api.call("GET", `/api/v1/jobs/${jobId}`, { token })).body.status, "cancelled")
    })
  )

  it.effect("a replay of another organisation's device, of a span that is none, or to another stream is refused", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const stranger = yield* api.login((yield* addOrganization("greedy")).email)
      const replay = (body: object, as = token) => api.call("POST", "/api/v1/telemetry/replay", { token: as, body })
      const { deviceId } = api.firstDevice
      assert.strictEqual((yield* replay(replayOf({ deviceId }), stranger)).status, 404)
      assert.strictEqual((yield* replay(replayOf({ deviceTypeId: nobody }))).status, 404)
      const paths = (answer: { readonly body: { readonly errors: ReadonlyArray<{ readonly path: string }> } }) =>
        answer.body.errors.map(({ path }) => path)
      for (const [wrong, path] of [
        [{ startTime: ago(0.5) }, "startTime"],
        [{ startTime: ago(-1), endTime: ago(-2) }, "startTime"],
        [{ targetStream: "telemetry.normalized.v1" }, "targetStream"],
        [{ source: "memory" }, "source"]
      ] as const) {
        const answer = yield* replay(replayOf(wrong))
        assert.strictEqual(answer.status, 400, JSON.stringify(wrong))
        assert.include(paths(answer), path)
      }
    })
  )

  it.effect("reprocessing takes a published version only", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const token = yield* api.login()
      const create = (body: object) => api.call("POST", "/api/v1/device-types", { token, body })
      const { body: drafted } = yield* create({ name: "drafted" })
      const { body: type } = yield* create({ name: "published", config: { processingMode: "endpoint" } })
      const reprocess = (id: string, further: object = {}) =>
        api.call("POST", `/api/v1/device-types/${id}/reprocess`, {
          token,
          body: { from: ago(2), to: ago(0), ...further }
        })
      const accepted = yield* reprocess(type.id)
      assert.strictEqual(accepted.status, 202, accepted.text)
      const { body: job } = yield* api.call("GET", `/api/v1/jobs/${accepted.body.jobId}`, { token })
      assert.deepInclude(job, { kind: "reprocess", status: "queued" })
      assert.strictEqual(job.parameters.version, 1)
      assert.strictEqual((yield* reprocess(type.id, { version: 1 })).status, 202)
      assert.strictEqual((yield* reprocess(type.id, { version: 2 })).status, 409)
      assert.strictEqual((yield* reprocess(drafted.id)).status, 409)
      assert.strictEqual((yield* reprocess(nobody)).status, 404)
      assert.strictEqual((yield* reprocess(type.id, { from: ago(0), to: ago(1) })).status, 400)
    })
  )

  it.effect("a consumer group is rewound to an offset or a time within the log", () =>
    Effect.gen(function* () {
      const api = yield* Api
      const bus = yield* Bus
      const token = readFileSync(join(yield* DataDirectory, "cli-token"), "utf8").trim()
      for (let n = 0; n < 3; n++) {
        yield* bus.publish([{ topic: "telemetry.raw.v1", key: "device", value: Buffer.from("{}"), headers: {} }])
      }
      const group = "argusiq.dispatcher"
      const rewind = (body: object) => api.call("POST", "/api/v1/consumers/rewind", { token, body })
      assert.strictEqual((yield* rewind({ group })).status, 400)
      assert.strictEqual((yield* rewind({ group, offset: "0", time: ago(1) })).status, 400)
      assert.strictEqual((yield* rewind({ group: "argusiq.nobody", offset: "0" })).status, 404)
      assert.strictEqual((yield* rewind({ group, topic: "telemetry.normalized.v1", offset: "0" })).status, 404)
      const nextOf = (answer: { readonly body: { readonly items: ReadonlyArray<{ readonly next: string }> } }) =>
        answer.body.items.map(({ next }) => next).toSorted()
      const beyond = yield* rewind({ group, offset: "1000" })
      assert.strictEqual(beyond.status, 200, beyond.text)
      assert.deepStrictEqual(nextOf(beyond).slice(-2), ["0", "3"], "the end is where there is nothing beyond")
      assert.deepStrictEqual(nextOf(yield* rewind({ group, time: ago(1) })).slice(-1), ["0"])
      const lag = yield* bus.lag(group)
      assert.strictEqual(
        lag.reduce((sum, { records }) => sum + Number(records), 0),
        3
      )
    })
  )
})
